"""Runs a model's programs where they can do no harm, and says how they ended."""

from __future__ import annotations

import json
import math
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from evalkit.errors import UsageError

Ending = Literal["passed", "failed", "timeout", "unavailable"]

MEMORY_BYTES = 1 << 30
_MAX_REPORT_BYTES = 4096
_PROBE_TIMEOUT_S = 10.0
_SCRIPT = Path(__file__).with_name("confinement.py")


@dataclass(frozen=True, slots=True)
class Execution:
    """How a program ended.

    Attributes:
        ending: "passed": it came to its end; "failed": it raised, exited or was killed; "timeout";
            "unavailable": it was not run, since it could not be isolated.
        message: What it raised, or what is missing; "" if it passed.
    """

    ending: Ending
    message: str = ""


def run_program(program: str, timeout_s: float) -> Execution:
    """Run Python source in a process of its own, cut off from everything; see `require_isolation`.

    The process has no network, no environment, a read-only file system with an empty working folder, no
    privileges, a second or two of processor time more than `timeout_s`, 1 GiB of memory, 1 MiB per file, and
    sees no other process. The kernel limits the number of its processes too, but not for root. It and
    whatever it started are killed after `timeout_s` seconds. What it prints is dropped. Output and exit code
    can't fake a pass: the program has to come to its end.
    """
    token = secrets.token_hex(16)
    task = {
        "program": program,
        "token": token,
        "seconds": math.ceil(timeout_s) + 1,
        "memory_bytes": MEMORY_BYTES,
    }
    with tempfile.TemporaryFile() as given:
        given.write(json.dumps(task).encode())
        given.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(_SCRIPT)],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return Execution("timeout", f"not finished after {timeout_s:g} s")
        finally:
            report = _stop(process)
    return _execution(report, token)


def require_isolation() -> None:
    """Nothing, if programs can be isolated on this machine; tried once per process.

    Raises:
        UsageError: They can't be; says what is missing.
    """
    if missing := _missing_isolation():
        raise UsageError(
            "model-written programs are only run in isolation, which this machine does not offer "
            f"({missing}); it takes Linux 5.12 or later where unprivileged user namespaces are allowed"
        )


@lru_cache(maxsize=1)
def _missing_isolation() -> str:
    if not sys.platform.startswith("linux"):
        return f"{sys.platform} has no namespaces"
    probe = run_program("pass", _PROBE_TIMEOUT_S)
    return "" if probe.ending == "passed" else probe.message or probe.ending


def _stop(process: subprocess.Popen[bytes]) -> str:
    """Kill what is left of the process and its children; returns what it reported."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    with process.stdout as pipe:
        os.set_blocking(pipe.fileno(), False)
        try:
            report = os.read(pipe.fileno(), _MAX_REPORT_BYTES)
        except BlockingIOError:
            report = b""
    return report.decode("utf-8", "replace").strip()


def _execution(report: str, token: str) -> Execution:
    if report == token:
        return Execution("passed")
    kind, _, message = report.partition(": ")
    if kind == "unavailable":
        return Execution("unavailable", message)
    return Execution("failed", message if kind == "failed" else "the process was killed")
