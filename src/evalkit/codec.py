"""JSON, as every file, the wire and standard output have it.

What evalkit writes is valid JSON for any reader: no NaN, no infinities; a lone surrogate (half of a
character beyond U+FFFF, which UTF-8 can't hold) is written escaped, and read back as it was. Two surrogates
that spell one character come back as that character. What others wrote is read leniently: Python's `json`
writes NaN and lone surrogates, and other tools put a byte order mark in front.

Each kind of text has its own functions:

- `encode` and `decode`: what evalkit writes and others read (manifests, stats, output, requests to servers).
  A number that is not finite becomes null.
- `encode_exact` and `decode_exact`: lines that evalkit reads back exactly (journal, cache, instances).
- `decode_foreign`: what other programs wrote (answers of servers, benchmark files, other harnesses' results).
- `spell_numbers`: before `encode`, where a reader must see which number was not finite (imported leftovers).

`orjson` does the work; what it refuses goes to the standard library.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import orjson

_MARK = "$number"
_MARK_BYTES = b'"$number"'
_NON_FINITE = ("NaN", "Infinity", "-Infinity")
_DIGITS_TO_ZERO = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else byte for byte in range(256))
# An integer of this many digits may exceed 64 bits, and orjson reads those as floats.
_LONG_NUMBER = b"0" * 19
# The standard library refuses to read longer ones.
_LONGEST_INTEGER_DIGITS = 4300


def encode(
    value: Any,
    *,
    indent: bool = False,
    sort_keys: bool = False,
    newline: bool = False,
    default: Callable[[Any], Any] | None = None,
) -> bytes:
    """A value as JSON in UTF-8. NaN and infinities become null.

    Args:
        value: What to write.
        indent: Write it over several lines, two blanks a level; else on one line without blanks.
        sort_keys: Write the keys of objects in order.
        newline: End with a newline.
        default: Called with what has no JSON form, for something that has one.

    Raises:
        TypeError: Something in it has no JSON form.
    """
    option = (
        (orjson.OPT_INDENT_2 if indent else 0)
        | (orjson.OPT_SORT_KEYS if sort_keys else 0)
        | (orjson.OPT_APPEND_NEWLINE if newline else 0)
    )
    try:
        return orjson.dumps(value, default, option)
    except TypeError:
        text = json.dumps(
            _with_numbers(value, lambda number: None),
            indent=2 if indent else None,
            separators=(",", ": " if indent else ":"),
            sort_keys=sort_keys,
            default=lambda other: _with_numbers(_plain(other, default), lambda number: None),
        )
        return text.encode("ascii") + (b"\n" if newline else b"")


def decode(raw: bytes) -> Any:
    """The value of JSON that evalkit wrote, integers of any size and lone surrogates included.

    Raises:
        ValueError: It is not JSON, or nested too deeply.
    """
    return _decode(raw)


def encode_exact(value: Mapping[str, Any], *, newline: bool = False) -> bytes:
    """JSON on one line that `decode_exact` reads back to the last bit, NaN and infinities too.

    Those are written as `{"$number": "NaN"}`; integers beyond 64 bits likewise. An object that has only the
    field `$number` itself is written with its value in a list.

    Raises:
        TypeError: Something in it has no JSON form.
    """
    try:
        encoded = orjson.dumps(value, None, orjson.OPT_APPEND_NEWLINE if newline else None)
    except TypeError:
        text = _marked(value)
    else:
        has_mark = b"$" in encoded and _MARK_BYTES in encoded
        if b"null" not in encoded and not has_mark:
            return encoded
        # orjson writes NaN and infinities as null; nearly always it is a text that says so.
        try:
            text = _marked(value) if has_mark else json.dumps(value, separators=(",", ":"), allow_nan=False)
        except ValueError:
            text = _marked(value)
    return (text + "\n" if newline else text).encode("ascii")


def decode_exact(line: bytes) -> Any:
    """The inverse of `encode_exact`.

    Raises:
        ValueError: The line is not JSON, or nested too deeply.
    """
    # One byte is found much faster than several.
    if b"$" in line and _MARK_BYTES in line:
        return _decode_slowly(line, object_hook=_unmarked)
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return _decode_slowly(line)


def decode_foreign(raw: bytes, oddities: Counter[str] | None = None) -> Any:
    """The value of JSON that another program wrote, as far as it can be made out.

    NaN and infinities are read as such, a byte order mark and raw control characters in texts are allowed,
    and of two equal keys the last counts.

    Args:
        raw: UTF-8, or UTF-16 and UTF-32 where that can be seen.
        oddities: Counts the numbers that are none (`NaN`, `Infinity`, `-Infinity`).

    Raises:
        ValueError: It is not JSON, or nested too deeply.
    """

    def constant(name: str) -> float:
        if oddities is not None:
            oddities[name] += 1
        return float(name)

    return _decode(raw, strict=False, parse_constant=constant)


def spell_numbers(value: Any) -> Any:
    """A value in which NaN and infinities are the texts `NaN`, `Infinity` and `-Infinity`."""
    return _with_numbers(value, _spelled)


def _decode(raw: bytes, **hooks: Any) -> Any:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return _decode_slowly(raw, **hooks)
    return _decode_slowly(raw, **hooks) if _LONG_NUMBER in raw.translate(_DIGITS_TO_ZERO) else value


def _decode_slowly(raw: bytes, **hooks: Any) -> Any:
    try:
        return json.loads(raw, parse_int=_integer, **hooks)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _LONGEST_INTEGER_DIGITS else float(digits)


def _marked(value: Any) -> str:
    marked = _with_numbers(value, lambda number: {_MARK: _spelled(number)}, mark=True)
    return json.dumps(marked, separators=(",", ":"))


def _unmarked(plain: dict[str, Any]) -> Any:
    if plain.keys() != {_MARK}:
        return plain
    text = plain[_MARK]
    if isinstance(text, list) and len(text) == 1:
        return {_MARK: text[0]}
    if not isinstance(text, str):
        return plain
    return float(text) if text in _NON_FINITE else int(text)


def _with_numbers(value: Any, spell: Callable[[float], Any], mark: bool = False) -> Any:
    """A copy of a value with `spell` of each number that is NaN or infinite.

    Args:
        value: The value.
        spell: What replaces such a number.
        mark: Do so with long integers too, and mark objects that look like such a replacement.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else spell(value)
    if mark and isinstance(value, int) and not -(2**63) <= value < 2**64:
        return spell(value)
    if isinstance(value, dict):
        copied = {key: _with_numbers(item, spell, mark) for key, item in value.items()}
        return {_MARK: [copied[_MARK]]} if mark and copied.keys() == {_MARK} else copied
    if isinstance(value, list | tuple):
        return [_with_numbers(item, spell, mark) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _with_numbers(dataclasses.asdict(value), spell, mark)
    return value


def _plain(value: Any, default: Callable[[Any], Any] | None) -> Any:
    """What the standard library can't write and orjson can (dates, enumerations, UUIDs), else `default`."""
    try:
        return orjson.loads(orjson.dumps(value))
    except TypeError:
        if default is None:
            raise
        return default(value)


def _spelled(number: float) -> str:
    if isinstance(number, int):
        return str(number)
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
