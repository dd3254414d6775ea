"""Which files a plugin's own code opens: what it reads without declaring it is in no digest.

Python reports every file that Python code opens to audit hooks (PEP 578). What a library reads by native code
(Arrow, Polars, a tokenizer in Rust) is not seen, nor what another thread reads.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import FrameType
from typing import Any

# The parts of evalkit through which a plugin's code may read its own files.
_PASSED_THROUGH = ("evalkit.data.rows", "evalkit.bounded_reads", "evalkit.scenarios", "evalkit.perturbations")
# What these read is not benchmark data: modules, vocabularies, models, the source lines of a traceback.
_OWN_BUSINESS = frozenset(
    {
        "_frozen_importlib",
        "_frozen_importlib_external",
        "huggingface_hub",
        "importlib",
        "inspect",
        "linecache",
        "locale",
        "mimetypes",
        "nltk",
        "sentencepiece",
        "spacy",
        "ssl",
        "tiktoken",
        "tokenizers",
        "torch",
        "traceback",
        "transformers",
        "warnings",
        "zipimport",
        "zoneinfo",
    }
)
_CODE_SUFFIXES = (".py", ".pyc", ".pyi", ".so", ".pyd", ".pth")
_SYSTEM_FOLDERS = ("/dev", "/proc", "/sys", "/etc", "/usr", "/run/systemd")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(slots=True)
class Reads:
    """What was read, in order, each file once.

    Attributes:
        package: First part of the name of the plugin's module; its code counts as the plugin's wherever it is
            installed.
        written: What was opened for writing: reading that again is not noted.
    """

    package: str
    files: dict[str, None] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)

    def opened(self, name: Any, flags: int) -> None:
        """Take note of a file that is being opened, if it looks like data and the plugin asked for it."""
        if not isinstance(name, str | bytes | os.PathLike):
            return  # a descriptor that is open already
        path = os.path.realpath(os.fsdecode(name))
        if flags & _WRITES:
            self.written.add(path)
            return
        known = path in self.files or path in self.written
        # The frames of this method and of the hook are passed by.
        if not known and _is_data(path) and _asked_by_plugin(sys._getframe(2), self.package):
            self.files[path] = None


_watched = threading.local()


@contextmanager
def watched_reads(module: str) -> Iterator[Reads]:
    """Note the data files that a plugin opens inside the block, in this thread.

    Args:
        module: The name of the plugin's module. evalkit's own are not watched.
    """
    reads = Reads(module.partition(".")[0])
    if reads.package == "evalkit":
        yield reads
        return
    _install_hook()
    before = getattr(_watched, "reads", None)
    _watched.reads = reads
    try:
        yield reads
    finally:
        _watched.reads = before


@cache
def _install_hook() -> None:
    """Audit hooks can't be taken off again, so there is one, and only where a plugin is watched."""
    sys.addaudithook(_hook)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event not in ("open", "sqlite3.connect"):
        return
    reads: Reads | None = getattr(_watched, "reads", None)
    if reads is None:
        return
    try:
        reads.opened(args[0], args[2] if event == "open" else 0)
    except (OSError, ValueError, IndexError, TypeError):
        return  # whatever is odd about a name is for the one who opens it to say


def _is_data(path: str) -> bool:
    """Whether a file may hold a benchmark's data: not code, a device, a system file or a hidden one."""
    if path.endswith(_CODE_SUFFIXES) or os.path.basename(path).startswith("."):
        return False
    return os.path.isfile(path) and not any(_is_below(path, folder) for folder in _other_folders())


@cache
def _other_folders() -> tuple[str, ...]:
    """Folders whose files are not benchmark data: Python, its packages, caches of libraries, the system."""
    caches = [os.environ.get("XDG_CACHE_HOME", ""), os.environ.get("HF_HOME", "")]
    folders = {*sysconfig.get_paths().values(), *filter(None, caches), *_SYSTEM_FOLDERS}
    folders.add(os.path.join(sys.prefix, "share"))
    folders.add(os.path.expanduser("~/.cache/huggingface"))
    folders = {os.path.realpath(folder) for folder in folders}
    # On some systems data lies in a folder of the system's own, such as /usr/home or /run/user.
    kept = {os.path.realpath(path) for path in (os.path.expanduser("~"), tempfile.gettempdir())}
    return tuple(folder for folder in folders if not any(_is_below(path, folder) for path in kept))


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def _asked_by_plugin(frame: FrameType | None, package: str) -> bool:
    """Whether the plugin's code asked for a file, directly or by a library that reads what it is given."""
    while frame is not None:
        module = frame.f_globals.get("__name__") or ""
        top = module.partition(".")[0]
        if top == package:
            return True
        if top == "evalkit":
            if not module.startswith(_PASSED_THROUGH):
                return False
        elif top in _OWN_BUSINESS:
            return False
        elif not _is_library(frame.f_code.co_filename):
            return True
        frame = frame.f_back
    return False


@cache
def _is_library(filename: str) -> bool:
    """Whether code comes with Python or is installed; what has no file (`<frozen …>`) does."""
    if filename.startswith("<"):
        return True
    paths = sysconfig.get_paths()
    real = os.path.realpath(filename)
    return any(
        _is_below(real, os.path.realpath(paths[kind]))
        for kind in ("stdlib", "platstdlib", "purelib", "platlib")
    )
