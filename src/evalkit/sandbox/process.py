"""A sandbox as a process of this machine: from its start to the end of everything in it."""

from __future__ import annotations

import importlib.util
import json
import marshal
import math
import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any, Self

from evalkit.sandbox import bubblewrap, supervisor, system_calls, values
from evalkit.sandbox.group import ControlGroup
from evalkit.sandbox.interpreter import this_interpreter
from evalkit.sandbox.program import Limits

_START_TIMEOUT_S = 60.0
_OPEN_FILES = 64
_MAX_REPORT_BYTES = 4096
# What the group may have besides the program's memory and folder: the interpreter with the tests, the kernel.
_BESIDE_BYTES = 64 << 20
_FIRST_USER_ID = (
    2_000_000_000  # plus a process number: a user without other processes, so that only the sandbox counts
)
_NOBODY = 65534


class NoSandboxError(Exception):
    """The sandbox could not be made; the text says why."""


class SandboxProcess:
    """A sandbox with an interpreter that waits for one program. Leaving the context ends all its processes.

    Raises:
        NoSandboxError: It can't be made (on entering).
        UsageError: The interpreter's files or the machine's system calls are not known (on entering).
    """

    def __init__(self, bwrap: str, limits: Limits) -> None:
        self._bwrap, self._limits = bwrap, limits

    def __enter__(self) -> Self:
        limits = self._limits
        self._group = ControlGroup(
            limits.memory_bytes + limits.disk_bytes + _BESIDE_BYTES, limits.threads + 8
        )
        self._first: int | None = None
        try:
            self._start()
            self._isolate()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if process := getattr(self, "_process", None):
            self._kill()
            if self._first is not None:
                os.close(self._first)
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                with suppress(BrokenPipeError):
                    pipe.close()
        self._group.remove()

    def deliver(self, *frames: bytes) -> None:
        """Send frames to the first process; one that has ended takes none, which its report will show."""
        with suppress(BrokenPipeError):
            for frame in frames:
                self._stdin.write(len(frame).to_bytes(8, "little") + frame)
            self._stdin.flush()

    def report(self, timeout_s: float) -> str | None:
        """The next line of the first process; "" if it ended without one, None if time is up."""
        deadline = time.monotonic() + timeout_s
        line = b""
        while not line.endswith(b"\n") and len(line) < _MAX_REPORT_BYTES:
            if not select.select([self._stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return None
            part = os.read(self._stdout, _MAX_REPORT_BYTES)
            if not part:
                break
            line += part
        return line.decode("utf-8", "replace").strip()

    def _start(self) -> None:
        interpreter = this_interpreter()
        filter_read, filter_write = os.pipe()
        info, info_write = os.pipe()
        try:
            with os.fdopen(filter_write, "wb") as pipe:
                pipe.write(system_calls.sandbox_filter())
            self._process = subprocess.Popen(
                bubblewrap.command(
                    self._bwrap, interpreter, self._limits.disk_bytes, (filter_read, info_write)
                ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={},
                cwd="/",
                pass_fds=(filter_read, info_write),
                start_new_session=True,
            )
        except OSError as error:
            os.close(info)
            raise NoSandboxError(str(error)) from error
        finally:
            os.close(filter_read)
            os.close(info_write)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout.fileno()
        with os.fdopen(info, "rb") as answer:
            self._first_id = _process_id(answer.read())

    def _isolate(self) -> None:
        """Limit the group, make the first process close itself off, and wait for its word."""
        if self._first_id is None:
            raise NoSandboxError(self._problem())
        try:
            self._first = os.pidfd_open(self._first_id)
            self._group.add(self._first_id)
        except OSError as error:
            raise NoSandboxError(self._problem() or str(error)) from error
        self.deliver(marshal.dumps((*_code(), self._settings(self._first_id))))
        if self.report(_START_TIMEOUT_S) != "ready":
            raise NoSandboxError(self._problem())

    def _settings(self, process_id: int) -> dict[str, Any]:
        limits = self._limits
        return {
            "user_id": _user_id(process_id),
            "processor_s": math.ceil(limits.time_s) + 1,
            "memory_bytes": limits.memory_bytes,
            "disk_bytes": limits.disk_bytes,
            "files": limits.files,
            "threads": limits.threads,
            "open_files": _OPEN_FILES,
            "filter": system_calls.program_filter(),
        }

    def _kill(self) -> None:
        """With the first process all others of the sandbox end, and bubblewrap then ends by itself."""
        if self._first is None:
            self._process.kill()
        else:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)

    def _problem(self) -> str:
        """What bubblewrap or the interpreter wrote on standard error, after both have ended."""
        self._kill()
        assert self._process.stderr is not None
        text = self._process.stderr.read(_MAX_REPORT_BYTES).decode("utf-8", "replace").strip()
        return text.rpartition("\n")[2] or "it did not start"


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
    """The code of the sandbox's own modules."""
    codes = []
    for module in (values, supervisor):
        spec = importlib.util.find_spec(module.__name__)
        assert spec is not None
        assert spec.loader is not None
        codes.append(spec.loader.get_code(module.__name__))  # type: ignore[attr-defined]
    return tuple(codes)
