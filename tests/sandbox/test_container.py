"""Containers as sandboxes, with Docker and Podman where they work: what they keep, and who is refused."""

from __future__ import annotations

import marshal
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.sandbox import execute, process
from evalkit.sandbox.choice import ENGINES
from evalkit.sandbox.container import Container
from evalkit.sandbox.process import SandboxProcess
from evalkit.sandbox.program import Checks, Limits, Program
from tests.sandbox.engines import containers, first_process, image, wrapped
from tests.sandbox.outside import CHECKOUT
from tests.sandbox.test_hostile import BY_KIND, wrong_verdicts

_ENDS_WITHIN_S = 400.0
# What an engine gives each container, and a sandbox of bubblewrap has not: nothing of the machine's files.
_ITS_OWN = (
    "No such device or address: '/dev/tty'",
    *("os.open('/dev/ptmx'", "os.open('/dev/fd/1'", "os.open('/dev/stdout'", "os.openpty()"),
    "!= ['null', 'urandom', 'zero']",
    "Permission denied: '/proc/1/mem'",
    *(
        "open('/proc/self/maps')",
        "open('/proc/1/cmdline')",
        "open('/proc/mounts')",
        "open('/proc/self/cgroup')",
    ),
    *("open('/sys/kernel/notes')", "open('/etc/passwd')", "open('/etc/hosts')"),
)
_SLEEP = "__import__('time').sleep(600)"


@dataclass(frozen=True)
class Engine:
    """An engine that works, with an image."""

    kind: str
    image: str


@pytest.fixture(scope="module", params=ENGINES)
def engine_here(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each engine; its tests are left out where it does not work, or makes no sandbox, with what it said."""
    with image(request.param) as name:
        execute._tried.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("EVALKIT_SANDBOX", f"{request.param}:{name}")
            try:
                execute.require_sandbox()
            except UsageError as missing:
                pytest.skip(str(missing))
        yield Engine(request.param, name)


@pytest.fixture
def engine(engine_here: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine that is chosen as the sandbox, and in the end has no container of ours."""
    monkeypatch.setenv("EVALKIT_SANDBOX", f"{engine_here.kind}:{engine_here.image}")
    execute._tried.cache_clear()
    yield engine_here
    execute._tried.cache_clear()
    _wait_until_removed(engine_here.kind)


def _wait_until_removed(kind: str) -> None:
    """An engine takes a moment to remove what has ended."""
    deadline = time.monotonic() + _ENDS_WITHIN_S
    while left := containers(kind):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", BY_KIND)
def test_hostile_programs(kind: str, engine: Engine) -> None:
    """The engine's own processes may take a moment longer than the container."""
    wrong = wrong_verdicts(BY_KIND[kind])
    assert [line for line in wrong if not any(own in line for own in _ITS_OWN)] == []


def test_honest_programs(engine: Engine) -> None:
    check_honest_programs()
    version = ".".join(map(str, sys.version_info[:3]))
    assert re.fullmatch(
        rf"{engine.kind} containers of the image {engine.image}, [0-9a-f]{{12}} \(Python {version}\)",
        execute.other_interpreter(),
    )


def check_honest_programs() -> None:
    """Right, wrong and late ones get their verdicts, and what the library needs is there."""
    source = "def double(values):\n    values.append(0)\n    return [2 * value for value in values]"
    tests = "given = [1, 2]\nassert double(given) == [2, 4, 0]\nassert given == [1, 2, 0]"
    assert execute.run_program(Program(source, Checks(tests, ("double",)))).has_passed
    wrong = execute.run_program(Program(source, Checks("assert double([1]) == [3, 0]", ("double",))))
    assert (wrong.ending, wrong.message) == ("failed", "AssertionError: assert double([1]) == [3, 0]")
    late = execute.run_program(Program("while True: pass", limits=Limits(0.5)))
    assert late.ending == "timeout"
    uses = "import decimal, json, sqlite3, tempfile\nwith tempfile.TemporaryFile() as file: file.write(b'1')"
    assert execute.run_program(Program(uses)).has_passed


def test_a_program_arrives_as_it_is(engine: Engine) -> None:
    """Also with Podman's keys to detach (^P ^Q), and where it is longer than any buffer."""
    text = "\x10\x11 \\ \ud800 é \0".encode("utf-8", "surrogatepass").hex()
    source = (
        f"# \x10\x11\ntext = '\x10\x11'\nassert text.encode().hex() == '1011'\ndef f(): return '{text}'\n"
    )
    filler = f"# {'x' * 100}\n" * 20_000
    checks = Checks(f"{filler}assert f() == {text!r} # \x10\x11", ("f",))
    verdict = execute.run_program(Program(source + filler, checks, Limits(time_s=60.0)))
    assert verdict.has_passed, verdict


def test_the_environment_stays_outside(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """That of evalkit, of the image, and what an engine's configuration adds."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:word@proxy.example")
    wrapped(engine.kind, tmp_path, "arguments[1:1] = ['--env', 'SOME_KEY=word']")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    source = (
        "import os\ndef seen():\n"
        "    with open('/proc/self/environ', 'rb') as file:\n"
        "        return set(os.environ) - {'LC_CTYPE'}, file.read()"
    )
    opened = "import os, ctypes\nctypes.CDLL(None).prctl(4, 1, 0, 0, 0)\n"  # its own files can be read then
    checks = Checks("assert seen() == (set(), b'')", ("seen",))
    verdict = execute.run_program(Program(opened + source, checks))
    assert verdict.has_passed, verdict


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        ("arguments[arguments.index('--network=none')] = '--network=host'", "network"),
        ("arguments.remove('--read-only')", "its files are writable"),
        ("arguments[:] = [part for part in arguments if part[:6] != '--user']", "must not run as root"),
        ("arguments.remove('--cap-drop=ALL')", "it has capabilities"),
        ("arguments.insert(1, '--volume=/var/tmp:/mnt')", "/mnt is mounted"),
        ("arguments.insert(1, '--volume=/mnt')", "/mnt is mounted"),
        ("arguments.insert(1, '--device=/dev/null:/dev/more')", "it has the devices more"),
        (
            "arguments.insert(1, '--security-opt=seccomp=unconfined')",
            r"filter of system calls \(seccomp\) is off",
        ),
        ("arguments[:] = [part for part in arguments if part[:8] != '--memory']", "limit its memory"),
        (
            "arguments[:] = [part for part in arguments if part[:6] != '--pids']",
            "limit its number of processes",
        ),
        ("arguments[:] = [part.replace('size=', 'size=9') for part in arguments]", "folder has no limit"),
        ("arguments.insert(1, '--pid=host')", "another process is the sandbox's first"),
        ("arguments.remove('--ipc=none')", "/dev/shm is mounted"),
        ("arguments[:] = [part.replace('os.execve', '1 or os.execve') for part in arguments]", "start"),
    ],
)
def test_a_container_that_is_open_is_refused(
    edit: str, reason: str, engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrapped(engine.kind, tmp_path, edit)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(UsageError, match=f"only run in a sandbox, which can't be made here: .*{reason}"):
        execute.require_sandbox()


def test_an_image_that_is_not_there_is_not_pulled(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALKIT_SANDBOX", f"{engine.kind}:localhost/evalkit-missing:1")
    remedy = f"`{engine.kind} pull localhost/evalkit-missing:1` does"
    with pytest.raises(UsageError, match=f"is not on this machine; evalkit downloads none: {remedy}"):
        execute.require_sandbox()


def test_an_image_without_python_is_refused(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrapped(
        engine.kind, tmp_path, "arguments[:] = [part.replace('=python3', '=python9') for part in arguments]"
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(UsageError, match="python9"):
        execute.require_sandbox()


def test_all_programs_of_a_process_meet_the_same_image(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name may be given to another image meanwhile."""
    execute.require_sandbox()
    backend = execute._backend()
    assert isinstance(backend, Container)
    assert engine.image not in backend.command("x", Limits())
    assert backend.image_id in backend.command("x", Limits())


@pytest.mark.parametrize(
    ("moment", "victim"),
    [
        ("while it starts", "evalkit"),
        ("while the program runs", "evalkit"),
        ("while the program runs", "evalkit and the engine's command"),
        ("in the tests", "evalkit"),
        ("in the tests", "evalkit and the engine's command"),
    ],
)
def test_nothing_is_left_of_a_container_whose_evalkit_was_killed(
    moment: str, victim: str, engine: Engine
) -> None:
    execute.require_sandbox()
    source, checks = (
        (_SLEEP, None) if moment != "in the tests" else ("def f(): pass", Checks(f"f(); {_SLEEP}", ("f",)))
    )
    program = (
        "from evalkit.sandbox import execute\n"
        "from evalkit.sandbox.process import SandboxProcess\n"
        "from evalkit.sandbox.program import Checks, Limits, Program\n"
        "report = SandboxProcess.report\n"
        "def said(self, timeout_s):\n"
        f"    if self._limits.time_s == 600 and (timeout_s == 600) == {moment != 'while it starts'}:\n"
        "        print(self._name, self._process.pid, flush=True)\n"
        "    return report(self, timeout_s)\n"
        "SandboxProcess.report = said\n"
        f"execute.run_program(Program({source!r}, {checks!r}, Limits(600.0)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "src")}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE
    ) as evalkit:
        assert evalkit.stdout is not None
        name, command = evalkit.stdout.readline().decode().split()
        watched = [os.pidfd_open(int(command))]
        if moment != "while it starts" and (first := first_process(engine.kind, name)):
            watched.append(os.pidfd_open(first))
        evalkit.kill()
    if victim != "evalkit":
        with suppress(ProcessLookupError):
            os.kill(int(command), signal.SIGKILL)
    for descriptor in watched:
        assert select.select([descriptor], [], [], _ENDS_WITHIN_S)[0]
        os.close(descriptor)


def test_a_container_that_nobody_ends_ends_itself(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the line to the engine's machine is dead, it does not hear of evalkit's end."""
    monkeypatch.setattr(process, "_ENDS_LATE_S", 0)
    with execute._backend().sandbox(Limits(0.5)) as running:
        running.deliver(b"__import__('time').sleep(600)", marshal.dumps(None))
        assert running.report(_ENDS_WITHIN_S) == ""


def test_a_command_that_is_killed_is_tried_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its container is removed; if that happens again, the program has failed, and is not left out."""
    execute.require_sandbox()
    report, names = SandboxProcess.report, []

    def killed(self: SandboxProcess, timeout_s: float) -> str | None:
        if timeout_s != 50.0:
            return report(self, timeout_s)
        assert self._process is not None
        command = self._process.args
        assert isinstance(command, list)
        names.append(command[command.index("--name") + 1])
        self._process.kill()
        return report(self, timeout_s)

    monkeypatch.setattr(SandboxProcess, "report", killed)
    verdict = execute.run_program(Program(_SLEEP, limits=Limits(50.0)))
    assert verdict.ending == "failed"
    assert "failed while the program ran" in verdict.message
    assert len(set(names)) == 2


def test_an_engine_that_does_not_answer_is_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", "unix:///nonexistent/socket")
        patch.setenv("CONTAINER_HOST", "unix:///nonexistent/socket")
        with pytest.raises(UsageError, match=rf"can't be made here: `{engine.kind} image`: .*nonexistent"):
            execute.require_sandbox()
