"""JSON files that other harnesses wrote, read leniently; what they hold beyond JSON is counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.codec import decode_foreign
from evalkit.errors import StoreError


@dataclass(slots=True)
class ForeignFiles:
    """Reads the files of one import.

    Attributes:
        oddities: For each file, how many of its numbers are `NaN`, `Infinity` or `-Infinity`.
    """

    oddities: dict[str, Counter[str]] = field(default_factory=dict)

    def read(self, path: Path) -> Any:
        """The value of a JSON file; None where there is no file.

        Raises:
            StoreError: It is no JSON.
        """
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        return self.parse(raw, path.name, str(path))

    def lines(self, path: Path) -> Iterator[Any]:
        """The values of a file of JSON lines, blank lines left out.

        Raises:
            StoreError: A line is no JSON; names the line.
        """
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield self.parse(line, path.name, f"{path}:{number}")

    def parse(self, raw: bytes, name: str, place: str) -> Any:
        """The value of a piece of JSON.

        Args:
            raw: The piece.
            name: What its oddities are counted under.
            place: Where it is, for the message.

        Raises:
            StoreError: It is no JSON.
        """
        found = Counter[str]()
        try:
            value = decode_foreign(raw, found)
        except ValueError as error:
            raise StoreError(f"{place} is damaged: {error}") from None
        if found:
            self.oddities.setdefault(name, Counter()).update(found)
        return value

    def notes(self) -> Iterator[str]:
        """What the user should know of the files."""
        for name, found in self.oddities.items():
            kinds = ", ".join(f"{count} times {kind}" for kind, count in found.items())
            yield f"{name} has {kinds} for a number: no score or stat is made of those"


def finite(value: Any) -> float | None:
    """A number as a float; None for NaN, infinities, and what is no number."""
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
