"""Limits for all processes of a sandbox together: a control group of Linux, version 1 or 2, if possible."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

_MEMBERSHIP = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")
_REMOVAL_TIMEOUT_S = 2.0
_LEFT_AFTER_S = 3600.0


class ControlGroup:
    """A control group with limits of memory (no swap) and processes; empty if the machine offers none.

    Without one, limits per process hold, and the program is a single process, so they limit all of it.
    """

    def __init__(self, memory_bytes: int, processes: int) -> None:
        self._folders: list[Path] = []
        limits = {
            "memory.max": memory_bytes,
            "memory.swap.max": 0,
            "memory.limit_in_bytes": memory_bytes,
            "memory.memsw.limit_in_bytes": memory_bytes,
            "pids.max": processes,
        }
        for parent in _parents():
            folder = parent / f"evalkit-{uuid4().hex}"
            with suppress(OSError):
                folder.mkdir()
                self._folders.append(folder)
                _set(folder, limits)

    def add(self, process_id: int) -> None:
        """Put a process, and all that it will start, into the group.

        Raises:
            OSError: The kernel refuses.
        """
        for folder in self._folders:
            (folder / "cgroup.procs").write_text(str(process_id))

    def remove(self) -> None:
        """Remove the group, whose processes have ended."""
        deadline = time.monotonic() + _REMOVAL_TIMEOUT_S
        for folder in self._folders:
            while folder.exists():
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        break
                    time.sleep(0.001)


def _set(folder: Path, limits: Mapping[str, int]) -> None:
    for name, limit in limits.items():
        file = folder / name
        if file.exists():
            with suppress(OSError):
                file.write_text(str(limit))


@lru_cache(maxsize=1)
def _parents() -> tuple[Path, ...]:
    """Groups below which this process can make groups with limits, one per hierarchy."""
    with suppress(OSError):
        return tuple(_usable(_MEMBERSHIP.read_text().splitlines()))
    return ()


def _usable(memberships: list[str]) -> Iterator[Path]:
    for membership in memberships:
        _, _, place = membership.partition(":")
        controllers, separator, path = place.partition(":")
        if not separator:
            continue
        if controllers in ("memory", "pids"):
            candidates = [_ROOT / controllers / path.lstrip("/")]
        elif not controllers:  # version 2: a group that has processes can't limit those below, its parent can
            own = _ROOT / path.lstrip("/")
            candidates = [own, own.parent]
        else:
            continue
        for candidate in candidates:
            if _has_limits(candidate):
                _remove_old(candidate)
                yield candidate
                break


def _remove_old(parent: Path) -> None:
    """Remove the empty groups that an evalkit has left which was killed."""
    for folder in parent.glob("evalkit-*"):
        with suppress(OSError):  # it holds processes, or another evalkit was faster
            if time.time() - folder.stat().st_mtime >= _LEFT_AFTER_S:
                folder.rmdir()


def _has_limits(parent: Path) -> bool:
    """Whether a group below has limits and takes processes; tried with one."""
    if not parent.is_relative_to(_ROOT) or not os.access(parent, os.W_OK):
        return False
    trial = parent / f"evalkit-{uuid4().hex}"
    try:
        trial.mkdir()
    except OSError:
        return False
    try:
        names = ("memory.max", "memory.limit_in_bytes", "pids.max")
        has_limits = any((trial / name).exists() for name in names)
        return has_limits and os.access(parent / "cgroup.procs", os.W_OK)
    finally:
        with suppress(OSError):
            trial.rmdir()
