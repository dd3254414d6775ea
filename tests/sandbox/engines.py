"""Docker and Podman where they work, with an image made of this machine's own interpreter."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from uuid import uuid4

import pytest

from evalkit.errors import UsageError
from evalkit.sandbox.interpreter import this_interpreter

_FOLDERS = {"tmp": 0o1777, **dict.fromkeys(("proc", "sys", "dev", "etc"), 0o755)}
# With it, Python sets a variable of the environment.
_LOCALES = (Path("/usr/lib/locale/C.utf8"),)
_PYTHON = Path("/usr/local/bin/python3")
_LEFT_OUT = {"site-packages", "dist-packages", "__pycache__", "test", "idlelib", "ensurepip", "tkinter"}
_PATH = "PATH=/usr/local/bin:/usr/bin:/bin"


def engine(kind: str, *arguments: str, content: bytes | None = None) -> str:
    """What a command of an engine writes; fails the test if the command fails."""
    ended = subprocess.run([kind, *arguments], input=content, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout.decode().strip()


@contextmanager
def image(kind: str) -> Iterator[str]:
    """An image with an interpreter and nothing else; the test is left out where the engine does not work."""
    if shutil.which(kind) is None:
        pytest.skip(f"{kind} is not installed")
    tried = subprocess.run([kind, "ps"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"{kind} does not work here: {tried.stderr.strip()}")
    name = f"evalkit-test-{uuid4().hex}:latest"
    try:
        content = _root_file_system()
    except UsageError as missing:
        pytest.skip(str(missing))
    engine(kind, "import", "--change", f"ENV {_PATH}", "-", name, content=content)
    try:
        yield name
    finally:
        engine(kind, "rmi", "--force", name)


def _root_file_system() -> bytes:
    interpreter = this_interpreter()
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        link = tarfile.TarInfo(str(_PYTHON)[1:])
        link.type, link.linkname = tarfile.SYMTYPE, str(interpreter.program)
        paths = (
            *interpreter.libraries,
            *interpreter.files,
            interpreter.program,
            *filter(Path.exists, _LOCALES),
        )
        above = {
            str(folder)[1:]: 0o755
            for path in (*paths, _PYTHON)
            for folder in path.parents
            if len(folder.parts) > 1
        }
        for folder, mode in sorted({**above, **_FOLDERS}.items()):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        archive.addfile(link)
        for path in paths:
            archive.add(path.resolve() if path.is_file() else path, str(path), filter=_needed)
    return written.getvalue()


def _needed(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    is_left_out = _LEFT_OUT & set(PurePosixPath(entry.name).parts) or entry.name.endswith(".a")
    return None if is_left_out else entry


def containers(kind: str) -> list[str]:
    """The names of evalkit's containers that are there, running or not."""
    return engine(kind, "ps", "--all", "--filter", "label=evalkit", "--format", "{{.Names}}").split()


def first_process(kind: str, container: str) -> int:
    """The number of a container's first process on this machine; 0 where it runs on another."""
    number = int(engine(kind, "inspect", "--format", "{{.State.Pid}}", container))
    return number if Path(f"/proc/{number}").exists() else 0


def wrapped(kind: str, folder: Path, edit: str) -> None:
    """A command of the same name in a folder, which edits its arguments with a line of Python.

    Args:
        kind: "docker" or "podman".
        folder: Where it lies.
        edit: Changes the list `arguments` in place, for `run` alone.
    """
    real = shutil.which(kind)
    script = folder / kind
    script.write_text(
        f"#!{shutil.which('python3')} -IS\nimport os, sys\narguments = sys.argv[1:]\n"
        f"if arguments[0] == 'run':\n    {edit}\nos.execv({real!r}, [{kind!r}, *arguments])\n"
    )
    script.chmod(0o755)
