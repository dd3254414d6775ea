"""Leaderboards by name or from a file, with the place of what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.errors import ConfigError, PluginError, UnknownNameError, UsageError
from evalkit.leaderboards.resolved import Leaderboard, TreeError, resolve
from evalkit.leaderboards.tree import LeaderboardTree, Missing, Scalar
from evalkit.registry import LEADERBOARDS

if TYPE_CHECKING:
    from evalkit.models.yaml_entries import Document

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Options:
    """What a user changes in a tree; see `resolve`."""

    parameters: Mapping[str, Scalar]
    missing: Missing | None = None
    rank_by: str | None = None


AS_WRITTEN = Options({})


def read_leaderboard(path: Path) -> LeaderboardTree:
    """The tree in a YAML file; a plugin registers one so.

    Raises:
        ConfigError: The file is wrong; the message names the line.
    """
    document = _document(path)
    _resolved(document, AS_WRITTEN)
    return document.value


def load_leaderboard(name: str, options: Options = AS_WRITTEN) -> Leaderboard:
    """A registered leaderboard, or the one in a file.

    Args:
        name: Of a leaderboard, or the path of a file that ends in .yaml or .yml.
        options: What is changed in it.

    Raises:
        UnknownNameError: No leaderboard has this name.
        ConfigError: The file is wrong; the message names the line.
        UsageError: A parameter or a part that the options name is not there.
        PluginError: What is registered is not a tree.
    """
    if name.endswith(_SUFFIXES):
        return _resolved(_document(Path(name)), options)
    if name not in LEADERBOARDS:
        hint = f"(or a file of yours, ending in {' or '.join(_SUFFIXES)})"
        raise UnknownNameError("leaderboard", name, LEADERBOARDS, hint)
    tree = LEADERBOARDS.get(name)()
    if not isinstance(tree, LeaderboardTree):
        raise PluginError(
            f"the leaderboard '{name}' is a {type(tree).__name__}; it must return a LeaderboardTree"
        )
    try:
        return resolve(tree, options.parameters, options.missing, options.rank_by)
    except TreeError as error:
        raise UsageError(f"leaderboard '{name}': {error}") from None


def _document(path: Path) -> Document[LeaderboardTree]:
    from evalkit.models.yaml_entries import read_document

    return read_document(path, LeaderboardTree)


def _resolved(document: Document[LeaderboardTree], options: Options) -> Leaderboard:
    try:
        return resolve(document.value, options.parameters, options.missing, options.rank_by)
    except TreeError as error:
        place = document.place(error.at) if error.at else document.path
        raise ConfigError(f"{place}: {error}") from None
