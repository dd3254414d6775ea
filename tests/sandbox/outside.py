"""A world around the sandbox in which everything that a program reaches leaves a trace."""

from __future__ import annotations

import ctypes
import os
import pty
import select
import shutil
import socket
import tempfile
import tty
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

CHECKOUT = Path(__file__).parents[2]
_TASKS = Path("/proc/self/task")
_BECOME_REAPER = 36  # PR_SET_CHILD_SUBREAPER, linux/prctl.h


@dataclass
class Outside:
    """Files, sockets, pipes and a terminal of the user's.

    Attributes:
        folder: Where they lie, outside any temporary folder that a sandbox may have of its own.
        secret: The content of a file of mode 600.
        names: What stands for them in the programs.
    """

    folder: Path
    secret: str
    names: dict[str, str]
    sockets: list[socket.socket]
    fifo: int
    terminal: int
    before: dict[str, object]

    def filled(self, source: str) -> str:
        """A program with the names of what is here."""
        for name, value in self.names.items():
            source = source.replace(f"{{{name}}}", value)
        return source

    def traces(self) -> list[str]:
        """What was reached, in words."""
        waiting: list[Any] = [*self.sockets, self.fifo, self.terminal]
        reached = select.select(waiting, [], [], 0)[0]
        traces = [f"{one} was reached" for one in reached]
        if self.before != _listing(self.folder):
            traces.append(f"{self.folder} was changed")
        return traces


@contextmanager
def outside() -> Iterator[Outside]:
    """Make it, and remove it."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="outside-", dir="/var/tmp"))
        stack.callback(shutil.rmtree, folder)
        secret = uuid4().hex
        (folder / "secret").write_text(secret)
        (folder / "secret").chmod(0o600)
        (folder / "made-before").write_text("as it was")
        os.mkfifo(folder / "fifo")
        fifo = os.open(folder / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        stack.callback(os.close, fifo)
        with suppress(PermissionError):
            os.mknod(folder / "device", 0o20666, os.makedev(1, 3))
        terminal, users = pty.openpty()
        tty.setraw(users)
        stack.callback(os.close, terminal)
        stack.callback(os.close, users)
        abstract = f"evalkit-{uuid4().hex}"
        sockets = [_listening(socket.AF_UNIX, name) for name in (str(folder / "listener"), f"\0{abstract}")]
        sockets.append(_listening(socket.AF_INET, ("127.0.0.1", 0)))
        for one in sockets:
            stack.callback(one.close)
        names = {
            "outside": str(folder),
            "terminal": os.ttyname(users),
            "home": str(Path.home()),
            "port": str(sockets[-1].getsockname()[1]),
            "abstract": abstract,
            "checkout": str(CHECKOUT),
        }
        yield Outside(folder, secret, names, sockets, fifo, terminal, _listing(folder))


@contextmanager
def no_child_left() -> Iterator[None]:
    """Fail if a process that was started within is left; also one whose parent has ended."""
    ctypes.CDLL(None).prctl(_BECOME_REAPER, 1, 0, 0, 0)
    try:
        before = _children()
        yield
        assert not _children() - before
    finally:
        ctypes.CDLL(None).prctl(_BECOME_REAPER, 0, 0, 0, 0)


def _children() -> set[str]:
    found: set[str] = set()
    for task in _TASKS.iterdir():
        with suppress(FileNotFoundError):  # a thread that has ended meanwhile
            found.update((task / "children").read_text(encoding="ascii").split())
    return found


def _listening(family: int, address: object) -> socket.socket:
    made = socket.socket(family)
    made.bind(address)  # type: ignore[arg-type]
    made.listen()
    return made


def _listing(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        content = path.read_text() if path.is_file() else ""
        found[path.name] = (facts.st_mode, facts.st_uid, facts.st_nlink, facts.st_mtime_ns, content)
    return found
