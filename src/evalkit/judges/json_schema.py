"""The part of JSON Schema that a verdict needs to say what a reply must hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Kind = Literal["string", "number", "integer", "boolean", "object", "array", "null"]


class JsonSchema(BaseModel):
    """A schema, or a part of one; a keyword that is not here is refused when it is read.

    `title`, `description`, `default`, `examples` and `$schema` say nothing about what is valid.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    type: Kind | tuple[Kind, ...] | None = None
    enum: tuple[Any, ...] | None = None
    const: Any = None
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = Field(default=None, alias="exclusiveMinimum")
    exclusive_maximum: float | None = Field(default=None, alias="exclusiveMaximum")
    min_length: int | None = Field(default=None, alias="minLength")
    max_length: int | None = Field(default=None, alias="maxLength")
    pattern: str | None = None
    properties: dict[str, JsonSchema] = Field(default_factory=dict)
    required: tuple[str, ...] = ()
    additional_properties: bool = Field(default=True, alias="additionalProperties")
    items: JsonSchema | None = None
    min_items: int | None = Field(default=None, alias="minItems")
    max_items: int | None = Field(default=None, alias="maxItems")
    any_of: tuple[JsonSchema, ...] = Field(default=(), alias="anyOf")
    title: str | None = None
    description: str | None = None
    default: Any = None
    examples: Any = None
    dialect: str | None = Field(default=None, alias="$schema")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"it is not a regular expression: {error}") from None
        return pattern

    def faults(self, value: Any, place: str = "") -> Iterator[str]:
        """What is wrong with a value, each fault with its place; nothing for a valid one."""
        where = f"'{place}'" if place else "the object"
        kinds = (self.type,) if isinstance(self.type, str) else self.type
        if kinds is not None and not any(_is(kind, value) for kind in kinds):
            yield f"{where} must be {' or '.join(kinds)}"
            return
        if self.enum is not None and not any(_equal(value, each) for each in self.enum):
            yield f"{where} must be one of {', '.join(map(repr, self.enum))}"
        if "const" in self.model_fields_set and not _equal(value, self.const):
            yield f"{where} must be {self.const!r}"
        if _is("number", value):
            yield from self._number_faults(value, where)
        elif isinstance(value, str):
            yield from self._text_faults(value, where)
        elif isinstance(value, dict):
            yield from self._object_faults(value, place, where)
        elif isinstance(value, list):
            yield from self._array_faults(value, place, where)
        if self.any_of and all(any(each.faults(value, place)) for each in self.any_of):
            yield f"{where} is none of what `anyOf` allows"

    def _number_faults(self, value: float, where: str) -> Iterator[str]:
        if self.minimum is not None and value < self.minimum:
            yield f"{where} must be at least {self.minimum:g}"
        if self.maximum is not None and value > self.maximum:
            yield f"{where} must be at most {self.maximum:g}"
        if self.exclusive_minimum is not None and value <= self.exclusive_minimum:
            yield f"{where} must be above {self.exclusive_minimum:g}"
        if self.exclusive_maximum is not None and value >= self.exclusive_maximum:
            yield f"{where} must be below {self.exclusive_maximum:g}"

    def _text_faults(self, value: str, where: str) -> Iterator[str]:
        yield from _size_faults(
            len(value), self.min_length, self.max_length, f"{where} must have", "characters"
        )
        if self.pattern is not None and not re.search(self.pattern, value):
            yield f"{where} must match {self.pattern!r}"

    def _object_faults(self, value: dict[str, Any], place: str, where: str) -> Iterator[str]:
        for name in self.required:
            if name not in value:
                yield f"{where} lacks '{name}'"
        for name, each in value.items():
            if name in self.properties:
                yield from self.properties[name].faults(each, f"{place}.{name}" if place else name)
            elif not self.additional_properties:
                yield f"{where} must not have '{name}'"

    def _array_faults(self, value: list[Any], place: str, where: str) -> Iterator[str]:
        yield from _size_faults(len(value), self.min_items, self.max_items, f"{where} must have", "items")
        for position, each in enumerate(value if self.items is not None else ()):
            assert self.items is not None
            yield from self.items.faults(each, f"{place}[{position}]")


def _size_faults(size: int, least: int | None, most: int | None, lead: str, unit: str) -> Iterator[str]:
    if least is not None and size < least:
        yield f"{lead} at least {least} {unit}"
    if most is not None and size > most:
        yield f"{lead} at most {most} {unit}"


def _is(kind: str, value: Any) -> bool:
    """Whether a value is of a kind; as in JSON Schema, 8.0 is an integer and `true` is not a number."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    kinds = {
        "string": isinstance(value, str),
        "number": is_number,
        "integer": is_number and value == int(value),
        "boolean": isinstance(value, bool),
        "object": isinstance(value, dict),
        "array": isinstance(value, list),
        "null": value is None,
    }
    return kinds[kind]


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
