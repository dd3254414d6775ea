"""Reading files that others wrote: regular ones only, and no more of them than is meant to fit into memory.

A FIFO without a writer is waited for without end, and a device never ends. Each kind of file has a limit of
size; the variable `EVALKIT_MAX_FILE_MB` replaces them all.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, Protocol

from evalkit.errors import UsageError

VARIABLE = "EVALKIT_MAX_FILE_MB"
CONFIG_BYTES = 64 << 20
"""Conf, YAML and template files."""
JSON_BYTES = 256 << 20
"""JSON that is read whole: of model folders, and of other harnesses."""
DATA_BYTES = 1 << 30
"""Benchmark data that is read whole, and one line of what is read line by line."""
_UNPACKED_BYTES = 64 << 30
_BLOCK_BYTES = 1 << 20


class _HasLines(Protocol):
    def readline(self, size: int, /) -> bytes: ...


class UnfitFileError(OSError):
    """A file that is too large, or not a regular file; `strerror` says so of "it"."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(number, what)

    def __str__(self) -> str:
        return str(self.strerror)


def limit_bytes(default: int) -> int:
    """The limit for a kind of file: its default, unless the user has set another for all.

    Raises:
        UsageError: What the user has set is not a number.
    """
    given = os.environ.get(VARIABLE)
    return default if not given else mb_to_bytes(given, VARIABLE)


def unpacked_limit_bytes() -> int:
    """The limit for what is unpacked from an archive to the disk; what is set for files only ever raises it.

    Raises:
        UsageError: What the user has set is not a number.
    """
    return max(_UNPACKED_BYTES, limit_bytes(_UNPACKED_BYTES))


def mb_to_bytes(given: str | float, what: str) -> int:
    """A limit in bytes.

    Args:
        given: The limit in MB (of 2^20 bytes).
        what: Where it was given, for the message.

    Raises:
        UsageError: It is not a positive number.
    """
    try:
        limit = int(float(given) * (1 << 20))
    except (ValueError, OverflowError):
        limit = 0
    if limit < 1:
        raise UsageError(f"{what}: {given!r} is not a number of MB above 0")
    return limit


def too_large(size: int | None, limit: int, remedy: str = "") -> UnfitFileError:
    """The error for what is larger than its limit.

    Args:
        size: Its size, where that is known.
        limit: The limit.
        remedy: How to raise it; by default, the variable.
    """
    shown = f"it has {size / (1 << 20):,.1f} MB, and" if size is not None else "it has more than"
    allowed = f"{limit / (1 << 20):,.6g} MB"
    middle = f" at most {allowed} are read" if size is not None else f" the {allowed} that are read"
    return UnfitFileError(errno.EFBIG, f"{shown}{middle}; {remedy or f'set {VARIABLE} to read more'}")


def open_regular(path: Path, *, may_be_pipe: bool = False, buffer_bytes: int = -1) -> BufferedReader:
    """A file, open to be read; never waits.

    Args:
        path: The file.
        may_be_pipe: Take a pipe of the shell as well (`/dev/stdin`, `<(...)`).
        buffer_bytes: How much is read at once; -1 leaves that to Python.

    Raises:
        UnfitFileError: It is a folder, a FIFO, a device or the like.
        OSError: It can't be opened.
    """
    is_pipe = may_be_pipe and is_pipe_of_shell(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if is_pipe else os.O_NONBLOCK))
    except ValueError:
        raise UnfitFileError(errno.EINVAL, "its name is not valid for a file") from None
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise UnfitFileError(errno.EINVAL, "it is not a regular file but a socket or device") from None
        if error.errno == errno.ELOOP:
            raise UnfitFileError(errno.EINVAL, "it is a link, and the links go in a circle") from None
        if error.errno == errno.ENOENT and path.is_symlink():
            raise UnfitFileError(errno.EINVAL, "it is a link to a file that is not there") from None
        raise
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) and not (is_pipe and (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode))):
            kind = "a folder" if stat.S_ISDIR(mode) else "a FIFO or device, whose length is not known"
            raise UnfitFileError(errno.EINVAL, f"it is not a regular file but {kind}")
        return open(descriptor, "rb", buffering=buffer_bytes)  # type: ignore[return-value]
    except BaseException:
        os.close(descriptor)
        raise


def is_pipe_of_shell(path: Path) -> bool:
    """Whether a path names what this process has open already: a pipe of the shell, perhaps."""
    return str(path) == "/dev/stdin" or str(path).startswith(("/dev/fd/", "/proc/self/fd/"))


def read_bytes(path: Path, limit: int, *, remedy: str = "", may_be_pipe: bool = False) -> bytes:
    """All of a file.

    Args:
        path: The file.
        limit: The most bytes that it may have.
        remedy: How to raise the limit; by default, the variable.
        may_be_pipe: Take a pipe of the shell as well.

    Raises:
        UnfitFileError: It is larger, or not a regular file.
        OSError: It can't be read.
    """
    with open_regular(path, may_be_pipe=may_be_pipe) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise too_large(size, limit, remedy)
        content = file.read(limit + 1)
    if len(content) > limit:
        raise too_large(None, limit, remedy)
    return content


def limited_lines(stream: _HasLines, limit: int, remedy: str = "") -> Iterator[bytes]:
    """The lines of a stream.

    Raises:
        UnfitFileError: One of them is longer than `limit` bytes.
    """
    while line := stream.readline(limit + 1):
        if len(line) > limit:
            raise too_large(None, limit, remedy)
        yield line


def copy_limited(source: IO[bytes], target: IO[bytes], limit: int) -> None:
    """Copy a stream in bounded memory.

    Raises:
        UnfitFileError: It is longer than `limit` bytes.
    """
    left = limit
    while block := source.read(_BLOCK_BYTES):
        left -= len(block)
        if left < 0:
            raise too_large(None, limit)
        target.write(block)
