"""Rows of benchmark files, with the place named when one is wrong."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from evalkit.bounded_reads import DATA_BYTES, limit_bytes, limited_lines, open_regular, read_bytes
from evalkit.codec import decode_foreign
from evalkit.errors import DataError


def json_rows(path: Path, fields: Mapping[str, type | tuple[type, ...]]) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file, in order; blank lines are left out.

    Args:
        path: The file, UTF-8; compressed if its name ends in `.gz`.
        fields: The fields that every row must have, with their types.

    Raises:
        DataError: A line is not a JSON object or lacks a field; the message says which.
    """
    with closing(_lines(path)) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _json_row(path, number, line, fields)


def json_rows_at(
    path: Path, positions: Sequence[int], fields: Mapping[str, type | tuple[type, ...]]
) -> list[dict[str, Any]]:
    """The objects at these positions of a JSON-lines file, in the order of `positions`; no other is parsed.

    Args:
        path: The file, as for `json_rows`.
        positions: Row numbers from 0, blank lines not counted, each less than `count_rows(path)`.
        fields: The fields that these rows must have, with their types.

    Raises:
        DataError: One of these lines is not a JSON object or lacks a field.
    """
    wanted, found = frozenset(positions), {}
    position = 0
    with closing(_lines(path)) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                if position in wanted:
                    found[position] = _json_row(path, number, line, fields)
                position += 1
    return [found[position] for position in positions]


def count_rows(path: Path) -> int:
    """How many lines of a file are not blank."""
    with closing(_lines(path)) as lines:
        return sum(1 for line in lines if line.strip())


def csv_rows(path: Path, min_fields: int = 1) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file without header, each with the number of its last line.

    Args:
        path: The file, UTF-8.
        min_fields: How many fields every row must have.

    Raises:
        DataError: The file is not CSV, or a row is too short; the message says which.
    """
    try:
        text = read_bytes(path, limit_bytes(DATA_BYTES))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    with io.TextIOWrapper(io.BytesIO(text), encoding="utf-8") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            for row in reader:
                if len(row) < min_fields:
                    problem = f"{len(row)} fields, at least {min_fields} are expected"
                    raise _bad_row(path, reader.line_num, problem)
                yield reader.line_num, row
        except (csv.Error, UnicodeDecodeError) as error:
            raise _bad_row(path, reader.line_num, f"not valid CSV ({error})") from None


def csv_records(path: Path, fields: Sequence[str]) -> Iterator[dict[str, str]]:
    """The rows of a CSV file as mappings, by the names in its first line.

    Raises:
        DataError: The file is not CSV, one of `fields` is not among its columns, or a row is too short or too
            long.
    """
    rows = csv_rows(path)
    number, header = next(rows, (1, []))
    if missing := [name for name in fields if name not in header]:
        raise _bad_row(path, number, f"there is no column {' or '.join(missing)}")
    for number, row in rows:
        if len(row) != len(header):
            raise _bad_row(path, number, f"{len(row)} fields, {len(header)} are expected")
        yield dict(zip(header, row, strict=True))


def text_of(path: Path) -> str:
    """The text of a UTF-8 file.

    Raises:
        DataError: It is not UTF-8.
    """
    try:
        return read_bytes(path, limit_bytes(DATA_BYTES)).decode()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not valid UTF-8 ({error})") from None


def _json_row(
    path: Path, number: int, line: bytes, fields: Mapping[str, type | tuple[type, ...]]
) -> dict[str, Any]:
    try:
        row = decode_foreign(line)
    except ValueError as error:
        raise _bad_row(path, number, f"not valid JSON ({error}); the file may be truncated") from None
    if not isinstance(row, dict):
        raise _bad_row(path, number, f"a JSON object is expected, not {type(row).__name__}")
    for name, kind in fields.items():
        if not isinstance(row.get(name), kind):
            found = f"is {type(row[name]).__name__}" if name in row else "is missing"
            raise _bad_row(path, number, f"field '{name}' {found}")
    return row


def _lines(path: Path) -> Generator[bytes, None, None]:
    import gzip
    import zlib

    limit = limit_bytes(DATA_BYTES)
    try:
        with open_regular(path) as stream:
            if path.suffix != ".gz":
                is_small = os.fstat(stream.fileno()).st_size <= limit
                yield from stream if is_small else limited_lines(stream, limit)
                return
            with gzip.GzipFile(fileobj=stream) as unpacked:
                yield from limited_lines(unpacked, limit)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: {error}; delete the file and retry") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


def _bad_row(path: Path, number: int, problem: str) -> DataError:
    return DataError(f"{path}:{number}: {problem}")
