"""What a config of Nejumi becomes: run entries, the deployments they name, and what is only recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from evalkit.errors import ConfigError, UsageError
from evalkit.models.deployment import ModelDeployment
from evalkit.models.metadata import ModelMetadata
from evalkit.results.run_directory import write_json
from evalkit.specs.conf import ConfEntry
from evalkit.specs.digest import digest

if TYPE_CHECKING:
    from evalkit.models.catalog import ModelCatalog

_YAML = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class NejumiRuns:
    """Run entries, and all that they need besides a data directory.

    Attributes:
        leaderboard: The leaderboard that the config is for.
        parameters: Of that leaderboard.
        has_row: Whether its row is to be shown.
        sources: The config files.
        entries: The run entries, in the order of the config's parts.
        deployments: The deployments that no file of the user has.
        models: What the config says of the models.
        settings: Every key with its value, as they count.
        notes: What the user should know.
        left_out: What the config asks for and evalkit does not evaluate; empty unless wrong entries are to
            be left out.
    """

    leaderboard: str
    sources: tuple[Path, ...]
    entries: tuple[ConfEntry, ...]
    deployments: tuple[ModelDeployment, ...] = ()
    models: tuple[ModelMetadata, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    parameters: Mapping[str, int] = field(default_factory=dict)
    has_row: bool = True

    def add_to(self, catalog: ModelCatalog) -> None:
        """Register the deployments and models, where the user's files do not have them."""
        place = ", ".join(map(str, self.sources))
        for deployment in self.deployments:
            if not catalog.is_given(deployment.name):
                catalog.add_deployment(deployment, place)
        for model in self.models:
            if not catalog.is_described(model.name):
                catalog.add_model(model, place)

    def keep(self, suite_path: Path) -> Path:
        """Write `nejumi-<digest8>.json` into a suite's folder: the config as it counts, and its entries."""
        record = {
            "leaderboard": self.leaderboard,
            "sources": [path.name for path in self.sources],
            "entries": [_plain_entry(entry) for entry in self.entries],
            "left_out": list(self.left_out),
            "settings": dict(self.settings),
        }
        path = suite_path / f"nejumi-{digest(record)[:8]}.json"
        suite_path.mkdir(parents=True, exist_ok=True)
        write_json(path, record)
        return path


def lines_of(entry: ConfEntry) -> str:
    """A run entry for people: the arguments that an entry has no way to write follow in quotes."""
    more = ", ".join(f"{name}={json.dumps(text, ensure_ascii=False)}" for name, text in entry.args)
    return f"{entry.description}  with {more}" if more else entry.description


def write_conf(runs: NejumiRuns, catalog: ModelCatalog, path: Path) -> None:
    """Write a conf file that gives the same runs by itself.

    It holds every deployment that the entries name and that a name alone does not describe.

    Args:
        runs: What to write.
        catalog: Where the deployments are registered.
        path: The file; `.yaml` and `.yml` get YAML, all else HOCON.

    Raises:
        ConfigError: The file can't be written, or is there with something else in it.
    """
    content: dict[str, Any] = {"entries": [_plain_entry(entry) for entry in runs.entries]}
    deployments = [_plain(each) for each in _needed(runs, catalog)]
    models = [_plain(each) for each in runs.models]
    content |= {name: value for name, value in _sections(models, deployments) if value}
    names = ", ".join(path.name for path in runs.sources)
    title = f"# From {names} (Nejumi's leaderboard '{runs.leaderboard}').\n"
    if path.suffix.casefold() in _YAML:
        text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=1_000_000)
    else:
        text = "".join(_hocon(content))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size:
            _refuse_other_content(path, title + text)
        path.write_text(title + text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: can't be written: {error.strerror}") from None


def _refuse_other_content(path: Path, text: str) -> None:
    """Nothing, if a file is what this config has become before; else it is somebody's work.

    Raises:
        ConfigError: It is something else, such as the config itself.
    """
    is_same = path.is_file() and path.read_bytes() == text.encode()
    if not is_same:
        raise ConfigError(f"{path}: it is there already, with other content; remove it, or name another file")


def _sections(models: Sequence[Any], deployments: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any]]]:
    yield "models", models
    yield "model_deployments", deployments


def _needed(runs: NejumiRuns, catalog: ModelCatalog) -> Iterator[ModelDeployment]:
    """The deployments of all entries that a file or the config defines, each once."""
    named: dict[str, None] = {}
    for entry in runs.entries:
        for argument in entry.description.split(":", 1)[-1].split(","):
            key, _, value = argument.partition("=")
            if key in ("model", "judge"):
                named.update(dict.fromkeys(value.split("|")))
    for name in named:
        for member in catalog.members(catalog.resolve(name)[1]):
            if catalog.is_given(member.name):
                yield member


def _plain_entry(entry: ConfEntry) -> dict[str, Any]:
    plain: dict[str, Any] = {"description": entry.description}
    if entry.args:
        plain["args"] = dict(entry.args)
    return plain


def _plain(value: ModelDeployment | ModelMetadata) -> dict[str, Any]:
    return value.model_dump(mode="json", exclude_defaults=True)


def _hocon(content: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """Lists of objects, one on each line; JSON is HOCON."""
    for name, items in content.items():
        yield f"{name}: [\n"
        yield from (f"  {json.dumps(item, ensure_ascii=False)}\n" for item in items)
        yield "]\n"


def written(arguments: Mapping[str, str]) -> str:
    """Arguments as a run entry has them.

    Raises:
        UsageError: A value has a comma, which an entry has no way to write.
    """
    for name, value in arguments.items():
        if "," in value:
            raise UsageError(f"{name}: '{value}' has a comma, which a run entry has no way to write")
    return ",".join(f"{name}={value}" for name, value in arguments.items())
