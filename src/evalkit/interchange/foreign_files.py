"""JSON files that other harnesses wrote, read leniently; what they hold beyond JSON is counted."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from evalkit.bounded_reads import (
    JSON_BYTES,
    VARIABLE,
    limit_bytes,
    open_regular,
    read_bytes,
    too_large,
)
from evalkit.codec import decode_foreign
from evalkit.errors import StoreError
from evalkit.interchange.foreign_shapes import MAX_DEPTH, check, is_too_deep

REMEDY = f"--max-file-mb or {VARIABLE} allows more"
_BYTES_PER_VALUE = 10
_FEW_VALUES = 10_000
# Beyond it, squares and sums of many leave what a float can hold.
_LARGEST = 1e100


@dataclass(slots=True)
class ForeignFiles:
    """Reads the files of one import.

    Attributes:
        max_bytes: The most that is read of one file; of a packed one, unpacked.
        num_values: At least how many values were read so far; `max_bytes` allows one for every ten bytes.
        oddities: For each file, how many of its numbers are `NaN`, `Infinity` or `-Infinity`.
    """

    max_bytes: int = field(default_factory=lambda: limit_bytes(JSON_BYTES))
    num_values: int = 0
    oddities: dict[str, Counter[str]] = field(default_factory=dict)

    def read(self, path: Path) -> Any:
        """The value of a JSON file; None where there is no file.

        Raises:
            StoreError: It is not JSON, too large, or not a regular file.
        """
        try:
            raw = read_bytes(path, self.max_bytes, remedy=REMEDY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path} can't be read: {error.strerror}") from None
        return self.parse(raw, path.name, str(path))

    def lines(self, path: Path, shape: type[BaseModel] | None = None) -> Iterator[Any]:
        """The values of a file of JSON lines, blank lines left out.

        Args:
            path: The file.
            shape: What each line must look like.

        Raises:
            StoreError: The file is too large or not a regular file, or a line is not JSON or looks otherwise;
                names the line.
        """
        with self.open(path) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    place = f"{path}:{number}"
                    value = self.parse(line, path.name, place)
                    if shape is not None:
                        check(shape, value, place)
                    yield value

    def open(self, path: Path) -> BufferedReader:
        """A file, open to be read, unless it is too large.

        Raises:
            StoreError: It is too large, no regular file, or can't be opened.
        """
        try:
            file = open_regular(path)
            size = os.fstat(file.fileno()).st_size
            if size > self.max_bytes:
                file.close()
                raise too_large(size, self.max_bytes, REMEDY)
        except OSError as error:
            raise StoreError(f"{path} can't be read: {error.strerror}") from None
        return file

    def sha256(self, *paths: Path) -> str:
        """One checksum over the contents of files; of a single one, its own. One that is missing is empty.

        Raises:
            StoreError: One of them can't be read.
        """
        if len(paths) == 1:
            with self.open(paths[0]) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        whole = hashlib.sha256()
        for path in paths:
            content = self.sha256(path) if path.exists() else hashlib.sha256().hexdigest()
            whole.update(bytes.fromhex(content))
        return whole.hexdigest()

    def parse(self, raw: bytes, name: str, place: str) -> Any:
        """The value of a piece of JSON.

        Args:
            raw: The piece.
            name: What its oddities are counted under.
            place: Where it is, for the message.

        Raises:
            StoreError: It is not JSON, is nested too deeply, or holds too many values.
        """
        num_containers = raw.count(b"[") + raw.count(b"{")
        # An empty list has three bytes in a file and 64 in memory.
        self.num_values += num_containers + raw.count(b",")
        if self.num_values > (most := max(_FEW_VALUES, self.max_bytes // _BYTES_PER_VALUE)):
            raise StoreError(f"{place} can't be read: with it there are more than {most:,} values; {REMEDY}")
        found = Counter[str]()
        try:
            value = decode_foreign(raw, found)
        except ValueError as error:
            raise StoreError(f"{place} is damaged: {error}") from None
        if num_containers > MAX_DEPTH and is_too_deep(value):
            raise StoreError(f"{place} is nested too deeply: more than {MAX_DEPTH} levels")
        if found:
            self.oddities.setdefault(name, Counter()).update(found)
        return value

    def notes(self) -> Iterator[str]:
        """What the user should know of the files."""
        for name, found in self.oddities.items():
            kinds = ", ".join(f"{count} times {kind}" for kind, count in found.items())
            yield f"{name} has {kinds} for a number: no score or stat is made of those"


def finite(value: Any) -> float | None:
    """A number as a float; None for NaN, infinities, numbers beyond 1e100, and what is not a number."""
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and abs(number) <= _LARGEST else None


def why_not(path: Path, otherwise: str) -> str:
    """Why nothing was found at a path: there is nothing, or no file or folder, or else as given."""
    if not path.exists():
        return "does not exist"
    return otherwise if path.is_dir() else "is neither a file nor a folder"
