"""Lists of entries in a YAML file, each checked against a model, every error with file and line."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evalkit.errors import ConfigError, nearest_names
from evalkit.redaction import shown_name
from evalkit.specs.conf import Keys
from evalkit.specs.spec import Spec
from evalkit.yaml_text import check_place, compose, read_text


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
    data, lines = _load(path, last_key_holds)
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


def _load(path: Path, last_key_holds: bool) -> tuple[Any, dict[Keys, int]]:
    """The file's data, and the line of each key and list item by its path."""
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
        raise ConfigError(f"{path}{line}: {_without_quotes(error.problem or str(error))}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None


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


def _validate(path: str, lines: Mapping[Keys, int], at: Keys, item: Any, model: type[Spec]) -> Spec:
    try:
        return model.model_validate(item)
    except ValidationError as invalid:
        # A mistyped key is an unknown one and a missing one; the first says more.
        error = min(invalid.errors(), key=lambda e: e["type"] != "extra_forbidden")
        where = error["loc"]
        line = next(lines[*at, *where[:n]] for n in range(len(where), -1, -1) if (*at, *where[:n]) in lines)
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


def _fields_at(model: type[Spec], where: tuple[str | int, ...]) -> list[str]:
    """The field names of the model nested at `where` inside `model`."""
    for part in where:
        annotation = model.model_fields[str(part)].annotation
        nested = [annotation, *typing.get_args(annotation)]
        model = next(t for t in nested if isinstance(t, type) and issubclass(t, Spec))
    return list(model.model_fields)


def _hint(name: str, known: list[str]) -> str:
    nearest = nearest_names(name, known, limit=1)
    return f"; did you mean '{nearest[0]}'?" if nearest else f"; known: {', '.join(known)}"
