"""A sandbox as a process of this machine: from its start to the end of everything in it."""

from __future__ import annotations

import math
import os
import re
import select
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Self

from evalkit.sandbox import system_calls
from evalkit.sandbox.program import Limits

WORKING_FOLDER = "/tmp"
PYTHON_OPTIONS = ("-I", "-S", "-B", "-X", "utf8")
# What all processes may have besides the program's own: the interpreter with the tests, and the kernel.
BESIDE_BYTES = 64 << 20
BESIDE_PROCESSES = 8
OPEN_FILES = 64
MARSHAL_VERSION = 4  # the newest that every Python reads which a sandbox may have
# Reads the sandbox's own modules, as code or as source, and their settings from standard input.
BOOTSTRAP = (
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
_START_TIMEOUT_S = 60.0
# A sandbox that nobody ends ends itself this long after its program's time.
_ENDS_LATE_S = 60
_MAX_REPORT_BYTES = 4096
_READY = re.compile(r"ready (\d+\.\d+\.\d+)")
# What `docker` writes below its error.
_HINT = re.compile(r"(Run|See) '.*--help'")


class NoSandboxError(Exception):
    """The sandbox could not be made; the text says why."""


class SandboxProcess(ABC):
    """A sandbox with an interpreter that waits for one program. Leaving the context ends all its processes.

    Attributes:
        python: The version of its interpreter.
        is_lost: Whether what runs the sandbox failed, and not the program in it; known when it has ended.

    Raises:
        NoSandboxError: It can't be made (on entering).
        UsageError: The interpreter's files or the machine's system calls are not known (on entering).
    """

    python = ""
    is_lost = False

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
            ready = _READY.fullmatch(self.report(_START_TIMEOUT_S) or "")
            if ready is None:
                raise NoSandboxError(self._problem())
        except BaseException:
            self.__exit__()
            raise
        self.python = ready[1]
        return self

    def __exit__(self, *_: object) -> None:
        if process := self._process:
            try:
                self._end(process)
            finally:
                self._process = None
                for pipe in (process.stdin, process.stdout, process.stderr):
                    assert pipe is not None
                    with suppress(BrokenPipeError):
                        pipe.close()
        self._clean_up()

    def deliver(self, *frames: bytes) -> None:
        """Send frames to the first process; one that has ended takes none, which its report will show.

        Raises:
            NoSandboxError: What is between hangs. No program has run: the first process takes it all first.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        pipe = self._process.stdin.fileno()
        left = memoryview(b"".join(len(frame).to_bytes(8, "little") + frame for frame in frames))
        deadline = time.monotonic() + _START_TIMEOUT_S
        os.set_blocking(pipe, False)
        with suppress(BrokenPipeError):
            while left:
                if not select.select([], [pipe], [], max(0.0, deadline - time.monotonic()))[1]:
                    raise NoSandboxError(f"it took no program within {_START_TIMEOUT_S:g} s")
                left = left[os.write(pipe, left) :]

    def report(self, timeout_s: float) -> str | None:
        """The next line of the first process; "" if it ended without one, None if time is up."""
        assert self._process is not None
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout_s
        line = b""
        while not line.endswith(b"\n") and len(line) < _MAX_REPORT_BYTES:
            if not select.select([output], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return None
            part = os.read(output, _MAX_REPORT_BYTES)
            if not part:
                break
            line += part
        return line.decode("utf-8", "replace").strip()

    @abstractmethod
    def _start(self) -> None:
        """Start the sandbox and send its code; `_process` is set as soon as there is something to end."""

    @abstractmethod
    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End everything in the sandbox, and wait for that; also a second time."""

    def _clean_up(self) -> None:
        """Remove what the sandbox left on this machine, after its end."""
        return

    def _launch(self, command: Sequence[str], *, pass_fds: tuple[int, ...] = (), **more: Any) -> None:
        """Start a command with pipes, away from the terminal and its signals.

        Raises:
            NoSandboxError: It does not start.
        """
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                pass_fds=pass_fds,
                start_new_session=True,
                **more,
            )
        except OSError as error:
            raise NoSandboxError(str(error)) from error

    def _settings(self) -> dict[str, Any]:
        """What the first process imposes on itself and the program."""
        limits = self._limits
        return {
            "user_id": None,
            "processor_s": math.ceil(limits.time_s) + 1,
            "ends_after_s": math.ceil(limits.time_s) + _ENDS_LATE_S,
            "memory_bytes": limits.memory_bytes,
            "disk_bytes": limits.disk_bytes,
            "files": limits.files,
            "threads": limits.threads,
            "open_files": OPEN_FILES,
            "sandbox_filter": None,
            "program_filter": system_calls.program_filter(),
        }

    def _problem(self) -> str:
        """What was written on standard error, after the sandbox has ended."""
        assert self._process is not None
        assert self._process.stderr is not None
        self._end(self._process)
        return last_line(self._process.stderr.read(_MAX_REPORT_BYTES)) or "it did not start"


def last_line(written: bytes) -> str:
    """The last line of what a command wrote, where the reason stands."""
    lines = [line.strip() for line in written.decode("utf-8", "replace").splitlines()]
    return next((line for line in reversed(lines) if line and not _HINT.match(line)), "")
