"""JSON objects in a text: the whole of it, in a fenced block, or between sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

# A text of nothing but opening braces must not take for ever.
_MOST_STARTS = 1000


class RepeatedKeyError(ValueError):
    """An object names one key twice."""


def json_objects(text: str) -> list[dict[str, Any]]:
    """The outermost objects in a text, in order; what is not JSON is passed over.

    Raises:
        RepeatedKeyError: An object names a key twice, so that it says two things.
    """
    return list(_objects(text))


def _objects(text: str) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_constant=_refused)
    place, starts = text.find("{"), 0
    while place >= 0 and starts < _MOST_STARTS:
        starts += 1
        try:
            found, end = decoder.raw_decode(text, place)
        except RepeatedKeyError:
            raise
        except (ValueError, RecursionError):
            place = text.find("{", place + 1)
            continue
        yield found
        place = text.find("{", end)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RepeatedKeyError(f"the key '{twice}' is there twice")
    return found


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
