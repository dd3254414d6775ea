"""The answers in another run's journal, as a source for requests that would be the same."""

from __future__ import annotations

from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from types import TracebackType

from evalkit.bounded_lines import bounded_lines
from evalkit.bounded_reads import open_regular
from evalkit.errors import StoreError
from evalkit.execution.answer_source import Found, content_key
from evalkit.execution.journal_index import scan_journal
from evalkit.execution.journal_line import LineReader, Record, to_record
from evalkit.request import RequestState
from evalkit.response import Origin, Response


class JournalSource:
    """An `AnswerSource` over one journal, which another process may be writing to: it is read, never locked.

    It answers a request with the same content key and the same place in its run (instance, train trial,
    sample, reference). Equal prompts in other places of a run are other draws from the model, and each of
    them is asked for.

    It holds where each answer begins, and reads the answer when it is wanted. Lines that are damaged, or
    not whole yet, are not there for it. Failures are none of its answers.

    Args:
        path: The journal.
        source: The name of its run.
        requests: The digest that its header must name; None: its header says whose it is.
        identity_digests: Of the deployment that answered; of a routed one, of each member, by its name.

    Raises:
        StoreError: There is no such file, or it is of a newer format, or another run's.
    """

    def __init__(
        self, path: Path, source: str, requests: str | None, identity_digests: str | Mapping[str | None, str]
    ) -> None:
        self.path = path
        self._source = source
        self._identity_digests: Mapping[str | None, str]
        self._identity_digests = (
            {None: identity_digests} if isinstance(identity_digests, str) else identity_digests
        )
        index = scan_journal(path, requests)
        self._offsets = {key: index.winners[key] for key in index.answered}
        # Which lines count is known; a reader that has seen no header takes those of each format.
        self._reader = LineReader(path, index.requests)
        self._file: BufferedReader | None = None

    def __len__(self) -> int:
        return len(self._offsets)

    def get(self, key: bytes, state: RequestState) -> Found | None:
        """The answer to the same request in the same place; see `AnswerSource.get`."""
        if (offset := self._offsets.get(state.key)) is None or (record := self._read(offset)) is None:
            return None
        asked, response = record.state, record.outcome
        if asked.key != state.key or not isinstance(response, Response):
            return None  # the file has changed since it was looked through
        identity_digest = self._identity_digests.get(asked.member)
        if identity_digest is None or content_key(identity_digest, asked.request, asked.sample) != key:
            return None
        return Found(response, Origin(self._source, state.key))

    def close(self) -> None:
        """Close the file; more calls do nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> JournalSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, offset: int) -> Record | None:
        """The line that begins here; None where it can't be read any more."""
        try:
            if self._file is None:
                self._file = open_regular(self.path)
            self._file.seek(offset)
            line = next(bounded_lines(self._file), b"")
            plain = self._reader.read(offset, line)
        except (OSError, StoreError):
            return None
        if not isinstance(plain, dict) or not isinstance(line, bytes):
            return None
        record = to_record(plain, offset, len(line))
        return record if isinstance(record, Record) else None
