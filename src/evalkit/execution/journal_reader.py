"""Single lines of a journal, by the byte at which they begin; the journal may be growing meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path

from evalkit.bounded_lines import bounded_lines
from evalkit.bounded_reads import open_regular
from evalkit.errors import StoreError
from evalkit.execution.journal_line import LineReader, Record, to_record


class JournalReader:
    """Reads records that are known to be in a journal; it is read, never locked.

    Args:
        path: The journal.
        requests: The digest that its header names.
    """

    def __init__(self, path: Path, requests: str) -> None:
        self._path = path
        self._lines = LineReader(path, requests)
        self._file: BufferedReader | None = None

    def records(self, offsets: Iterable[int]) -> list[Record]:
        """The records of the lines that begin at these bytes.

        Raises:
            StoreError: One can't be read any more.
        """
        return [self.record(offset) for offset in offsets]

    def record(self, offset: int) -> Record:
        """The record of the line that begins at this byte.

        Raises:
            StoreError: It can't be read any more.
        """
        try:
            found = self._read(offset)
            if found is None and self._was_replaced():
                # A journal that was removed meanwhile is written anew, with each line in its place.
                self.close()
                found = self._read(offset)
        except OSError as error:
            raise StoreError(f"can't read the journal {self._path}: {error.strerror}") from error
        if found is None:
            raise StoreError(f"{self._path}: the line at byte {offset} can't be read any more")
        return found

    def close(self) -> None:
        """Close the file; more calls do nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, offset: int) -> Record | None:
        if self._file is None:
            self._file = open_regular(self._path)
        self._file.seek(offset)
        line = next(bounded_lines(self._file), b"")
        plain = self._lines.read(offset, line)
        record = (
            to_record(plain, offset, len(line))
            if isinstance(plain, dict) and isinstance(line, bytes)
            else None
        )
        return record if isinstance(record, Record) else None

    def _was_replaced(self) -> bool:
        assert self._file is not None
        return not os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._path))
