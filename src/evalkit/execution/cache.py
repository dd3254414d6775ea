"""Answers kept across runs, in one SQLite file that several processes may share.

The cache is a convenience: where it can't be used, it misses, with one warning, and the run goes on.
"""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.clients.prompt_logprobs import restored
from evalkit.codec import decode_exact, encode_exact
from evalkit.execution.answer_source import Found
from evalkit.request import Request, RequestState
from evalkit.response import (
    BLOCKED,
    Origin,
    Response,
    plain_response_problem,
    response_from_json,
    response_to_json,
)

if TYPE_CHECKING:
    import sqlite3

_LOG = logging.getLogger(__name__)
_COMMIT_EVERY_S = 0.5
_BUSY_TIMEOUT_S = 2.0
# At the end there is no later commit: wait for this many time-outs.
_LAST_TRIES = 5


def _usable(response: Response, request: Request) -> Response | None:
    """A cached answer by today's rules; None where it has to be asked for anew.

    evalkit up to 0.1 cached what a content filter had blocked as an empty answer, and prompts that were not
    scored as certain ones.
    """
    if any(completion.finish_reason == BLOCKED for completion in response.completions):
        return None
    if not request.echo_prompt:
        return response
    checked = restored(response, request.prompt)
    lost = any(
        was.tokens and not now.tokens
        for was, now in zip(response.completions, checked.completions, strict=True)
    )
    return None if lost else checked


class ResponseCache:
    """An `AnswerSource` of responses by `content_key`. Failures are never stored."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._pending: dict[bytes, bytes] = {}
        self._committed_at = clock()
        self._database: sqlite3.Connection | None = None
        self._try(self._open)

    def get(self, key: bytes, state: RequestState) -> Found | None:
        """The answer stored under this key, or None; one of another shape is none."""
        found = self._pending.get(key)
        if found is None:
            row = self._try(lambda: self._select(key))
            found = row[0] if row else None
        if found is None:
            return None
        try:
            plain = decode_exact(found)
        except ValueError:
            return None
        if plain_response_problem(plain) is not None:
            return None
        response = _usable(response_from_json(plain), state.request)
        return None if response is None else Found(response, Origin(self.path.name))

    def put(self, key: bytes, response: Response) -> None:
        """Store an answer; on disk within half a second of the next `put`, or at `close`."""
        if self._database is None:
            return
        self._pending[key] = encode_exact(response_to_json(response))
        if self._clock() - self._committed_at >= _COMMIT_EVERY_S:
            self.commit()

    def commit(self) -> None:
        """Write what is pending, in one transaction; if another process is writing, the next commit does."""
        if self._pending and self._try(self._insert_pending) is not False:
            self._pending.clear()
        self._committed_at = self._clock()

    def close(self) -> None:
        """Commit and close; more calls do nothing."""
        for _ in range(_LAST_TRIES):
            self.commit()
        if self._pending:
            _LOG.warning("%d answers did not get into the busy cache %s", len(self._pending), self.path)
            self._pending.clear()
        if self._database is not None:
            self._try(self._database.close)
            self._database = None

    def _open(self) -> None:
        import sqlite3

        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock_path = self.path.with_name(f"{self.path.name}.lock")
        for path in (self.path, lock_path):
            if path.exists() and not path.is_file():
                raise OSError(f"{path} is not a regular file")
        database = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        self._database = database
        # SQLite does not wait for its time-out when two processes make a new file WAL at once: one at a time.
        with lock_path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS responses (key BLOB PRIMARY KEY, response BLOB NOT NULL)"
            )

    def _select(self, key: bytes) -> Any:
        if self._database is None:
            return None
        return self._database.execute("SELECT response FROM responses WHERE key = ?", (key,)).fetchone()

    def _insert_pending(self) -> bool:
        """Whether it could be written; not while another process is writing for longer than the time-out."""
        import sqlite3

        if (database := self._database) is None:
            return True
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                return False
            raise
        with database:
            database.executemany("INSERT OR REPLACE INTO responses VALUES (?, ?)", self._pending.items())
        return True

    def _try(self, action: Callable[[], Any]) -> Any:
        """Do it; if the database refuses, give the cache up for good with one warning."""
        import sqlite3

        try:
            return action()
        except (sqlite3.Error, OSError) as error:
            _LOG.warning("the response cache %s can't be used, going on without it: %s", self.path, error)
            if self._database is not None:
                with suppress(sqlite3.Error):
                    self._database.close()
            self._database = None
            return None
