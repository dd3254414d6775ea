"""The journal: one JSON line per finished request, appended before anything else uses the outcome.

A process killed at any instant leaves whole lines and at most one torn last line, which the next
`Journal.open` cuts. Nothing is rewritten in place: a request asked again gets another line, and readers fold
by key. A response is final; a failure gives way to any later line.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from evalkit.clients.echo import restored
from evalkit.codec import decode_exact, encode_exact
from evalkit.errors import StoreError
from evalkit.request import Request, RequestState
from evalkit.response import BLOCKED, Failure, Outcome, Response, response_from_json, response_to_json

JOURNAL_VERSION = 1
# A power cut loses at most what was answered in this time; a killed process loses nothing.
SYNC_EVERY_S = 0.5
_HEADER_START = b'{"evalkit_journal"'
_BLOCK_BYTES = 1 << 16
_REQUEST_FIELDS = frozenset(f.name for f in fields(Request)) - {"hints"}
_STATE_DEFAULTS: tuple[tuple[str, Any], ...] = tuple(
    (f.name, f.default) for f in fields(RequestState) if f.default is not MISSING
)
# How the sync to disk is spelled depends on the platform; fdatasync spares the metadata where it exists.
_sync_data = getattr(os, "fdatasync", os.fsync)


@dataclass(frozen=True, slots=True)
class Record:
    """One whole line: which request, what came of it, and when (`at`, unix seconds)."""

    state: RequestState
    outcome: Outcome
    at: float


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that can't be read, with its place in bytes; its request is owed again."""

    offset: int
    length: int
    reason: str

    def __str__(self) -> str:
        return f"the line at byte {self.offset} ({self.length} bytes) can't be read: {self.reason}"


@dataclass(slots=True)
class JournalIndex:
    """What a journal holds, without its texts.

    Attributes:
        answered: Keys with a response.
        failures: The last failure of each key that has failures only.
        damage: Unreadable lines, in order.
        torn_bytes: Length of an incomplete last line, which the next `Journal.open` cuts.
        prompt_tokens: Sum over all responses that were paid for (cached ones left out).
        completion_tokens: Likewise.
        num_lines: Whole lines with an outcome.
        winners: Byte offset of the line that counts, for each key.
    """

    answered: set[str] = field(default_factory=set)
    failures: dict[str, Failure] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)
    torn_bytes: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    num_lines: int = 0
    winners: dict[str, int] = field(default_factory=dict)

    @property
    def settled(self) -> frozenset[str]:
        """Keys that are not asked again: those with a response, and those that a content filter blocked."""
        return frozenset(self.answered) | {key for key, last in self.failures.items() if last.is_blocked}


class Journal:
    """An open journal. One writer per file (see `RunLock`); readers may look on at any time."""

    def __init__(self, path: Path, descriptor: int, size_bytes: int) -> None:
        """Use `Journal.open`."""
        self.path = path
        self._descriptor = descriptor
        self._size_bytes = size_bytes
        self._dirty = False

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Open for appending; creates the file, cuts a torn last line, completes one that lacks its newline.

        Raises:
            StoreError: The file can't be opened, or is of a newer format.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise StoreError(f"can't open the journal {path}: {error.strerror}") from error
        journal = cls(path, descriptor, os.fstat(descriptor).st_size)
        try:
            _check_version(path, os.pread(descriptor, 256, 0).partition(b"\n")[0])
            journal._mend_tail()
            if journal._size_bytes == 0:
                journal._write(encode_exact({"evalkit_journal": JOURNAL_VERSION}, newline=True))
                journal.sync()
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
        """Write one whole line; when this returns, it survives the death of this process.

        Raises:
            StoreError: The line can't be written (disk full, say) or is no JSON; the journal is as before.
        """
        try:
            line = encode_exact(_to_plain(state, outcome), newline=True)
        except (TypeError, ValueError) as error:
            raise StoreError(f"the outcome of {state.key} can't be written as JSON: {error}") from error
        self._write(line)

    def sync(self) -> None:
        """Make what was appended survive a power cut as well.

        Raises:
            StoreError: The disk reports an error.
        """
        if not self._dirty:
            return
        try:
            _sync_data(self._descriptor)
        except OSError as error:
            raise StoreError(f"can't sync the journal {self.path}: {error.strerror}") from error
        self._dirty = False

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

    def _write(self, line: bytes) -> None:
        if self._descriptor < 0:
            raise StoreError(f"the journal {self.path} is closed")
        rest = memoryview(line)
        self._dirty = True
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            self._take_back()
            raise StoreError(f"can't write to the journal {self.path}: {error.strerror}") from error
        self._size_bytes += len(line)

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
        if _is_whole(tail):
            self._write(b"\n")
            return
        os.ftruncate(self._descriptor, self._size_bytes - len(tail))
        self._size_bytes -= len(tail)
        self._dirty = True


@asynccontextmanager
async def open_synced(path: Path) -> AsyncIterator[Journal]:
    """A journal that is synced to disk every `SYNC_EVERY_S` while it is open, off the event loop.

    Raises:
        StoreError: The file can't be opened, or is of a newer format.
    """
    journal = Journal.open(path)

    async def keep_syncing() -> None:
        while True:
            await asyncio.sleep(SYNC_EVERY_S)
            await asyncio.to_thread(journal.sync)

    task = asyncio.create_task(keep_syncing())
    try:
        yield journal
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        journal.close()


def read_journal(path: Path, end: int | None = None) -> Iterator[Record | Damage]:
    """All lines in order (those before the byte `end`), one at a time; an incomplete last line is left out.

    Raises:
        StoreError: There is no such file, or it is of a newer format.
    """
    for offset, line in _lines(path):
        if end is not None and offset >= end:
            return
        plain = _parse(path, offset, line)
        if isinstance(plain, dict):
            yield _to_record(plain, offset, len(line))
        elif plain is not None and not _is_torn(line):
            yield plain


def read_winners(path: Path, index: JournalIndex) -> Iterator[Record]:
    """The one record that counts for each key, in the journal's order; `index` is its `scan_journal`."""
    winning = set(index.winners.values())
    for offset, line in _lines(path):
        if offset in winning:
            plain = _parse(path, offset, line)
            record = _to_record(plain, offset, len(line)) if isinstance(plain, dict) else plain
            if isinstance(record, Record):
                yield record


def scan_journal(path: Path) -> JournalIndex:
    """Which requests are answered, which failed, and what is unreadable: what resume needs.

    Raises:
        StoreError: There is no such file, or it is of a newer format.
    """
    index = JournalIndex()
    for offset, line in _lines(path):
        plain = _parse(path, offset, line)
        if isinstance(plain, dict):
            if (problem := _shape_problem(plain)) is None:
                _fold(index, plain, offset)
            else:
                index.damage.append(Damage(offset, len(line), problem))
        elif plain is not None:
            if _is_torn(line):
                index.torn_bytes = len(line)
            else:
                index.damage.append(plain)
    return index


def _to_plain(state: RequestState, outcome: Outcome) -> dict[str, Any]:
    plain: dict[str, Any] = {"key": state.key, "instance_id": state.instance_id, "trial": state.trial}
    for name, default in _STATE_DEFAULTS:
        value = getattr(state, name)
        if value != default:
            plain[name] = dict(value) if name == "output_mapping" else value
    plain["request"] = state.request.to_json()
    if isinstance(outcome, Response):
        plain["response"] = response_to_json(outcome)
    else:
        plain["failure"] = {
            "reason": outcome.reason,
            "message": outcome.message,
            "attempts": outcome.attempts,
        }
        if outcome.text:
            plain["failure"]["text"] = outcome.text
    plain["at"] = round(time.time(), 3)
    return plain


def _to_record(plain: dict[str, Any], offset: int, length: int) -> Record | Damage:
    if (problem := _shape_problem(plain)) is not None:
        return Damage(offset, length, problem)
    optional = {name: plain[name] for name, _ in _STATE_DEFAULTS if name in plain}
    state = RequestState(
        key=plain["key"],
        instance_id=plain["instance_id"],
        trial=plain["trial"],
        request=_to_request(plain["request"]),
        **optional,
    )
    if "response" in plain:
        response = response_from_json(plain["response"])
        if (blocked := _blocked(plain["response"])) is not None:
            return Record(state, blocked, plain.get("at", 0.0))
        if state.request.echo_prompt:
            response = restored(response, state.request.prompt)
        return Record(state, response, plain.get("at", 0.0))
    return Record(state, _to_failure(plain["failure"]), plain.get("at", 0.0))


def _blocked(response: dict[str, Any]) -> Failure | None:
    """What a content filter blocked or cut off: evalkit up to 0.1 kept that as an answer."""
    texts = [c["text"] for c in response["completions"] if c.get("finish_reason") == BLOCKED]
    if not texts:
        return None
    message = "the provider's content filter blocked the answer"
    return Failure(BLOCKED, message, response.get("attempts", 1), max(texts, key=len))


def _to_request(plain: dict[str, Any]) -> Request:
    return Request.from_json({name: value for name, value in plain.items() if name in _REQUEST_FIELDS})


def _to_failure(plain: dict[str, Any]) -> Failure:
    return Failure(plain["reason"], plain["message"], plain.get("attempts", 1), plain.get("text", ""))


def _fold(index: JournalIndex, plain: dict[str, Any], offset: int) -> None:
    key = plain["key"]
    index.num_lines += 1
    response = plain.get("response")
    if response is not None and "cached" not in response:
        index.prompt_tokens += response.get("prompt_tokens", 0)
        index.completion_tokens += response.get("completion_tokens", 0)
    if key in index.answered:
        return
    failure = _to_failure(plain["failure"]) if response is None else _blocked(response)
    if failure is None:
        index.answered.add(key)
        index.winners[key] = offset
        index.failures.pop(key, None)
    else:
        index.failures[key] = failure
        index.winners[key] = offset


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of each line; bounded memory, as long as each line is."""
    offset = 0
    try:
        with open(path, "rb", buffering=1 << 20) as file:
            for line in file:
                yield offset, line
                offset += len(line)
    except OSError as error:
        raise StoreError(f"can't read the journal {path}: {error.strerror}") from error


def _parse(path: Path, offset: int, line: bytes) -> dict[str, Any] | Damage | None:
    """The line as an object; None for a header."""
    if line.startswith(_HEADER_START):
        _check_version(path, line)
        return None
    try:
        plain = decode_exact(line)
    except ValueError as error:
        return Damage(offset, len(line), f"not JSON: {error}")
    return plain if type(plain) is dict else Damage(offset, len(line), "not a JSON object")


def _check_version(path: Path, line: bytes) -> None:
    if not line.startswith(_HEADER_START):
        return
    try:
        version = decode_exact(line)["evalkit_journal"]
    except (ValueError, KeyError):
        return
    if isinstance(version, int) and version > JOURNAL_VERSION:
        raise StoreError(
            f"the journal {path} is of format {version}; this evalkit reads up to {JOURNAL_VERSION}: "
            "use a newer evalkit"
        )


def _is_torn(line: bytes) -> bool:
    """Whether an unreadable line is the torn end of the file (only the last one lacks its newline)."""
    return not line.endswith(b"\n")


def _is_whole(tail: bytes) -> bool:
    try:
        return type(decode_exact(tail)) is dict
    except ValueError:
        return False


def _shape_problem(plain: dict[str, Any]) -> str | None:
    """What keeps this line from being a record, or None. Checks all that building one relies on."""
    request = plain.get("request")
    if type(plain.get("key")) is not str or type(plain.get("instance_id")) is not str:
        return "no key or instance_id"
    if type(plain.get("trial")) is not int or type(request) is not dict:
        return "no trial or request"
    if type(request.get("prompt")) is not str or not _is_readable(_to_request, request, "messages"):
        return "the request is incomplete"
    if "response" in plain:
        return None if _is_response(plain["response"]) else "the response is incomplete"
    failure = plain.get("failure")
    if type(failure) is not dict:
        return "neither response nor failure"
    if type(failure.get("reason")) is not str or type(failure.get("message")) is not str:
        return "the failure is incomplete"
    return None


def _is_response(response: Any) -> bool:
    if type(response) is not dict or type(completions := response.get("completions")) is not list:
        return False
    if (
        type(response.get("prompt_tokens", 0)) is not int
        or type(response.get("completion_tokens", 0)) is not int
    ):
        return False
    for completion in completions:
        if type(completion) is not dict or type(completion.get("text")) is not str:
            return False
        if "tokens" in completion:
            return _is_readable(response_from_json, response, "completions")
    return True


def _is_readable(build: Any, plain: dict[str, Any], when: str) -> bool:
    """Whether `build(plain)` works; only tried where `when` is there, since building is what takes time."""
    if when not in plain:
        return True
    try:
        build(plain)
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    return True


def _sync_directory(folder: Path) -> None:
    # A new file's name is part of its folder. Some network file systems refuse this: no reason to stop.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
