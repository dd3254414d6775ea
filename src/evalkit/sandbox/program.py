"""What is run in a sandbox: a model's program, the tests that call it, and the limits of both."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Checks:
    """Python tests of a program, run in another process than the program.

    The program sends back plain values only (None, numbers, text, bytes, lists, tuples, dicts, sets and
    iterators of these; subclasses arrive as what they derive from), so it can neither read the tests nor
    decide what "equal" means. An object of a class that the program defines equals nothing.

    Attributes:
        source: Comes to its end if the program is right; usually a row of `assert`.
        functions: Functions of the program that the source calls by these names.
        helpers: Trusted source that runs before the tests, in the same names.
    """

    source: str
    functions: tuple[str, ...] = ()
    helpers: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use; time counts from its delivery to an interpreter that is ready.

    Attributes:
        time_s: Seconds for the program and its tests.
        memory_bytes: Address space of the program (1 GiB).
        disk_bytes: Size of its working folder, and of any one file (16 MiB).
        files: Files and folders in its working folder.
        threads: Threads; a program is one process and can't start others.
    """

    time_s: float = 3.0
    memory_bytes: int = 1 << 30
    disk_bytes: int = 16 << 20
    files: int = 4096
    threads: int = 32


@dataclass(frozen=True, slots=True)
class Program:
    """An untrusted program.

    Attributes:
        source: Python source. It runs as a module without a main block: `__name__` is "builtins", as it is
            where OpenAI's human-eval executes a program.
        checks: What then calls its functions; None: the program passes if it comes to its end. That is its
            own word: a program that looks for the way can say so early.
        limits: What it may use.
    """

    source: str
    checks: Checks | None = None
    limits: Limits = field(default_factory=Limits)
