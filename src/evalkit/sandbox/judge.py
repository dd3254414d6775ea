"""Runs model-written programs in a sandbox and says how they ended."""

from __future__ import annotations

import marshal
import sys
from dataclasses import asdict
from functools import lru_cache

from evalkit.errors import UsageError
from evalkit.sandbox.bubblewrap import installed
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
    """Run a program in its own sandbox.

    The sandbox has its own file system (Python's standard library, read-only, and an empty working
    folder that it may write), `/dev/null`, `/dev/zero` and `/dev/urandom`, no network, no other processes, no
    environment and no privileges; it never runs as root. What a program prints is dropped. All its processes
    have ended when this returns.

    Whatever the program does, this returns a verdict. An error means that the program has not run.

    Raises:
        UsageError: No sandbox could be made; says what is missing.
    """
    bwrap = _bwrap()
    try:
        return _judge(bwrap, program)
    except UsageError:  # it could be made before: the machine may be short of something for a moment
        return _judge(bwrap, program)


def require_sandbox() -> None:
    """Nothing, if programs can be run on this machine; tried once per process.

    Raises:
        UsageError: They can't be; says what is missing.
    """
    _bwrap()


def _judge(bwrap: str, program: Program) -> Verdict:
    limits = program.limits
    source = program.source.encode("utf-8", "surrogatepass")
    checks = marshal.dumps(asdict(program.checks) if program.checks else None)
    try:
        with SandboxProcess(bwrap, limits) as process:
            process.deliver(source, checks)
            report = process.report(limits.time_s)
    except NoSandboxError as error:
        raise UsageError(_refusal(str(error))) from error
    if report is None:
        return Verdict("timeout", f"not finished after {limits.time_s:g} s")
    if report == "passed":
        return Verdict("passed")
    return Verdict("failed", report.removeprefix("failed: ") or "the process was killed")


def _bwrap() -> str:
    found, missing = _tried()
    if found is None:
        raise UsageError(missing)
    return found


@lru_cache(maxsize=1)
def _tried() -> tuple[str | None, str]:
    """The first bubblewrap that keeps the promises, else what is missing."""
    if not sys.platform.startswith("linux"):
        return None, _refusal(f"{sys.platform} is not Linux")
    missing = ""
    try:
        for bwrap in installed():
            try:
                verdict = _judge(bwrap, Program(_PROBE, limits=Limits(time_s=_PROBE_TIMEOUT_S)))
            except UsageError as error:
                missing = missing or str(error)
                continue
            if verdict.has_passed:
                return bwrap, ""
            missing = missing or _refusal(f"{bwrap} does not isolate programs ({verdict.message})")
    except UsageError as error:
        missing = str(error)
    return None, missing


def _refusal(reason: str) -> str:
    return (
        f"model-written programs only run in a sandbox, which can't be made here: {reason.rstrip('.')}. "
        "It takes Linux 5.14 or later, and either user namespaces that ordinary users may make (on Ubuntu: "
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0), or root with the right to mount (in a "
        "container: the capability SYS_ADMIN)"
    )
