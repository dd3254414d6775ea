"""Runs model-written programs in a sandbox and says how they ended."""

from __future__ import annotations

import marshal
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

from evalkit.errors import UsageError
from evalkit.sandbox import bubblewrap, container
from evalkit.sandbox.backend import Backend, refusal
from evalkit.sandbox.choice import BUBBLEWRAP, Choice, chosen
from evalkit.sandbox.process import MARSHAL_VERSION, NoSandboxError
from evalkit.sandbox.program import Program
from evalkit.sandbox.program_result import ProgramResult


@dataclass(frozen=True, slots=True)
class _Tried:
    """What came of trying a kind of sandbox.

    Attributes:
        backend: The first that keeps the promises; None if none does.
        missing: What is missing, if none does.
        python: The version of its interpreter.
    """

    backend: Backend | None = None
    missing: str = ""
    python: str = ""


class _LostError(Exception):
    """What runs the sandbox failed after the program had started."""


def run_program(program: Program) -> ProgramResult:
    """Run a program in its own sandbox.

    The sandbox has its own file system (Python's standard library, read-only, and an empty working
    folder that it may write), `/dev/null`, `/dev/zero` and `/dev/urandom`, no network, no other processes, no
    environment and no privileges; it never runs as root. In a container, where the user has chosen one, the
    rest of the image and the engine's own `/proc`, `/sys` and `/dev` are there too. What a program prints is
    dropped. All its processes have ended when this returns.

    Whatever the program does, this returns a verdict. An error means that the program has not run.

    Raises:
        UsageError: No sandbox could be made; says what is missing.
    """
    backend = _backend()
    try:
        return _run_program(backend, program)
    except (UsageError, _LostError):  # it could be made before: the machine may be short of something
        pass
    try:
        return _run_program(backend, program)
    except _LostError as error:  # the program may be behind it, so it is not left out
        return ProgramResult("failed", str(error))


def require_sandbox() -> None:
    """Nothing, if programs can be run on this machine; tried once per process and kind of sandbox.

    Raises:
        UsageError: They can't be; says what is missing.
    """
    _backend()


def other_interpreter() -> str:
    """Whose Python runs the programs, in words, with its version; "" if it is evalkit's own.

    Raises:
        UsageError: Programs can't be run; says what is missing.
    """
    name = _backend().description.interpreter
    return name and f"{name} (Python {_tried(chosen()).python})"


def _run_program(backend: Backend, program: Program) -> ProgramResult:
    return _ran(backend, program)[0]


def _ran(backend: Backend, program: Program) -> tuple[ProgramResult, str]:
    """The verdict, and the version of the interpreter that the program had."""
    limits = program.limits
    source = program.source.encode("utf-8", "surrogatepass")
    checks = marshal.dumps(asdict(program.checks) if program.checks else None, MARSHAL_VERSION)
    try:
        with backend.sandbox(limits) as process:
            process.deliver(source, checks)
            report = process.report(limits.time_s)
    except NoSandboxError as error:
        raise UsageError(refusal(str(error), backend.description.remedy)) from error
    if not report and process.is_lost:
        raise _LostError(f"{backend.description.name} failed while the program ran")
    if report is None:
        return ProgramResult("timeout", f"not finished after {limits.time_s:g} s"), process.python
    if report == "passed":
        return ProgramResult("passed"), process.python
    return ProgramResult(
        "failed", report.removeprefix("failed: ") or "the process was killed"
    ), process.python


def _backend() -> Backend:
    tried = _tried(chosen())
    if tried.backend is None:
        raise UsageError(tried.missing)
    return tried.backend


@lru_cache(maxsize=8)
def _tried(choice: Choice) -> _Tried:
    missing = ""
    try:
        for backend in _backends(choice):
            try:
                verdict, python = _ran(backend, backend.probe)
            except UsageError as error:
                missing = missing or str(error)
                continue
            except _LostError as error:
                verdict, python = ProgramResult("failed", str(error)), ""
            if verdict.has_passed:
                return _Tried(backend, python=python)
            description = backend.description
            reason = f"{description.name} does not isolate programs ({verdict.message})"
            missing = missing or refusal(reason, description.remedy)
    except UsageError as error:
        missing = str(error)
    return _Tried(missing=missing)


def _backends(choice: Choice) -> Sequence[Backend]:
    if choice.kind == BUBBLEWRAP:
        return bubblewrap.backends()
    return (container.backend(choice),)
