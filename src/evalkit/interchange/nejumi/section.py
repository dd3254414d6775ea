"""Sections of Nejumi's configs: every key with what evalkit does with it, the one table of code and docs."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from evalkit.specs.spec import Spec

Use = Literal["used", "recorded", "refused"]


class Section(Spec):
    """Some keys of a config; a key that is not declared is an error."""


def used(default: Any, meaning: str, *, spelled: tuple[str, ...] = (), at_least: float | None = None) -> Any:
    """A key that changes what is run, or how.

    Args:
        default: The template's value.
        meaning: What evalkit does with it.
        spelled: Other spellings of the key.
        at_least: The least value of a number.
    """
    return _key("used", default, meaning, spelled, at_least)


def recorded(default: Any, meaning: str, *, spelled: tuple[str, ...] = ()) -> Any:
    """A key that changes no result; it is kept in the suite's folder."""
    return _key("recorded", default, meaning, spelled)


def refused(default: Any, meaning: str) -> Any:
    """A key that evalkit can't follow: any value but the default, which asks nothing, is an error.

    Args:
        default: The value that asks nothing.
        meaning: Why, and what to do.
    """
    return _key("refused", default, meaning, ())


def _key(
    use: Use, default: Any, meaning: str, spelled: tuple[str, ...], at_least: float | None = None
) -> Any:
    extra: dict[str, Any] = {"use": use, "spelled": list(spelled)}
    return Field(default=default, description=meaning, json_schema_extra=extra, ge=at_least)


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A row of the table of keys.

    Attributes:
        path: The key, with those above it: `model.api`.
        use: What evalkit does with it.
        meaning: The same in words.
        default: The template's value.
        spelled: Other spellings of the last part.
    """

    path: str
    use: Use
    meaning: str
    default: Any
    spelled: tuple[str, ...]


def section_of(annotation: Any) -> type[Section] | None:
    """The section that a field holds, if it holds one."""
    candidates = [annotation]
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        candidates = list(typing.get_args(annotation))
    return next((t for t in candidates if isinstance(t, type) and issubclass(t, Section)), None)


def rows(section: type[Section], above: tuple[str, ...] = ()) -> Iterator[KeyRow]:
    """The table of a config's keys, in order; a section has no row, its keys have."""
    for name, field in section.model_fields.items():
        if (nested := section_of(field.annotation)) is not None:
            yield from rows(nested, (*above, name))
            continue
        extra = typing.cast("dict[str, Any]", field.json_schema_extra)
        yield KeyRow(
            ".".join((*above, name)),
            extra["use"],
            field.description or "",
            field.default,
            tuple(extra["spelled"]),
        )


def spellings(section: type[Section]) -> dict[str, str]:
    """Other spellings of a section's keys, each with the key that it means."""
    found = {}
    for name, field in section.model_fields.items():
        if isinstance(field.json_schema_extra, dict):
            for spelled in typing.cast("list[str]", field.json_schema_extra.get("spelled", [])):
                found[spelled] = name
    return found
