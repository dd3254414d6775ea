"""Which machines can run programs: as root, as an ordinary user, without bubblewrap, without namespaces."""

from __future__ import annotations

import marshal
import os
import platform
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.sandbox import bubblewrap, execute, process
from evalkit.sandbox.execute import require_sandbox
from evalkit.sandbox.program import Checks, Limits, Program
from tests.sandbox.ordinary import CHECKOUT

ORDINARY = [sys.executable, str(Path(__file__).with_name("ordinary.py"))]
REQUIRE = "from evalkit.sandbox.execute import require_sandbox; require_sandbox()"
_ENDS_WITHIN_S = 400.0
# Attacks on the verdict go the same way whoever runs evalkit.
OF_USERS = (
    "not control_group and not words and not frames and not always and not odd and not patching and not exit"
)


@pytest.fixture(autouse=True)
def tried_anew() -> Iterator[None]:
    execute._tried.cache_clear()
    yield
    execute._tried.cache_clear()


def bwrap_in_use() -> str:
    backend = execute._backend()
    assert isinstance(backend, bubblewrap.Bubblewrap)
    return backend.path


def as_ordinary(*arguments: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run Python as an ordinary user, or skip where root can't become one with the files it needs."""
    if os.geteuid() == 0:
        probe = subprocess.run([*ORDINARY, *before, sys.executable, "-c", ""], capture_output=True, text=True)
        if probe.returncode:
            pytest.skip(f"no ordinary user here: {probe.stderr.strip().rpartition(chr(10))[2]}")
    elif before:
        pytest.skip("takes root")
    start = ORDINARY if os.geteuid() == 0 else []
    return subprocess.run(
        [*start, *before, sys.executable, *arguments],
        env={
            "PATH": os.defpath,
            "PYTHONPATH": f"{CHECKOUT / 'src'}:{CHECKOUT}",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=_ENDS_WITHIN_S,
    )


def test_all_of_it_as_an_ordinary_user() -> None:
    ended = as_ordinary("-c", REQUIRE)
    if ended.returncode:
        pytest.skip(
            f"ordinary users can't make a sandbox here: {ended.stderr.strip().rpartition(chr(10))[2]}"
        )
    files = [str(Path(__file__).with_name(name)) for name in ("test_hostile.py", "test_honest.py")]
    options = ("-q", "-p", "no:cacheprovider", "--rootdir", str(CHECKOUT), "-k", OF_USERS)
    ended = as_ordinary("-m", "pytest", *options, *files)
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-1000:]
    assert "skipped" not in ended.stdout


def test_a_machine_that_forbids_namespaces_says_so() -> None:
    ended = as_ordinary("-c", REQUIRE, before=("--no-namespaces",))
    assert ended.returncode != 0
    message = ended.stderr.strip().rpartition("\n")[2]
    assert "UsageError: model-written programs only run in a sandbox" in message
    assert "namespace" in message
    assert "It takes Linux" in message
    assert "No space left" not in message


def test_without_bubblewrap_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match=r"evalkit\[sandbox\]"):
        require_sandbox()


def test_another_bubblewrap_is_tried_where_the_first_does_not_work(
    sandbox: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    working, broken = bwrap_in_use(), tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: Unknown option --size' >&2\nexit 1\n")
    broken.chmod(0o755)
    execute._tried.cache_clear()
    monkeypatch.setattr(bubblewrap, "installed", lambda: [str(broken), working])
    assert bwrap_in_use() == working
    execute._tried.cache_clear()
    monkeypatch.setattr(bubblewrap, "installed", lambda: [str(broken)])
    with pytest.raises(
        UsageError, match=r"can't be made here: bwrap: Unknown option --size\. It takes Linux"
    ):
        require_sandbox()


def test_a_sandbox_that_is_open_is_refused(sandbox: None, monkeypatch: pytest.MonkeyPatch) -> None:
    execute._tried.cache_clear()
    monkeypatch.setattr(bubblewrap, "_DEVICES", (*bubblewrap._DEVICES, Path("/dev/full")))
    with pytest.raises(UsageError, match="does not isolate programs"):
        require_sandbox()


def test_other_systems_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "plan9")
    with pytest.raises(UsageError, match="plan9 is not Linux"):
        require_sandbox()


def test_machines_whose_system_calls_are_not_known_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "vax")
    with pytest.raises(UsageError, match="can't be filtered on vax"):
        require_sandbox()


def test_the_systems_interpreter_has_a_sandbox_too(sandbox: None) -> None:
    """Another layout of files: Debian's, whose library holds links and stands beside its packages."""
    other = shutil.which("python3", path="/usr/bin")
    if other is None or Path(other).resolve() == Path(sys.executable).resolve():
        pytest.skip("there is no other interpreter")
    version = subprocess.run(
        [other, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True
    )
    if version.stdout.strip() != b"True":
        pytest.skip("the other interpreter is older than evalkit takes")
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from evalkit.sandbox.execute import run_program\nfrom evalkit.sandbox.program import Program\n"
        "print(run_program(Program('import ssl, sqlite3, ctypes, decimal')))"
    )
    path = f"{Path(bwrap_in_use()).parent}:{os.defpath}"
    packages = next(entry for entry in sys.path if entry.endswith("site-packages"))
    ended = subprocess.run(
        [other, "-c", program, str(CHECKOUT / "src"), packages],
        env={"PATH": path},
        capture_output=True,
        text=True,
    )
    assert "ending='passed'" in ended.stdout, ended.stderr


@pytest.mark.parametrize("moment", ["while the sandbox starts", "while the program runs", "in the tests"])
def test_nothing_is_left_of_a_sandbox_whose_evalkit_was_killed(sandbox: None, moment: str) -> None:
    """Also where root's bubblewrap may not signal the ordinary user inside."""
    sleep = "__import__('time').sleep(600)"
    source, checks = {
        "while the sandbox starts": (sleep, None),
        "while the program runs": (sleep, None),
        "in the tests": ("def f(): pass", Checks(f"f(); {sleep}", functions=("f",))),
    }[moment]
    program = (
        "from evalkit.sandbox import execute\nfrom evalkit.sandbox.process import SandboxProcess\n"
        "from evalkit.sandbox.program import Checks, Limits, Program\n"
        "report = SandboxProcess.report\n"
        "def said(self, timeout_s):\n"
        "    print('waits' if timeout_s == 600 else 'starts', flush=True)\n"
        "    return report(self, timeout_s)\n"
        "SandboxProcess.report = said\n"
        f"execute.run_program(Program({source!r}, {checks!r}, Limits(600.0)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "src")}
    evalkit = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE)
    assert evalkit.stdout is not None
    awaited = b"starts\n" if moment == "while the sandbox starts" else b"waits\n"
    with evalkit.stdout:
        while evalkit.stdout.readline() != awaited:
            assert evalkit.poll() is None
        watched = _first_descendants(evalkit.pid)
        evalkit.kill()
        evalkit.wait()
    for descriptor in watched:
        # Readable when the process has ended.
        assert select.select([descriptor], [], [], _ENDS_WITHIN_S)[0]
        os.close(descriptor)


def _first_descendants(pid: int) -> list[int]:
    """Descriptors of all processes below, once there are three: bubblewrap, and the two of the sandbox."""
    while True:
        found, waiting = [], [pid]
        with suppress(FileNotFoundError):  # one has ended meanwhile
            while waiting:
                parent = waiting.pop()
                for task in Path(f"/proc/{parent}/task").iterdir():
                    below = [int(child) for child in (task / "children").read_text().split()]
                    waiting += below
                    found += below
            if len(found) >= 3:
                return [os.pidfd_open(child) for child in found]
        time.sleep(0.01)


def test_a_sandbox_that_nobody_ends_ends_itself(sandbox: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_ENDS_LATE_S", 0)
    with execute._backend().sandbox(Limits(0.5)) as running:
        running.deliver(b"__import__('time').sleep(600)", marshal.dumps(None))
        assert running.report(_ENDS_WITHIN_S) == ""


def test_a_program_without_tests_passes_by_coming_to_its_end(sandbox: None) -> None:
    assert execute.run_program(Program("print(1)")).has_passed
    assert not execute.run_program(Program("raise SystemExit(0)")).has_passed
