"""Rows of benchmark files, with the place named when one is wrong."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evalkit.errors import DataError


def json_rows(path: Path, fields: Mapping[str, type | tuple[type, ...]]) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file, in order; blank lines are left out.

    Args:
        path: The file, UTF-8.
        fields: The fields that every row must have, with their types.

    Raises:
        DataError: A line is no JSON object or lacks a field; the message says which.
    """
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise _bad_row(path, number, f"not valid JSON ({error}); the file may be truncated") from None
            if not isinstance(row, dict):
                raise _bad_row(path, number, f"a JSON object is expected, not {type(row).__name__}")
            for name, kind in fields.items():
                if not isinstance(row.get(name), kind):
                    found = f"is {type(row[name]).__name__}" if name in row else "is missing"
                    raise _bad_row(path, number, f"field '{name}' {found}")
            yield row


def csv_rows(path: Path, min_fields: int = 1) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file without header, each with the number of its last line.

    Args:
        path: The file, UTF-8.
        min_fields: How many fields every row must have.

    Raises:
        DataError: The file is no CSV, or a row is too short; the message says which.
    """
    with path.open(encoding="utf-8") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            for row in reader:
                if len(row) < min_fields:
                    problem = f"{len(row)} fields, at least {min_fields} are expected"
                    raise _bad_row(path, reader.line_num, problem)
                yield reader.line_num, row
        except (csv.Error, UnicodeDecodeError) as error:
            raise _bad_row(path, reader.line_num, f"not valid CSV ({error})") from None


def _bad_row(path: Path, number: int, problem: str) -> DataError:
    return DataError(f"{path}:{number}: {problem}")
