"""One writer per run directory, by a lock that the kernel frees when its holder dies."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from pathlib import Path

from evalkit.codec import decode, encode
from evalkit.errors import ReadOnlyError, StoreError

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class RunLock:
    """A context manager that holds the lock file `path`; the file stays, the lock does not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def __enter__(self) -> RunLock:
        """Take the lock at once or not at all.

        Raises:
            StoreError: Someone else holds it (the message says who), or the file system has no locks.
            ReadOnlyError: The folder can't be written to.
        """
        if self._descriptor is not None:
            raise StoreError(f"{self.path} is already locked by this process")
        self._descriptor = self._take()
        return self

    def __exit__(self, *_: object) -> None:
        if (descriptor := self._descriptor) is None:
            return
        self._descriptor = None
        # The file is emptied, not removed: removing it would let two later starters lock two different files.
        os.ftruncate(descriptor, 0)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)

    def check(self) -> None:
        """See that the file of this name is the locked one; one that was removed is made and locked anew.

        Raises:
            StoreError: Another process has made and locked one, or the folder is gone.
        """
        held = self._descriptor
        if held is None or _is_at(self.path, held):
            return
        try:
            self._descriptor = self._take()
        except StoreError as error:
            raise StoreError(
                f"the lock file {self.path} was removed or replaced while the run was going, and can't be "
                f"locked again: {error}"
            ) from error
        os.close(held)

    def _take(self) -> int:
        """The open file of this name, locked."""
        while True:
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o644)
            except OSError as error:
                kind = ReadOnlyError if error.errno in _READ_ONLY else StoreError
                raise kind(f"can't open the lock file {self.path}: {error.strerror}") from error
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    os.close(descriptor)
                    raise StoreError(f"can't lock {self.path}: it is not a regular file")
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Another may have removed the file since it was opened, and a third locked the next one.
                if _is_at(self.path, descriptor):
                    self._write_holder(descriptor)
                    return descriptor
            except OSError as error:
                holder = _holder(descriptor)
                os.close(descriptor)
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    raise StoreError(f"{self.path.parent} is in use by {holder}") from None
                raise StoreError(f"can't lock {self.path}: {error.strerror}") from error
            os.close(descriptor)

    @staticmethod
    def _write_holder(descriptor: int) -> None:
        since = time.strftime("%Y-%m-%d %H:%M:%S %z")
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, encode(holder, newline=True), 0)


def holder_of(path: Path) -> str | None:
    """Who holds the lock file `path` at the moment, in words; None: no process. Changes nothing.

    Raises:
        StoreError: The file is there and can't be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"can't open the lock file {path}: {error.strerror}") from error
    try:
        # A holder writes its name and empties the file at its end: only after a kill is there a need to try.
        if os.fstat(descriptor).st_size == 0:
            return None
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError as error:
        return _holder(descriptor) if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    finally:
        os.close(descriptor)
    return None


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether a path leads to an open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False


def _holder(descriptor: int) -> str:
    """Who wrote the lock file, in words."""
    try:
        holder = decode(os.pread(descriptor, 4096, 0))
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
