"""A tracker that appends events to a file, one JSON object a line."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from evalkit import __version__
from evalkit.codec import decode, encode
from evalkit.errors import UsageError
from evalkit.registry import tracker
from evalkit.runs.events import Event
from evalkit.trackers.event_json import event_to_json
from evalkit.trackers.tracker import Tracker

FORMAT_VERSION = 1
# Every line begins so: a torn last line is known by it.
_BEGINNING = b'{"session":"'
_BLOCK = 65536


@tracker("jsonl")
class JsonLinesTracker(Tracker):
    """Appends each event to a file, one JSON object a line; keys, prompts and answers are never in it.

    Several processes may append to one file: a line is written whole, under a lock. A last line that a kill
    has torn is removed when the file is opened again.

    Args:
        path: The file, meant from the working directory; made if it is not there, with its folder.
        requests: Also write a line for each single request.
    """

    def __init__(self, path: str, requests: bool = False) -> None:
        self._path = Path(path).absolute()
        self.wants_requests = requests
        self._session = ""
        self._descriptor = -1
        self._is_regular = True
        if self._path.is_dir():
            raise UsageError(f"tracker 'jsonl': {path} is a folder; name a file")

    def open(self, session: str) -> None:
        """Open the file, and begin a session in it.

        Raises:
            OSError: It can't be written.
        """
        self._session = session
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            self._is_regular = stat.S_ISREG(self._path.stat().st_mode)
        access = os.O_RDWR if self._is_regular else os.O_WRONLY
        self._descriptor = os.open(self._path, access | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        if self._is_regular:
            with self._locked():
                _mend_end(self._descriptor)
        beginning = {"event": "session_started", "evalkit": __version__, "format": FORMAT_VERSION}
        self._write(beginning, time.time())

    def track(self, event: Event, at: float) -> None:
        """Append a line.

        Raises:
            OSError: The file can't be written.
        """
        self._write(event_to_json(event), at)

    def close(self, num_dropped: int) -> None:
        """Append how many events are missing, and close the file."""
        self._write({"event": "session_finished", "num_dropped": num_dropped}, time.time())
        os.close(self._descriptor)

    def _write(self, plain: dict[str, Any], at: float) -> None:
        # A run's name is text from elsewhere, and a path may hold what is not UTF-8: the codec escapes it.
        line = encode({"session": self._session, "at": round(at, 6), **plain}, newline=True)
        with self._locked():
            while line:
                line = line[os.write(self._descriptor, line) :]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone with the file, where its file system has locks."""
        if not self._is_regular:
            yield
            return
        with suppress(OSError):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)


def _mend_end(descriptor: int) -> None:
    """Let the file end with a whole line: cut a torn one of a tracker, end any other with its line break."""
    size = os.fstat(descriptor).st_size
    start, tail = size, b""
    while start and b"\n" not in tail:
        length = min(_BLOCK, start)
        start -= length
        tail = os.pread(descriptor, length, start) + tail
    last = tail.rpartition(b"\n")[2]
    if not last:
        return
    is_ours = last.startswith(_BEGINNING) or _BEGINNING.startswith(last)
    if is_ours and not _is_whole(last):
        os.ftruncate(descriptor, size - len(last))
    else:
        os.write(descriptor, b"\n")


def _is_whole(line: bytes) -> bool:
    try:
        decode(line)
    except ValueError:
        return False
    return True
