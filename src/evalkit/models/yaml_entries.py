"""Lists of entries in a YAML file, each checked against a model, every error with file and line."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from evalkit.errors import ConfigError, nearest_names
from evalkit.redaction import shown_name
from evalkit.specs.conf import Keys
from evalkit.specs.spec import Spec
from evalkit.yaml_text import check_place, compose, read_text

_Model = TypeVar("_Model", bound=Spec)


@dataclass(frozen=True, slots=True)
class Document(Generic[_Model]):
    """A file that is one thing.

    Attributes:
        value: What it says, validated.
        lines: The line of each key and list item, by its path.
    """

    path: str
    value: _Model
    lines: Mapping[Keys, int]

    def place(self, at: Keys) -> str:
        """Where a key or item is, or what is around it, as `file.yaml:12`."""
        return f"{self.path}:{_line(self.lines, at)}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a file.

    Attributes:
        section: The top-level key it stands under.
        value: The entry, validated.
        place: Where it is, as `file.yaml:12`.
    """

    section: str
    value: Spec
    place: str


def read_entries(
    path: Path, sections: Mapping[str, type[Spec]], *, last_key_holds: bool = False
) -> list[Entry]:
    """All entries of a YAML file whose top level maps section names to lists.

    Args:
        path: The file.
        sections: What the entries under each top-level key are.
        last_key_holds: Take the last of equal keys in one mapping, instead of refusing them.

    Raises:
        ConfigError: The file can't be read or is not YAML; a section, key or value is wrong; a key is there
            twice. The message names the line and, for a mistyped key, the nearest right one.
    """
    data, lines = load_with_lines(path, last_key_holds=last_key_holds)
    if data is None:
        return []
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: the top level must have the keys {', '.join(sections)}")
    return checked_entries(str(path), data, lines, sections)


def checked_entries(
    path: str, data: Mapping[str, Any], lines: Mapping[Keys, int], sections: Mapping[str, type[Spec]]
) -> list[Entry]:
    """The entries in data that was read from a file already.

    Args:
        path: The file's name, for messages.
        data: Section names to lists.
        lines: The line of each key and list item, by its path.
        sections: What the entries under each top-level key are.

    Raises:
        ConfigError: A section, key or value is wrong.
    """
    entries = []
    for section, items in data.items():
        if section not in sections:
            place = f"{path}:{lines.get((section,), 1)}"
            raise ConfigError(
                f"{place}: unknown key '{shown_name(str(section))}'{_hint(str(section), list(sections))}"
            )
        if not isinstance(items, list | None):
            raise ConfigError(f"{path}:{lines[section,]}: '{section}' must be a list")
        for index, item in enumerate(items or ()):
            value = _validate(path, lines, (section, index), item, sections[section])
            entries.append(Entry(section, value, f"{path}:{lines[section, index]}"))
    return entries


def read_document(path: Path, model: type[_Model]) -> Document[_Model]:
    """A YAML file that is checked against one model.

    Raises:
        ConfigError: The file can't be read or is not YAML; a key or value is wrong; a key is there twice. The
            message names the line and, for a mistyped key, the nearest right one.
    """
    data, lines = load_with_lines(path)
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: the top level must have keys such as {', '.join(model.model_fields)}")
    return Document(str(path), _validate(str(path), lines, (), data, model), lines)


def load_with_lines(path: Path, *, last_key_holds: bool = False) -> tuple[Any, dict[Keys, int]]:
    """The data of a YAML file, and the line of each key and list item by its path.

    Raises:
        ConfigError: The file can't be read or is not YAML, or a key is there twice.
    """
    import yaml

    text = read_text(path)
    lines: dict[Keys, int] = {}
    try:
        loader, node = compose(getattr(yaml, "CSafeLoader", yaml.SafeLoader), text)
        try:
            if node is None:
                return None, lines
            _collect_lines(node, (), lines, None if last_key_holds else path)
            return loader.construct_document(node), lines
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(
            f"{path}{line}: {_without_quotes(error.problem or str(error))}{_remedy(error)}"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None


def _remedy(error: Any) -> str:
    """What is mostly wrong where YAML finds something else than it expects."""
    structure = ("did not find expected", "expected <block end>", "mapping values are not allowed")
    is_structure = any(words in (error.problem or "") for words in structure)
    return "; is this line, or one above it, indented as the keys next to it?" if is_structure else ""


def _without_quotes(problem: str) -> str:
    """What YAML's reader says, without what it quotes: a password that begins with `*` is an alias to it."""
    return re.sub(r"(['\"])(?:(?!\1).){2,}\1", "'…'", problem)


def _collect_lines(node: Any, at: Keys, lines: dict[Keys, int], strict: Path | None) -> None:
    """Note the lines below `node`; equal keys are refused in the name of the file `strict`."""
    check_place(node, len(at) + 1, len(lines))
    if node.id == "mapping":
        for key, value in node.value:
            here = (*at, str(key.value))
            line = key.start_mark.line + 1
            if here in lines and strict is not None:
                message = f"the key '{shown_name(str(key.value))}' is already set on line {lines[here]}"
                raise ConfigError(f"{strict}:{line}: {message}")
            lines[here] = line
            _collect_lines(value, here, lines, strict)
    elif node.id == "sequence":
        for index, item in enumerate(node.value):
            lines[*at, index] = item.start_mark.line + 1
            _collect_lines(item, (*at, index), lines, strict)


def _line(lines: Mapping[Keys, int], at: Keys) -> int:
    """The line of what is there, or of the nearest thing around it."""
    return next((lines[at[:n]] for n in range(len(at), -1, -1) if at[:n] in lines), 1)


def _validate(path: str, lines: Mapping[Keys, int], at: Keys, item: Any, model: type[_Model]) -> _Model:
    try:
        return model.model_validate(item)
    except ValidationError as invalid:
        # A mistyped key is an unknown one and a missing one; the first says more.
        error = min(invalid.errors(), key=lambda e: e["type"] != "extra_forbidden")
        where = _without_types(error["loc"], at, lines, is_missing=error["type"] == "missing")
        line = _line(lines, (*at, *where))
        named = f" of '{item['name']}'" if isinstance(item, dict) and item.get("name") else ""
        field = ".".join(shown_name(str(part)) for part in where)
        if error["type"] == "extra_forbidden":
            known = _fields_at(model, where[:-1])
            problem = f"unknown key '{shown_name(str(where[-1]))}'{named}{_hint(str(where[-1]), known)}"
        elif error["type"] == "missing":
            problem = f"the key '{field}'{named} is missing"
        else:
            problem = f"'{field}'{named}: {error['msg'].removeprefix('Value error, ')}"
        raise ConfigError(f"{path}:{line}: {problem}") from None


def _without_types(loc: Keys, at: Keys, lines: Mapping[Keys, int], *, is_missing: bool) -> Keys:
    """Where an error is, without what pydantic adds: which type of several it has tried."""
    known = next((n for n in range(len(loc), 0, -1) if (*at, *loc[:n]) in lines), 0)
    return loc[: known + 1] if is_missing or not known else loc[:known]


def _fields_at(model: type[Spec], where: tuple[str | int, ...]) -> list[str]:
    """The field names of the model nested at `where` inside `model`."""
    for part in where:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        nested = [annotation, *typing.get_args(annotation)]
        model = next(t for t in nested if isinstance(t, type) and issubclass(t, Spec))
    return list(model.model_fields)


def _hint(name: str, known: list[str]) -> str:
    nearest = nearest_names(name, known, limit=1)
    return f"; did you mean '{nearest[0]}'?" if nearest else f"; known: {', '.join(known)}"
