"""The journal: one JSON line per finished request, appended before anything else uses the outcome.

A process killed at any instant leaves whole lines and at most one torn last line, which the next
`Journal.open` cuts. Nothing is rewritten in place: a request asked again gets another line, and readers fold
by key. A response is final; a failure gives way to any later line. What a line is, and when it is damaged:
`evalkit.execution.journal_line`; how journals are read: `evalkit.execution.journal_index`.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

from evalkit.bounded_lines import bounded_lines, last_line_start
from evalkit.errors import StoreError
from evalkit.execution.journal_index import owner_of
from evalkit.execution.journal_line import (
    JournalOwner,
    header_line,
    is_whole,
    record_line,
    sealed_line,
)
from evalkit.request import RequestState
from evalkit.response import Outcome

# A power cut loses at most what was answered in this time; a killed process loses nothing.
SYNC_EVERY_S = 0.5
_BLOCK_BYTES = 1 << 16
_NOBODY = JournalOwner()
# How the sync to disk is spelled depends on the platform; fdatasync spares the metadata where it exists.
_sync_data = getattr(os, "fdatasync", os.fsync)


class Journal:
    """An open journal. One writer per file, by a lock on it; readers may look on at any time."""

    def __init__(self, path: Path, descriptor: int, owner: JournalOwner) -> None:
        """Use `Journal.open`."""
        self.path = path
        self._descriptor, self._seed = descriptor, owner.seed
        self._size_bytes = os.fstat(descriptor).st_size
        self._folder = os.stat(path.parent)
        self._dirty = False
        self._error: StoreError | None = None
        # Held while a line is written, or the file is copied on the thread that syncs.
        self._writing = threading.Lock()
        self.notes: list[str] = []

    @classmethod
    def open(cls, path: Path, owner: JournalOwner = _NOBODY) -> Journal:
        """Open for appending; creates the file, cuts a torn last line, completes one that lacks its newline.

        A journal without a sound header (of evalkit up to 0.1, or damaged) gets one more.

        Args:
            path: The file.
            owner: Whose it is.

        Raises:
            StoreError: The file can't be opened, is in use, is of a newer format, or is another run's.
        """
        descriptor = _open_locked(path)
        try:
            has_header = owner_of(path, owner.requests) is not None
            journal = cls(path, descriptor, owner)
            journal._mend_tail()
            if not has_header:
                is_new = journal._size_bytes == 0
                journal._write(header_line(owner))
                journal.sync()
                if is_new:
                    _sync_directory(path.parent)
        except BaseException:
            os.close(descriptor)
            raise
        return journal

    @property
    def size_bytes(self) -> int:
        """Length of what has been written."""
        return self._size_bytes

    def append(self, state: RequestState, outcome: Outcome) -> int:
        """Write one whole line; returns the byte at which it begins. See `extend`."""
        return self.extend([(state, outcome)])[0]

    def extend(self, finished: Iterable[tuple[RequestState, Outcome]]) -> list[int]:
        """Write a line for each; when this returns, they survive the death of this process.

        Returns:
            The byte at which each line begins.

        Raises:
            StoreError: A line can't be written (disk full, say), or could not be read back; those before it
                are in the journal. Or the last `sync` failed.
        """
        if self._error is not None:
            raise self._error
        lines: list[bytes] = []
        try:
            for state, outcome in finished:
                lines.append(record_line(state, outcome, self._seed))
        finally:
            start = self._size_bytes
            if lines:
                self._write(b"".join(lines) if len(lines) > 1 else lines[0])
        return list(accumulate(map(len, lines[:-1]), initial=start)) if lines else []

    def extend_lines(self, plain: Iterable[Mapping[str, Any]]) -> None:
        """Write lines that are not requests, each with its checksum, in a journal of another kind.

        Raises:
            StoreError: They can't be written, or the last `sync` failed.
        """
        if self._error is not None:
            raise self._error
        if lines := b"".join(sealed_line(each, self._seed) for each in plain):
            self._write(lines)

    def sync(self) -> None:
        """Make what was appended survive a power cut as well, in the file of this name.

        A journal that was removed meanwhile is written anew from what this process still holds of it.

        Raises:
            StoreError: The disk reports an error; the folder was removed or replaced, or the file replaced.
        """
        try:
            self._keep_place()
            if self._dirty:
                self._dirty = False
                _sync_data(self._descriptor)
        except OSError as error:
            self._error = StoreError(f"can't sync the journal {self.path}: {error.strerror}")
            raise self._error from error
        except StoreError as error:
            self._error = error
            raise

    def close(self) -> None:
        """Sync and close; more calls do nothing."""
        if self._descriptor < 0:
            return
        try:
            self.sync()
        finally:
            # Closing alone leaves the lock to whoever else still holds the open file: a sync on its way, say.
            with suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _keep_place(self) -> None:
        """See that the path still leads to the open file."""
        if self._descriptor < 0:
            return
        folder = self.path.parent
        try:
            if not os.path.samestat(os.stat(folder), self._folder):
                raise StoreError(f"{folder} was replaced while the run was going; the run stops")
        except FileNotFoundError:
            raise StoreError(f"{folder} was removed while the run was going; the run stops") from None
        try:
            if os.path.samestat(os.stat(self.path), os.fstat(self._descriptor)):
                return
        except FileNotFoundError:
            self._write_anew(self.path)
            self.notes.append(f"{self.path} was removed while the run was going; it was written anew")
            return
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        self._write_anew(beside)
        raise StoreError(
            f"{self.path} was replaced by another file while the run was going; the run stops. Its answers "
            f"so far are in {beside}: move that file to the journal's place, and start the run again"
        )

    def _write_anew(self, path: Path) -> None:
        """Copy the open file, whose name is gone, to a path, and go on with the copy."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        fresh = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o644)
        try:
            fcntl.flock(fresh, fcntl.LOCK_EX | fcntl.LOCK_NB)
            offset = 0
            with self._writing:
                while block := os.pread(self._descriptor, _BLOCK_BYTES, offset):
                    offset += os.write(fresh, block)
                os.fsync(fresh)
                temporary.rename(path)
                # The number stays the same, so that `append` always finds an open file.
                os.dup2(fresh, self._descriptor, inheritable=False)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(fresh)
        _sync_directory(path.parent)

    def guard(self, check: Callable[[], None]) -> None:
        """Let `append` raise what this check raises.

        Raises:
            StoreError: What the check has raised.
        """
        try:
            check()
        except StoreError as error:
            self._error = error
            raise

    def _write(self, lines: bytes) -> None:
        if self._descriptor < 0:
            raise StoreError(f"the journal {self.path} is closed")
        num_written = 0
        with self._writing:
            self._dirty = True
            try:
                while num_written < len(lines):
                    rest = memoryview(lines)[num_written:] if num_written else lines
                    num_written += os.write(self._descriptor, rest)
            except OSError as error:
                self._size_bytes += lines.rfind(b"\n", 0, num_written) + 1
                self._take_back()
                raise StoreError(f"can't write to the journal {self.path}: {error.strerror}") from error
            self._size_bytes += len(lines)

    def _take_back(self) -> None:
        """Cut a line written in part, so that the next starts on its own; failing that, write no more."""
        try:
            os.ftruncate(self._descriptor, self._size_bytes)
        except OSError:
            os.close(self._descriptor)
            self._descriptor = -1

    def _mend_tail(self) -> None:
        start = last_line_start(self._descriptor, self._size_bytes)
        if start == self._size_bytes:
            return
        if self._is_whole_from(start):
            self._write(b"\n")
            return
        os.ftruncate(self._descriptor, start)
        self._size_bytes = start
        self._dirty = True

    def _is_whole_from(self, start: int) -> bool:
        """Whether all from an offset on is a line that lacks only its line break."""
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(start)
            tail = next(bounded_lines(file), b"")
        return isinstance(tail, bytes) and is_whole(tail)


@asynccontextmanager
async def open_synced(
    path: Path, owner: JournalOwner = _NOBODY, check: Callable[[], None] | None = None
) -> AsyncIterator[Journal]:
    """A journal that is synced to disk every `SYNC_EVERY_S` while it is open, off the event loop.

    Args:
        path: The file.
        owner: Whose it is.
        check: Called before each sync and at the end; what it raises ends the run as a failed sync does.

    Raises:
        StoreError: See `Journal.open` and `Journal.sync`.
    """
    journal = Journal.open(path, owner)

    def sync() -> None:
        if check is not None:
            journal.guard(check)
        journal.sync()

    is_over = asyncio.Event()

    async def keep_syncing() -> None:
        while not is_over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(SYNC_EVERY_S):
                    await is_over.wait()
                return
            await asyncio.to_thread(sync)

    task = asyncio.create_task(keep_syncing())
    try:
        yield journal
    finally:
        # A sync on its way is waited for: it uses the open file.
        is_over.set()
        try:
            # What ended it early, `append` has raised, and `close` raises again.
            with suppress(StoreError):
                await task
            sync()
        finally:
            journal.close()


def _open_locked(path: Path) -> int:
    """The open file of this name, locked."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o644)
        except OSError as error:
            raise StoreError(f"can't open the journal {path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who removed it just now has made another, perhaps.
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                if not path.is_file():
                    raise StoreError(f"can't open the journal {path}: it is not a regular file")
                return descriptor
        except FileNotFoundError:
            pass
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise StoreError(f"another process is writing to the journal {path}") from None
            raise StoreError(f"can't lock the journal {path}: {error.strerror}") from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _sync_directory(folder: Path) -> None:
    # A new file's name is part of its folder. Some network file systems refuse this: no reason to stop.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
