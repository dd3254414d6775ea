"""A folder, FIFO, socket, device or link in place of a file: an error at once, or the file made anew."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from evalkit.clients.credentials import read_key
from evalkit.errors import UsageError
from evalkit.results.run_directory import FILES
from tests.cli.conftest import Call

ENTRY = ("-r", "simple_mcqa:model=evalkit/random", "-m", "5")
RUN = ("run", *ENTRY, "-o", "out", "--quiet")
FOLDER = Path("out/runs/default/simple_mcqa:model=evalkit_random")
LONGEST_S = 60


def socket_at(path: Path) -> None:
    """A name for a socket; what it is bound from may be closed."""
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(path.parent)  # the path of a socket may have 107 characters
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)


KINDS: dict[str, Callable[[Path], None]] = {
    "folder": Path.mkdir,
    "fifo": os.mkfifo,
    "socket": socket_at,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link to nothing": lambda path: path.symlink_to("not-there"),
    "link to itself": lambda path: path.symlink_to(path.name),
}
NO_FILE = ("it is not a regular file", "it is a link", "folder", "directory", "no such file", "links")


@pytest.fixture(autouse=True)
def never_hangs() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def replaced(path: Path, kind: str) -> None:
    path.unlink(missing_ok=True)
    KINDS[kind](path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*FILES, "run.lock"])
def test_in_a_run_directory_it_is_an_error_or_made_anew(
    call: Call, in_an_empty_directory: None, name: str, kind: str
) -> None:
    assert call(*RUN).code == 0
    numbers = (FOLDER / "scores.jsonl").read_bytes()
    shutil.copytree("out", "sound")
    for command in (
        ("score", "out"),
        ("verify", "out"),
        ("summarize", "out"),
        ("export", "helm", "out", "-o", "exported"),
        ("verify", "out", "--repair"),
        RUN,
    ):
        shutil.rmtree("out")
        shutil.copytree("sound", "out")
        replaced(FOLDER / name, kind)
        called = call(*command)
        assert "Traceback" not in called.err
        assert "internal error" not in called.err
        if called.code:
            assert name in called.err + called.out, (command, called)
        elif name != "run.lock" and command == RUN:
            assert (FOLDER / "scores.jsonl").read_bytes() == numbers


@pytest.mark.parametrize("kind", KINDS)
def test_as_a_key_file_it_is_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "key"
    replaced(path, kind)
    with pytest.raises(UsageError, match="API key can't be read") as caught:
        read_key(None, str(path))
    assert any(each in str(caught.value) for each in NO_FILE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "--conf-file", "x"),
        ("plan", "--conf-file", "x.yaml"),
        ("plan", *ENTRY, "--model-deployments", "x.yaml"),
        ("plan", *ENTRY, "--config", "x.yaml"),
        ("plan", *ENTRY, "--plugins", "x.py"),
        ("run", "-r", "multiple_choice_file:path=x.jsonl,model=evalkit/random"),
        ("score", "x"),
        ("verify", "x"),
        ("summarize", "x"),
        ("import", "helm", "x"),
        ("import", "lm-eval", "x"),
        ("import", "inspect", "x.eval"),
    ],
    ids=" ".join,
)
def test_as_a_file_of_the_user_it_is_an_error(
    call: Call, in_an_empty_directory: None, arguments: tuple[str, ...], kind: str
) -> None:
    name = (arguments[-1].partition("path=")[2] or arguments[-1]).partition(",")[0]
    replaced(Path(name), kind)
    called = call(*arguments)
    assert called.code in (2, 3), called
    assert "Traceback" not in called.err


@pytest.mark.parametrize("option", ["--conf-file", "--model-deployments"])
def test_a_pipe_of_the_shell_is_read(tmp_path: Path, option: str) -> None:
    conf = 'entries: [{description: "simple_mcqa:model=evalkit/random", priority: 1}]'
    text = conf if option == "--conf-file" else "model_deployments: []"
    rest = "" if option == "--conf-file" else "-r simple_mcqa:model=evalkit/random"
    evalkit = f"{sys.executable} -c 'from evalkit.cli import main; main()'"
    script = f"{evalkit} plan {rest} {option} <(printf %s '{text}')"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=LONGEST_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "simple_mcqa" in done.stdout


def test_a_key_file_may_be_a_pipe_and_is_read_as_often_as_it_is_needed(tmp_path: Path) -> None:
    code = (
        "import sys; from evalkit.clients.credentials import read_key\n"
        "print(read_key(None, sys.argv[1]), read_key(None, sys.argv[1]))"
    )
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -c '{code}' <(echo some-key-123)"],
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    assert done.stdout == "some-key-123 some-key-123\n", done.stderr
