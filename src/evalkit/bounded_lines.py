"""The lines of a file that anything may have damaged, in bounded memory.

After a power cut a file may end in NUL bytes, any number of them, of which few or none are on the disk; and
what lost its line breaks is one line as long as the file. Such lines are passed over, never held.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader

MAX_LINE_BYTES = 256 << 20
"""Of a line that evalkit wrote. An answer of the 64 MB that a server may send makes less, however spelled."""
_WINDOW_BYTES = 1 << 20
_HOLES = hasattr(os, "SEEK_DATA")


@dataclass(frozen=True, slots=True)
class Unread:
    """A line that was passed over.

    Attributes:
        length: Its bytes, with the line break if it has one.
        reason: Why it can't be read.
        is_last: It has no line break: the file ends in it.
    """

    length: int
    reason: str
    is_last: bool


def bounded_lines(file: BufferedReader, limit: int = MAX_LINE_BYTES) -> Iterator[bytes | Unread]:
    """The lines of a file from where it stands, with their line breaks.

    Of lines longer than 1 MiB, those that hold a NUL byte (JSON never does) are passed over, and those of
    more than `limit` bytes.

    Args:
        file: The file, open to be read; not to be moved by others meanwhile.
        limit: The most bytes of a line that are held.
    """
    readline = file.readline
    while line := readline(_WINDOW_BYTES):
        if len(line) < _WINDOW_BYTES or line.endswith(b"\n"):
            yield line
        else:
            yield _long_line(file, line, limit)


def last_line_start(descriptor: int, size: int) -> int:
    """Where the line begins that a file of this size ends in: its size, if it ends in a line break."""
    for start, end in reversed(_written_parts(descriptor, size)):
        while end > start:
            before = max(start, end - _WINDOW_BYTES)
            found = os.pread(descriptor, end - before, before).rfind(b"\n")
            if found >= 0:
                return before + found + 1
            end = before
    return 0


def _long_line(file: BufferedReader, line: bytes, limit: int) -> bytes | Unread:
    """The rest of a line of which a first window has been read."""
    parts, length, reason = [line], len(line), ""
    piece = line
    while piece:
        if not reason:
            reason = _reason(piece, length, limit)
        if reason:
            parts.clear()
        if piece.endswith(b"\n"):
            break
        if reason:
            length += _pass_hole(file)
        piece = file.readline(_WINDOW_BYTES)
        length += len(piece)
        if not reason:
            parts.append(piece)
    return Unread(length, reason, not piece) if reason else b"".join(parts)


def _reason(piece: bytes, length: int, limit: int) -> str:
    if b"\0" in piece:
        return "it holds NUL bytes, as a power cut leaves them"
    return f"it is longer than the {limit:,} bytes that a line may have" if length > limit else ""


def _pass_hole(file: BufferedReader) -> int:
    """Skip what no disk holds and would be read as NUL bytes; how many bytes that were."""
    if not _HOLES:
        return 0
    descriptor, here = file.fileno(), file.tell()
    # The file's buffer relies on where the descriptor stands.
    stands_at = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        there = os.lseek(descriptor, here, os.SEEK_DATA)
    except OSError:  # nothing but a hole is left, or nothing at all, or the file system does not tell
        there = os.fstat(descriptor).st_size if _is_hole(descriptor, here) else here
    os.lseek(descriptor, stands_at, os.SEEK_SET)
    file.seek(there)
    return there - here


def _is_hole(descriptor: int, offset: int) -> bool:
    try:
        return os.lseek(descriptor, offset, os.SEEK_HOLE) == offset
    except OSError:
        return False


def _written_parts(descriptor: int, size: int) -> list[tuple[int, int]]:
    """Start and end of the parts of a file that are not holes."""
    if not _HOLES:
        return [(0, size)]
    parts, start = [], 0
    while start < size:
        try:
            data = os.lseek(descriptor, start, os.SEEK_DATA)
            end = min(size, os.lseek(descriptor, data, os.SEEK_HOLE))
        except OSError:
            if not _is_hole(descriptor, start):
                parts.append((start, size))
            break
        parts.append((data, end))
        start = end
    return parts
