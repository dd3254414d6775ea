"""Runs model-written programs in a sandbox and says how they ended."""

from __future__ import annotations

import marshal
import sys
from dataclasses import asdict
from functools import lru_cache

from evalkit.errors import UsageError
from evalkit.sandbox.process import NoSandboxError, SandboxProcess
from evalkit.sandbox.program import Limits, Program
from evalkit.sandbox.verdict import Verdict

_PROBE_TIMEOUT_S = 60.0
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


def judge(program: Program) -> Verdict:
    """Run a program in a sandbox of its own.

    The sandbox has a file system of its own (Python's standard library, read-only, and an empty working folder
    that it may write), `/dev/null`, `/dev/zero` and `/dev/urandom`, no network, no other processes, no
    environment and no privileges; it never runs as root. What a program prints is dropped. All its processes
    have ended when this returns.

    Whatever the program does, this returns a verdict. An error means that the program has not run.

    Raises:
        UsageError: No sandbox could be made; says what is missing.
    """
    limits = program.limits
    source = program.source.encode("utf-8", "surrogatepass")
    checks = marshal.dumps(asdict(program.checks) if program.checks else None)
    try:
        with SandboxProcess(limits) as process:
            process.deliver(source, checks)
            report = process.report(limits.time_s)
    except NoSandboxError as error:
        raise UsageError(_refusal(str(error))) from error
    if report is None:
        return Verdict("timeout", f"not finished after {limits.time_s:g} s")
    if report == "passed":
        return Verdict("passed")
    return Verdict("failed", report.removeprefix("failed: ") or "the process was killed")


def require_sandbox() -> None:
    """Nothing, if programs can be run on this machine; tried once per process.

    Raises:
        UsageError: They can't be; says what is missing.
    """
    if missing := _missing():
        raise UsageError(missing)


@lru_cache(maxsize=1)
def _missing() -> str:
    if not sys.platform.startswith("linux"):
        return _refusal(f"{sys.platform} is not Linux")
    try:
        verdict = judge(Program(_PROBE, limits=Limits(time_s=_PROBE_TIMEOUT_S)))
    except UsageError as error:
        return str(error)
    return "" if verdict.has_passed else _refusal(f"it does not keep its promises ({verdict.message})")


def _refusal(reason: str) -> str:
    return (
        f"model-written programs are only run in a sandbox, which can't be made here: {reason}. It takes Linux, "
        "and either unprivileged user namespaces, or root with the right to mount (in a container, the capability "
        "SYS_ADMIN)"
    )
