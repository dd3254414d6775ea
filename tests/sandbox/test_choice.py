"""Which sandbox is chosen, and what is said where there is none; with a double of Docker's command."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

import evalkit
from evalkit.cli.app import command
from evalkit.errors import UsageError
from evalkit.runs.options import read_options
from evalkit.sandbox import bubblewrap, container, execute
from evalkit.sandbox.choice import Choice, choose, chosen, read_choice
from evalkit.sandbox.container import Container, default_image
from evalkit.sandbox.program import Checks, Limits, Program

# A program that takes `docker`'s place: it notes its arguments, and really runs the container's command, in
# bubblewrap, with the machine's own files: no sandbox.
_DOUBLE = """
import json, os, pathlib, sys
here = pathlib.Path(__file__).parent
arguments = sys.argv[1:]
with (here / "calls").open("a") as calls:
    calls.write(json.dumps(arguments) + "\\n")
mode = (here / "mode").read_text()
if arguments == ["--version"]:
    print("Docker version 99")
elif arguments[0] == "image" and mode == "no image":
    sys.exit("Error response from daemon: No such image: " + arguments[-1])
elif arguments[0] == "image" and mode == "no daemon":
    sys.exit("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
elif arguments[0] == "image":
    print("sha256:" + 64 * "a")
elif arguments[0] == "run":
    inside = arguments[arguments.index("sha256:" + 64 * "a") + 1:]
    if mode == "failing":
        print("ready 3.11.0", flush=True)
        sys.stdin.buffer.read(1)
        sys.exit(125)
    if mode == "open":
        os.execv(sys.executable, [sys.executable, *inside])
    pathlib.Path(here / "pid").write_text(str(os.getpid()))
    os.execv(os.environ["BWRAP"], [
        "bwrap", "--unshare-pid", "--unshare-user", "--unshare-net", "--uid", "23456", "--gid", "23456",
        "--as-pid-1", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
        "--size", str(1 << 24), "--tmpfs", "/tmp",
        "--setenv", "SOME_KEY", "word", "--chdir", "/tmp", "--", sys.executable, *inside])
"""


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("EVALKIT_SANDBOX", raising=False)
    execute._tried.cache_clear()
    choose(None)
    yield
    choose(None)
    execute._tried.cache_clear()


class Double:
    """The double of `docker`, first on the PATH."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.be("a container")
        script = folder / "docker"
        script.write_text(f"#!{sys.executable} -IS\n{_DOUBLE}")
        script.chmod(0o755)

    def be(self, mode: str) -> None:
        (self._folder / "mode").write_text(mode)

    def calls(self, command: str) -> list[list[str]]:
        lines = (self._folder / "calls").read_text().splitlines()
        return [call for line in lines if (call := json.loads(line))[0] == command]


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Double:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("EVALKIT_SANDBOX", "docker:some/image:1")
    return Double(tmp_path)


@pytest.fixture
def trusted(double: Double, monkeypatch: pytest.MonkeyPatch, sandbox_of_bubblewrap: str) -> Double:
    """The double, as if it were tried already."""
    monkeypatch.setenv("BWRAP", sandbox_of_bubblewrap)
    monkeypatch.setattr(container, "PROBE", Program("pass", Checks("import os\nassert os.getpid() == 1")))
    try:
        execute.require_sandbox()
    except UsageError as missing:
        pytest.skip(str(missing))  # namespaces of ordinary users are forbidden
    return double


@pytest.fixture
def sandbox_of_bubblewrap() -> str:
    try:
        return bubblewrap.installed()[0]
    except UsageError as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("bubblewrap", Choice("bubblewrap")),
        ("docker", Choice("docker")),
        (" podman ", Choice("podman")),
        ("docker:python:3.11-slim", Choice("docker", "python:3.11-slim")),
        ("podman:host:5000/a/b@sha256:00", Choice("podman", "host:5000/a/b@sha256:00")),
    ],
)
def test_choices(text: str, choice: Choice, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_choice(text) == choice
    monkeypatch.setenv("EVALKIT_SANDBOX", text)
    assert chosen() == choice


@pytest.mark.parametrize(
    "text",
    [
        "Docker",
        "docker:",
        "docker:--privileged",
        "docker:a b",
        "bubblewrap:x",
        "none",
        "podman:-v",
        "docker:a\nb",
    ],
)
def test_what_is_no_choice(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="is not a sandbox: give bubblewrap, docker, podman"):
        read_choice(text)
    with pytest.raises(UsageError, match=r"option 'sandbox': .* is not a sandbox"):
        read_options(None, {"sandbox": text})
    monkeypatch.setenv("EVALKIT_SANDBOX", text)
    with pytest.raises(UsageError, match=r"EVALKIT_SANDBOX: .* is not a sandbox"):
        execute.require_sandbox()


def test_nothing_is_chosen_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen() == Choice("bubblewrap")
    monkeypatch.setenv("EVALKIT_SANDBOX", "")
    assert chosen() == Choice("bubblewrap")
    # Without bubblewrap, Docker is no substitute that anybody has asked for.
    monkeypatch.setattr(bubblewrap, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="bubblewrap, which is not installed"):
        execute.require_sandbox()
    monkeypatch.setenv("EVALKIT_SANDBOX", "podman")
    with pytest.raises(UsageError, match="can't be made here: the command podman is not installed"):
        execute.require_sandbox()


def test_an_option_goes_before_the_variable_and_holds_in_its_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALKIT_SANDBOX", "docker")
    evalkit.plan("arithmetic:num_test=1,model=evalkit/echo", sandbox="podman:x")
    assert chosen() == Choice("podman", "x")
    seen: list[Choice] = []
    for target in (lambda: seen.append(chosen()), lambda: copy_context().run(lambda: seen.append(chosen()))):
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
    thread = threading.Thread(target=copy_context().run, args=(lambda: seen.append(chosen()),))
    thread.start()
    thread.join()
    assert seen == [Choice("docker"), Choice("docker"), Choice("podman", "x")]
    evalkit.plan("arithmetic:num_test=1,model=evalkit/echo")
    assert chosen() == Choice("docker")


def test_the_default_image_has_evalkits_own_python() -> None:
    assert default_image() == f"docker.io/library/python:3.{sys.version_info[1]}-slim"


@pytest.mark.parametrize("is_podman", [False, True])
def test_what_the_engine_is_asked_for(is_podman: bool) -> None:
    backend = Container(Choice("docker", "x"), "/bin/docker", is_podman, "sha256:0")
    limits = Limits(memory_bytes=1 << 28, disk_bytes=1 << 20, threads=4)
    command, other = backend.command("a", limits), backend.command("b", limits)
    memory = (1 << 28) + (1 << 20) + (64 << 20)
    for wanted in (
        *("--rm", "--pull=never", "--network=none", "--ipc=none", "--read-only", "--cap-drop=ALL"),
        *("--security-opt=no-new-privileges", f"--memory={memory}b", f"--memory-swap={memory}b"),
        *("--pids-limit=12", "--no-healthcheck", "--log-driver=none", "--detach-keys="),
        "/tmp:rw,noexec,nosuid,nodev,size=1048576,mode=1777",
    ):
        assert wanted in command
    assert command[command.index("sha256:0") - 1] == "--entrypoint=python3"
    users = {part for each in (command, other) for part in each if part.startswith("--user=")}
    assert all(int(number) >= 20_000 for user in users for number in user.removeprefix("--user=").split(":"))
    assert ("--image-volume=ignore" in command) == is_podman
    assert not [
        part for part in command if part.startswith(("--volume", "--mount", "--env", "--privileged", "-v"))
    ]


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (
            "no image",
            r"the image some/image:1, which is not on this machine.*`docker pull some/image:1` does",
        ),
        ("no daemon", r"`docker image`: Cannot connect to the Docker daemon at unix:.*It takes an engine"),
        ("open", r"another process is the sandbox's first"),
    ],
)
def test_what_can_not_be_had_is_refused(mode: str, message: str, double: Double) -> None:
    double.be(mode)
    with pytest.raises(UsageError, match=message):
        execute.require_sandbox()
    assert not double.calls("run") or mode == "open"


def test_a_container_that_keeps_nothing_is_refused(
    double: Double, monkeypatch: pytest.MonkeyPatch, sandbox_of_bubblewrap: str
) -> None:
    monkeypatch.setenv("BWRAP", sandbox_of_bubblewrap)
    with pytest.raises(
        UsageError, match=r"docker with the image some/image:1 does not isolate|can't be made"
    ):
        execute.require_sandbox()


def test_programs_and_their_tests(trusted: Double) -> None:
    source = "def double(values):\n    values.append(0)\n    return [2 * value for value in values]"
    tests = "given = [1, 2]\nassert double(given) == [2, 4, 0]\nassert given == [1, 2, 0]"
    assert execute.run_program(Program(source, Checks(tests, ("double",)))).has_passed
    wrong = execute.run_program(Program(source, Checks("assert double([1]) == [3, 0]", ("double",))))
    assert (wrong.ending, wrong.message) == ("failed", "AssertionError: assert double([1]) == [3, 0]")
    assert execute.run_program(Program("while True: pass", limits=Limits(0.5))).ending == "timeout"
    assert (
        execute.run_program(Program("import os\nassert set(os.environ) <= {'LC_CTYPE'}\nos._exit(0)")).message
        == "the process was killed"
    )
    refused = "import os\ntry: os.fork()\nexcept OSError: pass\nelse: raise ValueError\n"
    keyring = "import ctypes\nassert ctypes.CDLL(None).syscall(248, b'user', b'x', b'y', 1, -2) == -1"
    source = refused + (keyring if os.uname().machine == "x86_64" else "")
    assert execute.run_program(Program(source)).has_passed
    assert execute.other_interpreter().startswith(
        "docker containers of the image some/image:1, aaaaaaaaaaaa (Python 3."
    )


def test_an_engine_that_fails_is_not_the_programs_fault_at_once(trusted: Double) -> None:
    """Its container is removed, and the program runs again; the second time it has failed: never left out."""
    trusted.be("failing")
    verdict = execute.run_program(Program("pass"))
    assert verdict.ending == "failed"
    assert verdict.message == "docker with the image some/image:1 failed while the program ran"
    names = [call[call.index("--name") + 1] for call in trusted.calls("run")[-2:]]
    assert [call[-1] for call in trusted.calls("rm")] == names


def test_options_reach_the_scoring_of_a_run(
    trusted: Double, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data_dir: Path
) -> None:
    """From API and command line, through the threads that score, to the note on whose Python it was."""
    monkeypatch.delenv("EVALKIT_SANDBOX")
    events: list[Any] = []
    options: dict[str, Any] = {"data_dir": data_dir, "max_eval_instances": 2, "output_path": tmp_path / "out"}
    entry = "code:dataset=humaneval,model=evalkit/echo"
    before = len(trusted.calls("run"))
    (result,) = evalkit.run(entry, observer=events.append, sandbox="docker:some/image:1", **options)
    assert result.status == "complete"
    assert len(trusted.calls("run")) >= before + 2
    assert [
        event for event in events if "programs ran in docker containers of the image some/im" in str(event)
    ]
    before = len(trusted.calls("run"))
    command()(args=["score", str(result.path), "--sandbox", "docker:other/image"], standalone_mode=False)
    assert len(trusted.calls("run")) == before + 3  # to try it, and for both programs
