from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.metrics import execution
from evalkit.metrics.execution import Execution, require_isolation, run_program

TIMEOUT_S = 60.0


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    execution._missing_isolation.cache_clear()
    try:
        require_isolation()
    except UsageError as missing:
        pytest.skip(str(missing))
    yield
    execution._missing_isolation.cache_clear()


def failure(program: str) -> str:
    ended = run_program(program, TIMEOUT_S)
    assert ended.ending == "failed"
    return ended.message


def test_a_program_passes_by_coming_to_its_end() -> None:
    assert run_program("print('x' * 100_000)\nassert 1 + 1 == 2", TIMEOUT_S) == Execution("passed")


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("assert False, 'no'", "AssertionError: no"),
        ("def", "SyntaxError"),
        ("import sys\nsys.exit(0)", "SystemExit: 0"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import os\nos._exit(0)", "killed"),
        ("import os\nos.kill(os.getpid(), 9)", "killed"),
        ("bytearray(4 << 30)", "MemoryError"),
        ("input()", "EOFError"),
        ("import numpy", "ModuleNotFoundError"),
        ("import evalkit", "ModuleNotFoundError"),
    ],
)
def test_anything_else_is_a_failure(program: str, message: str) -> None:
    assert message in failure(program)


@pytest.mark.parametrize(
    "program",
    [
        "import socket\nsocket.create_connection(('127.0.0.1', 9), 2)",
        "import socket\nsocket.create_connection(('192.0.2.1', 9), 2)",
        "open('made', 'w').write('x')",
        "import os\nos.listdir('/proc/1')",
        "import os\nos.chroot('/')",
        "import os\nos.kill(1, 9)\nos.kill(1, 0)\nos.setuid(0)",
    ],
)
def test_nothing_outside_can_be_reached(program: str) -> None:
    assert "Error" in failure(program)


def test_no_file_can_be_written_or_removed(tmp_path: Path) -> None:
    kept = Path(__file__).with_name("units.py")
    before = kept.read_bytes()
    # A checkout below /tmp is not even seen: the program has a /tmp of its own.
    refusals = ("Read-only", "No such file")
    assert any(refusal in failure(f"import os\nos.remove({str(kept)!r})") for refusal in refusals)
    assert kept.read_bytes() == before
    assert "Read-only" in failure("import os\nopen(os.__file__, 'a')")
    assert "Error" in failure(f"open({str(tmp_path / 'new')!r}, 'w')")
    assert not list(tmp_path.iterdir())


def test_nothing_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    program = """
import os, sys
assert not any("KEY" in name for name in os.environ), os.environ
assert os.getcwd() == "/tmp" and os.listdir(".") == []
assert sys.stdin.read() == ""
assert len(sys.argv) == 1
"""
    assert run_program(program, TIMEOUT_S).ending == "passed"


def test_the_clock_stops_a_program_and_all_it_started() -> None:
    program = """
import os, time
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
        time.sleep(60)
while True: pass
"""
    assert run_program(program, 0.5) == Execution("timeout", "not finished after 0.5 s")


def test_copies_that_a_program_makes_of_itself_report_nothing() -> None:
    assert run_program("import os\nif os.fork():\n    os.wait()", TIMEOUT_S).ending == "passed"


def test_what_a_program_leaves_running_ends_with_it() -> None:
    program = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)"
    assert run_program(program, TIMEOUT_S).ending == "passed"


def test_a_machine_without_isolation_is_refused_by_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "confinement.py"
    script.write_text("print('unavailable: new namespaces: Operation not permitted')")
    monkeypatch.setattr(execution, "_SCRIPT", script)
    execution._missing_isolation.cache_clear()
    with pytest.raises(UsageError, match=r"isolation.*\(new namespaces: Operation not permitted\).*Linux"):
        require_isolation()
    execution._missing_isolation.cache_clear()
    monkeypatch.setattr(sys, "platform", "plan9")
    with pytest.raises(UsageError, match="plan9"):
        require_isolation()
