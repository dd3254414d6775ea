"""Runs one untrusted program and says whether it came to its end; started as a script of its own process.

Reads `{"program", "token", "seconds", "memory_bytes"}` as JSON from standard input, shuts itself off
(network, file system, other processes, privileges, resources), runs the program and writes one line to
standard output: the token if it came to its end, `failed: …`, or `unavailable: …` if it could not shut
itself off.

Uses the standard library alone and imports nothing of evalkit: it runs under `python -I -S`.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import struct
import sys

# From the kernel's headers: sched.h, mount.h, capability.h, prctl.h, and the number of mount_setattr.
_NEW_NAMESPACES = {
    "user": 0x10000000,
    "network": 0x40000000,
    "mount": 0x00020000,
    "process": 0x20000000,
    "IPC": 0x08000000,
    "host name": 0x04000000,
}
_MS_REC_PRIVATE = 0x4000 | 0x40000
_MS_NOSUID_NODEV = 2 | 4
_SYS_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _ATTR_RDONLY = 442, -100, 0x8000, 1
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38

# Covered by empty folders: sockets of other services, other processes, temporary files.
_COVERED = ("/run", "/var/run", "/tmp", "/var/tmp", "/dev/shm", "/proc", "/sys")
_MAX_FILE_BYTES, _MAX_OPEN_FILES, _MAX_PROCESSES, _MAX_MESSAGE = 1 << 20, 32, 8, 200


class _UnavailableError(Exception):
    """A means of isolation is missing; the text says which."""


def _call(what: str, result: int) -> None:
    if result != 0:
        raise _UnavailableError(f"{what}: {os.strerror(ctypes.get_errno())}")


def _enter_namespaces(libc: ctypes.CDLL) -> None:
    flags = 0
    for flag in _NEW_NAMESPACES.values():
        flags |= flag
    _call(f"new namespaces ({', '.join(_NEW_NAMESPACES)})", libc.unshare(flags))


def _close_file_system(libc: ctypes.CDLL) -> None:
    """Make everything read-only, and cover what other processes keep; the working folder is new and empty."""
    flags = ctypes.c_ulong(_MS_REC_PRIVATE)
    _call("private mounts", libc.mount(b"none", b"/", None, flags, None))
    attributes = struct.pack("=QQQQ", _ATTR_RDONLY, 0, 0, 0)
    size = ctypes.c_size_t(len(attributes))
    done = libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, attributes, size)
    _call("a read-only file system", done)
    for path in dict.fromkeys(os.path.realpath(path) for path in _COVERED):
        if os.path.isdir(path):
            flags = ctypes.c_ulong(_MS_NOSUID_NODEV)
            _call(
                f"covering {path}", libc.mount(b"none", path.encode(), b"tmpfs", flags, b"size=1m,mode=777")
            )
    if not os.path.isfile(os.__file__):
        raise _UnavailableError(f"Python must not be installed under any of {', '.join(_COVERED)}")
    os.chdir("/tmp")


def _drop_privileges(libc: ctypes.CDLL) -> None:
    _call("no new privileges", libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _call("dropping capabilities", libc.capset(header, bytes(24)))


def _limit_resources(seconds: int, memory_bytes: int) -> None:
    for kind, limit in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, _MAX_FILE_BYTES),
        (resource.RLIMIT_NOFILE, _MAX_OPEN_FILES),
        (resource.RLIMIT_NPROC, _MAX_PROCESSES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))


def _wait_in_parent(child: int) -> None:
    """Go on in the child; the parent waits for it and ends."""
    if child:
        os.waitpid(child, 0)
        os._exit(0)


def _run(program: str) -> str:
    """Nothing if the program comes to its end, else what stopped it."""
    try:
        exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
    except BaseException as error:  # noqa: BLE001 - whatever it raises is a failure of the program
        return f"{type(error).__name__}: {error}"[:_MAX_MESSAGE].replace("\n", " ")
    return ""


def _guard(libc: ctypes.CDLL) -> None:
    """Be the first process of the new namespace: all others end with it, and it ends with its parent."""
    _call("dying with the parent", libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    _call("being closed to others", libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))


def main() -> None:
    """Do what the module says: one process waits outside, one guards, the third runs the program."""
    task = json.loads(sys.stdin.buffer.read())
    report = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        _enter_namespaces(libc)
        _wait_in_parent(os.fork())
        _guard(libc)
        _close_file_system(libc)
        _wait_in_parent(os.fork())
        _limit_resources(task["seconds"], task["memory_bytes"])
        _drop_privileges(libc)
    except (OSError, ValueError, AttributeError, _UnavailableError) as error:
        os.write(report, f"unavailable: {error}\n".encode())
        os._exit(1)
    runner = os.getpid()
    problem = _run(task["program"])
    if os.getpid() != runner:  # a copy that the program made of itself has nothing to report
        os._exit(0)
    os.write(report, (f"failed: {problem}\n" if problem else f"{task['token']}\n").encode("utf-8", "replace"))
    os._exit(0)


if __name__ == "__main__":
    main()
