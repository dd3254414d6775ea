"""Runs a command as an ordinary user, where that user can read evalkit and its interpreter.

Started by root: `python ordinary.py [--no-namespaces] COMMAND …`. In a mount namespace, folders that are
closed to others (root's home) are covered by empty ones, in which only what the command needs is.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

NOBODY = 65534
_NEW_MOUNTS, _NEW_USERS = 0x00020000, 0x10000000
_SET_DUMPABLE = 4  # linux/prctl.h
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 1 << 18
CHECKOUT = Path(__file__).resolve().parents[2]

libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    _check(
        libc.mount(
            source.encode(),
            target.encode(),
            kind.encode() if kind else None,
            ctypes.c_ulong(flags),
            b"mode=755",
        )
    )


def _closed(path: Path) -> Path | None:
    """The highest folder on the way that others may not enter."""
    on_the_way = [folder for folder in reversed(path.parents) if not folder.stat().st_mode & 0o001]
    return on_the_way[0] if on_the_way else None


def open_to_others(paths: list[Path]) -> None:
    """Make the paths readable for others, in a mount namespace of this process."""
    _check(libc.unshare(_NEW_MOUNTS))
    _check(libc.mount(b"none", b"/", None, ctypes.c_ulong(_RECURSIVE | _PRIVATE), None))
    kept = {path: os.open(path, os.O_PATH) for path in paths if _closed(path)}
    for closed in {_closed(path) for path in kept}:
        _mount("tmpfs", str(closed), "tmpfs", 0)
    for path, descriptor in kept.items():
        path.mkdir(parents=True, exist_ok=True)
        _mount(f"/proc/self/fd/{descriptor}", str(path), None, _BIND | _RECURSIVE)
        os.close(descriptor)


def become_ordinary() -> None:
    """Another user for good."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def forbid_namespaces() -> None:
    """Enter a user namespace in which no network namespace can be made."""
    _check(libc.prctl(_SET_DUMPABLE, 1, 0, 0, 0))  # a change of user gives the files below to root
    _check(libc.unshare(_NEW_USERS))
    Path("/proc/self/setgroups").write_text("deny")
    for kind in ("uid_map", "gid_map"):
        Path("/proc/self", kind).write_text(f"{NOBODY} {NOBODY} 1")
    Path("/proc/sys/user/max_net_namespaces").write_text("0")


def main() -> None:
    """Do what the module says."""
    arguments = sys.argv[1:]
    prefixes = (Path(prefix).resolve() for prefix in (sys.base_prefix, sys.prefix))
    open_to_others([*dict.fromkeys((*prefixes, CHECKOUT))])
    become_ordinary()
    if arguments[0] == "--no-namespaces":
        forbid_namespaces()
        arguments = arguments[1:]
    os.chdir("/")
    os.execv(arguments[0], arguments)


if __name__ == "__main__":
    main()
