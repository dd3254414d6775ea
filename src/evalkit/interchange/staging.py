"""Runs are made in a hidden folder of their suite, and moved to their places when all of them are whole.

So an import or export that fails leaves nothing; what a killed one leaves is hidden, and removed by the next.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from evalkit.errors import StoreError

_FOLDER = ".importing"
_LOCK = "lock"
_RUNS = "runs"
# Not through a link: one that leads nowhere would look like a folder that has just been removed, for ever.
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def staging(suite_path: Path) -> Iterator[Path]:
    """An empty hidden folder in a suite, for one import or export at a time; another waits here until then.

    Whatever is in the folder at the end is removed, and so are the suite's folders if they were made for it
    and nothing was moved into them.

    Raises:
        StoreError: The suite can't be written.
    """
    made = _missing_folders(suite_path)
    folder = suite_path / _FOLDER
    try:
        with _alone(folder):
            # What is here was left by an import that was killed.
            shutil.rmtree(folder / _RUNS, ignore_errors=True)
            runs = folder / _RUNS
            runs.mkdir()
            try:
                yield runs
            finally:
                shutil.rmtree(runs, ignore_errors=True)
    except OSError as error:
        raise StoreError(f"can't write {error.filename or suite_path}: {error.strerror or error}") from error
    finally:
        for each in (folder, *made):
            with suppress(OSError):
                each.rmdir()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; the kernel frees it when its holder dies."""
    descriptor = _locked(folder)
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / _LOCK).unlink()
        os.close(descriptor)


def _locked(folder: Path) -> int:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder / _LOCK, _LOCK_FLAGS, 0o644)
        except FileNotFoundError:
            continue  # its holder is done, and has just removed the folder
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.path.samestat(os.stat(folder / _LOCK), os.fstat(descriptor)):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _missing_folders(path: Path) -> list[Path]:
    """The folders of a path that are not there, the innermost first."""
    missing = []
    for each in (path, *path.parents):
        if each.exists():
            break
        missing.append(each)
    return missing
