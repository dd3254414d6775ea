"""What is in a file or a folder, as a checksum that an edit never escapes."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from evalkit.bounded_reads import open_regular
from evalkit.errors import DataError

# A file system's clock may stand still between two edits. As Git does with its index, what was touched so
# shortly before it was read is read again the next time.
_SETTLED_AFTER_NS = 2_000_000_000

# By path, what a file looked like and its checksum then.
_Status = tuple[int, int, int, int, int]
_known: dict[str, tuple[_Status, str]] = {}


def content_sha256(path: Path) -> str:
    """The sha256 in hex of a file's content; of a folder, that of its files' names and contents.

    A file is read once per process while it stays the same: device, inode, size, and the times of its last
    modification and change.

    Raises:
        DataError: It can't be read.
    """
    try:
        return _folder_sha256(path) if path.is_dir() else _file_sha256(str(path))
    except OSError as error:
        raise DataError(f"can't read {error.filename or path}: {error.strerror}") from None


def _file_sha256(path: str) -> str:
    known = _known.get(path)
    if known is not None and known[0] == _status(os.stat(path)):
        return known[1]
    with open_regular(Path(path)) as stream:
        before = _status(os.fstat(stream.fileno()))
        now_ns = time.time_ns()
        found = hashlib.file_digest(stream, "sha256").hexdigest()
        if before == _status(os.fstat(stream.fileno())) and now_ns - max(before[3:]) > _SETTLED_AFTER_NS:
            _known[path] = before, found
        return found


def _folder_sha256(folder: Path) -> str:
    total = hashlib.sha256()
    for name in sorted(_names(folder)):
        content = _file_sha256(os.path.join(folder, name))
        total.update(f"{name}\0{content}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def links_in(folder: Path) -> Iterator[Path]:
    """The links below a folder, to files and folders; of what is not a folder none."""
    for place, folders, files in os.walk(folder):
        yield from (path for name in (*folders, *files) if (path := Path(place, name)).is_symlink())


def _names(folder: Path) -> Iterator[str]:
    """The files below a folder by their paths in it, with `/`; links are followed, each folder read once."""
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        for name in files:
            path = os.path.join(place, name)
            if os.path.isfile(path):
                yield os.path.relpath(path, folder).replace(os.sep, "/")


def _status(status: os.stat_result) -> _Status:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
