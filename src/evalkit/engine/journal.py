"""The journal: one JSON line per finished request, appended before anything else uses the outcome.

A process killed at any instant leaves whole lines and at most one torn last line, which the next
`Journal.open` cuts. Nothing is rewritten in place: a request asked again gets another line, and readers fold
by key. A response is final; a failure gives way to any later line. What a line is, and when it is damaged:
`evalkit.engine.journal_line`.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.engine.journal_line import (
    HEADER_START,
    Damage,
    LineReader,
    Owner,
    Record,
    blocked_answer,
    header_line,
    is_whole,
    record_line,
    to_failure,
    to_record,
    unit_of,
)
from evalkit.errors import StoreError
from evalkit.request import RequestState
from evalkit.response import Failure, Outcome

# A power cut loses at most what was answered in this time; a killed process loses nothing.
SYNC_EVERY_S = 0.5
_BLOCK_BYTES = 1 << 16
_NOBODY = Owner()
_Unit = tuple[str, str | None, int, int]
# How the sync to disk is spelled depends on the platform; fdatasync spares the metadata where it exists.
_sync_data = getattr(os, "fdatasync", os.fsync)


@dataclass(frozen=True, slots=True)
class Units:
    """What a run scores: lines about anything else are damaged.

    Attributes:
        copies: Id and label of the perturbed copy of each evaluated instance.
    """

    copies: Collection[tuple[str, str | None]]
    num_trials: int
    num_samples: int

    def problem(self, plain: Mapping[str, Any]) -> str | None:
        """Why a line is about no unit of the run; None: it is about one."""
        instance_id, perturbation, trial, sample = unit_of(plain)
        if (instance_id, perturbation) not in self.copies:
            return f"the run has no instance '{instance_id}'{f' ({perturbation})' if perturbation else ''}"
        if not (0 <= trial < self.num_trials and 0 <= sample < self.num_samples):
            return f"the run has no trial {trial} with sample {sample}"
        return None


@dataclass(slots=True)
class JournalIndex:
    """What a journal holds, without its texts.

    Attributes:
        answered: Keys with a response.
        failures: The last failure of each key that has failures only.
        damage: Lines that can't be used, in order.
        torn_bytes: Length of an incomplete last line, which the next `Journal.open` cuts.
        prompt_tokens: Sum over all responses that were paid for (cached ones left out).
        completion_tokens: Likewise.
        num_without_usage: Of those responses, the ones whose server reported no tokens.
        num_lines: Whole lines with an outcome.
        winners: Byte offset of the line that counts, for each key.
        requests: The digest that its checksums are over; None where nothing says so.
        owner: Whose the journal is, by its header; None for one of evalkit up to 0.1.
    """

    answered: set[str] = field(default_factory=set)
    failures: dict[str, Failure] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)
    torn_bytes: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    num_without_usage: int = 0
    num_lines: int = 0
    winners: dict[str, int] = field(default_factory=dict)
    requests: str | None = None
    owner: Owner | None = None

    @property
    def settled(self) -> frozenset[str]:
        """Keys that are not asked again: those with a response, and those that a content filter blocked."""
        return frozenset(self.answered) | {key for key, last in self.failures.items() if last.is_blocked}


class Journal:
    """An open journal. One writer per file, by a lock on it; readers may look on at any time."""

    def __init__(self, path: Path, descriptor: int, owner: Owner) -> None:
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
    def open(cls, path: Path, owner: Owner = _NOBODY) -> Journal:
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
            has_header = _owner_of(path, owner.requests) is not None
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

    def append(self, state: RequestState, outcome: Outcome) -> None:
        """Write one whole line; see `extend`."""
        self.extend([(state, outcome)])

    def extend(self, finished: Iterable[tuple[RequestState, Outcome]]) -> None:
        """Write a line for each; when this returns, they survive the death of this process.

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
            if lines:
                self._write(b"".join(lines) if len(lines) > 1 else lines[0])

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
            f"so far are in {beside}: put that in the other's place, and start the run again"
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
        end, tail = self._size_bytes, b""
        while end > 0 and b"\n" not in tail:
            start = max(0, end - _BLOCK_BYTES)
            tail = os.pread(self._descriptor, end - start, start) + tail
            end = start
        tail = tail.rpartition(b"\n")[2]
        if not tail:
            return
        if is_whole(tail):
            self._write(b"\n")
            return
        os.ftruncate(self._descriptor, self._size_bytes - len(tail))
        self._size_bytes -= len(tail)
        self._dirty = True


@asynccontextmanager
async def open_synced(
    path: Path, owner: Owner = _NOBODY, check: Callable[[], None] | None = None
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

    async def keep_syncing() -> None:
        while True:
            await asyncio.sleep(SYNC_EVERY_S)
            await asyncio.to_thread(sync)

    task = asyncio.create_task(keep_syncing())
    try:
        yield journal
    finally:
        task.cancel()
        # What ended it early, `append` has raised, and `close` raises again.
        with suppress(asyncio.CancelledError, StoreError):
            await task
        try:
            sync()
        finally:
            journal.close()


def read_journal(path: Path, requests: str | None = None) -> Iterator[Record | Damage]:
    """All lines in order, one at a time; an incomplete last line is left out.

    Args:
        path: The file.
        requests: The digest that its header must name; None: whose it is, it says itself.

    Raises:
        StoreError: There is no such file, or it is of a newer format, or another run's.
    """
    reader = _reader(path, requests)
    for offset, line in _lines(path):
        plain = reader.read(offset, line)
        if isinstance(plain, dict):
            yield to_record(plain, offset, len(line))
        elif plain is not None and not _is_torn(line):
            yield plain


def read_winners(path: Path, index: JournalIndex) -> Iterator[Record]:
    """The one record that counts for each key, in the journal's order; `index` is its `scan_journal`."""
    reader = LineReader(path, index.requests)
    winning = set(index.winners.values())
    for offset, line in _lines(path):
        if offset in winning or line.startswith(HEADER_START):
            plain = reader.read(offset, line)
            record = to_record(plain, offset, len(line)) if isinstance(plain, dict) else plain
            if isinstance(record, Record):
                yield record


def scan_journal(path: Path, requests: str | None = None, units: Units | None = None) -> JournalIndex:
    """Which requests are answered, which failed, and what is damaged: what resume needs.

    Args:
        path: The file.
        requests: The digest that its header must name; None: whose it is, it says itself.
        units: What the run scores; None: any line is about something.

    Raises:
        StoreError: There is no such file, or it is of a newer format, or another run's.
    """
    scan = _Scan(path, requests, units).run()
    if scan.at_odds:
        # Of lines that disagree on how many are scored together, those in the minority are wrong.
        counting = _Scan(path, requests, units, at_odds={unit: Counter() for unit in scan.at_odds}).run()
        right = {unit: _majority(counted) for unit, counted in counting.at_odds.items()}
        scan = _Scan(path, requests, units, right=right).run()
    return scan.index


class _Scan:
    """One pass over a journal.

    Attributes:
        at_odds: Units whose lines disagree on their size, with the sizes if they were known beforehand.
    """

    def __init__(
        self,
        path: Path,
        requests: str | None,
        units: Units | None,
        *,
        at_odds: dict[_Unit, Counter[int]] | None = None,
        right: Mapping[_Unit, int | None] | None = None,
    ) -> None:
        self._path, self._units = path, units
        self._reader = _reader(path, requests)
        self._sizes: dict[_Unit, int] = {}
        self._right = right or {}
        self.at_odds = at_odds or {}
        self.index = JournalIndex(requests=self._reader.requests)

    def run(self) -> _Scan:
        """Read all of it."""
        index, read = self.index, self._reader.read
        for offset, line in _lines(self._path):
            plain = read(offset, line)
            if isinstance(plain, dict):
                if (problem := self._problem(plain)) is None:
                    self._fold(plain, offset, line)
                else:
                    index.damage.append(Damage(offset, len(line), problem))
            elif plain is not None:
                if _is_torn(line):
                    index.torn_bytes = len(line)
                else:
                    index.damage.append(plain)
        index.owner = self._reader.owner
        return self

    def _problem(self, plain: dict[str, Any]) -> str | None:
        if self._units is not None and (problem := self._units.problem(plain)) is not None:
            return problem
        size = plain.get("unit_size", 1)
        if size == 1 and "reference_index" not in plain and "/w" not in plain["key"]:
            return None
        unit = unit_of(plain)
        if unit in self._right:
            return None if size == self._right[unit] else f"its unit_size {size} is not that of the others"
        if unit in self.at_odds:
            self.at_odds[unit][size] += 1
        elif self._sizes.setdefault(unit, size) != size:
            self.at_odds[unit] = Counter()
        return None

    def _fold(self, plain: dict[str, Any], offset: int, line: bytes) -> None:
        index, key = self.index, plain["key"]
        response = plain.get("response")
        is_done = key in index.answered
        if is_done and response is not None and self._is_copy(index.winners[key], line):
            return
        index.num_lines += 1
        if response is not None and "cached" not in response:
            prompt, completion = response.get("prompt_tokens", 0), response.get("completion_tokens", 0)
            index.prompt_tokens += prompt
            index.completion_tokens += completion
            index.num_without_usage += not (prompt or completion)
        if is_done:
            return
        failure = to_failure(plain["failure"]) if response is None else blocked_answer(response)
        index.winners[key] = offset
        if failure is None:
            index.answered.add(key)
            index.failures.pop(key, None)
        else:
            index.failures[key] = failure

    def _is_copy(self, offset: int, line: bytes) -> bool:
        """Whether a line is in the file twice: paid for once."""
        with open(self._path, "rb") as file:
            file.seek(offset)
            return file.read(len(line)) == line


def _majority(counted: Counter[int]) -> int | None:
    """The size that most lines have; None if there is no such, so that all are asked again."""
    (first, most), (_, next_most) = counted.most_common(2)
    return first if most > next_most else None


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of each line; bounded memory, as long as each line is."""
    offset = 0
    try:
        if path.exists() and not path.is_file():
            raise StoreError(f"can't read the journal {path}: it is not a regular file")
        with open(path, "rb", buffering=1 << 20) as file:
            for line in file:
                yield offset, line
                offset += len(line)
    except OSError as error:
        raise StoreError(f"can't read the journal {path}: {error.strerror}") from error


def _is_torn(line: bytes) -> bool:
    """Whether an unreadable line is the torn end of the file (only the last one lacks its newline)."""
    return not line.endswith(b"\n")


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


def owner_of(path: Path) -> Owner | None:
    """Whose a journal is; None where no sound header says so."""
    return _owner_of(path, None)


def _owner_of(path: Path, requests: str | None) -> Owner | None:
    """What the first sound header says; usually that is the first line."""
    reader = LineReader(path, requests)
    for offset, line in _lines(path):
        if offset == 0 or line.startswith(HEADER_START):
            reader.read(offset, line)
            if reader.owner is not None:
                break
    return reader.owner


def _reader(path: Path, requests: str | None) -> LineReader:
    """A reader of a journal that knows whose it is from its first line on."""
    if requests is None and (owner := _owner_of(path, None)) is not None:
        requests = owner.requests
    return LineReader(path, requests)


def _sync_directory(folder: Path) -> None:
    # A new file's name is part of its folder. Some network file systems refuse this: no reason to stop.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
