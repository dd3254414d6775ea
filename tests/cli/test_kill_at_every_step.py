"""`kill -9` of `score`, `verify --repair` and `export` at any change of a file: the same again mends it.

A child kills itself just before its n-th call that opens a file to be written, makes it durable, renames or
removes one, so each moment is hit, and no luck is needed. What was about to be made durable is cut in half
first, as a power cut does.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from evalkit.cli import main
from evalkit.codec import decode
from tests.cli.conftest import Call

NUM_MOMENTS = 12
RUN = ("run", "-r", "simple_mcqa:model=evalkit/random", "-m", "40", "-o", "out", "--quiet")
FOLDER = Path("out/runs/default/simple_mcqa:model=evalkit_random")
EXPORT = ("export", "helm", "out", "-o", "exported")
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree", "os.link"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Moments:
    """Counts what changes a file in this process, and ends it at one of these moments."""

    def __init__(self, last: int | None, tears: bool) -> None:
        self.num = 0
        self._last, self._tears = last, tears
        self._fsync = os.fsync

    def watch(self) -> None:
        sys.addaudithook(self._hook)
        os.fsync = self._synced  # type: ignore[assignment]

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if event in _CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & _WRITES):
            self._pass(None)

    def _synced(self, descriptor: int) -> None:
        self._pass(descriptor)
        self._fsync(descriptor)

    def _pass(self, descriptor: int | None) -> None:
        self.num += 1
        if self.num == self._last:
            if descriptor is not None and self._tears:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)


def in_a_child(command: tuple[str, ...], last: int | None = None, *, tears: bool = False) -> tuple[int, int]:
    """Run a command in a fork of this process: its wait status, and how many moments it had."""
    there, here = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(there)
        status = 99
        try:
            sys.argv = ["evalkit", *command]
            moments = Moments(last, tears)
            moments.watch()
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                try:
                    main()
                except SystemExit as left:
                    status = left.code if isinstance(left.code, int) else 0
            os.write(here, str(moments.num).encode())
        finally:
            os._exit(status)
    os.close(here)
    with open(there, "rb") as pipe:
        num = int(pipe.read() or 0)
    return os.waitpid(child, 0)[1], num


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder that are not hidden, the manifest without times."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_file() and name.name != "run.lock" and not any(part[0] == "." for part in name.parts):
            found[str(name)] = path.read_bytes()
    return found


def lost_numbers() -> None:
    (FOLDER / "stats.json").unlink()
    (FOLDER / "scores.jsonl").write_bytes(b"\0" * 100)


def lost_manifest() -> None:
    (FOLDER / "manifest.json").write_bytes(b"")
    (FOLDER / "stats.json").unlink()


def lost_spec() -> None:
    (FOLDER / "run_spec.json").unlink()
    with (FOLDER / "journal.jsonl").open("ab") as file:
        file.write(b'{"key":"t0/id')


def nothing() -> None:
    pass


CASES: dict[str, tuple[tuple[str, ...], Callable[[], None]]] = {
    "score": (("score", "out"), nothing),
    "repair of numbers": (("verify", "out", "--repair"), lost_numbers),
    "repair of a manifest": (("verify", "out", "--repair"), lost_manifest),
    "repair of a spec": (("verify", "out", "--repair"), lost_spec),
    "export": (EXPORT, nothing),
}


@pytest.mark.parametrize("tears", [False, True], ids=["killed", "torn"])
@pytest.mark.parametrize("case", CASES)
def test_the_same_command_again_gives_what_it_gives_unbroken(
    call: Call, in_an_empty_directory: None, case: str, tears: bool
) -> None:
    command, damage = CASES[case]
    assert call(*RUN).code == 0
    damage()
    shutil.copytree("out", "before")
    status, num_moments = in_a_child(command)
    assert status == 0
    unbroken, exported = contents(Path("out")), contents(Path("exported"))
    step = max(1, num_moments // NUM_MOMENTS)
    moments = range(1, num_moments + 1, step)
    assert len(moments) >= min(10, num_moments)
    for moment in moments:
        for folder in ("out", "exported"):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree("before", "out")
        status, _ = in_a_child(command, moment, tears=tears)
        assert os.WIFSIGNALED(status), (moment, status)

        # What the other commands say in between may be "damaged", never a traceback.
        for other in (("summarize", "out"), ("verify", "out")):
            between = call(*other)
            assert "Traceback" not in between.err + between.out, moment
            assert between.code in (0, 1, 3), (moment, between)

        again = call(*command)

        assert again.code == 0, (moment, again)
        assert differing(contents(Path("out")), unbroken) == {}, moment
        assert contents(Path("exported")) == exported, moment
        assert call("verify", "out", "--repair").code == 0, moment
        assert not [path for path in FOLDER.iterdir() if path.name.startswith(".")], moment
        assert not [path for path in Path("exported").rglob(".*")], moment
        assert call(*RUN).code == 0, moment
        assert call("summarize", "out").code == 0, moment


def differing(found: dict[str, bytes], expected: dict[str, bytes]) -> dict[str, Any]:
    """The files that differ, in what differs."""
    ours, theirs = without_times(found), without_times(expected)
    names = [name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)]
    return {name: _part(ours.get(name), theirs.get(name)) for name in names}


def _part(ours: Any, theirs: Any) -> Any:
    if not (isinstance(ours, dict) and isinstance(theirs, dict)):
        return str(ours)[:300], str(theirs)[:300]
    names = [name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)]
    return {name: (ours.get(name), theirs.get(name)) for name in names}


def without_times(files: dict[str, bytes]) -> dict[str, Any]:
    return {
        name: _timeless(decode(content)) if name.endswith(("manifest.json", "stats.json")) else content
        for name, content in files.items()
    }


def _timeless(plain: Any) -> Any:
    if isinstance(plain, dict):
        kept = {name: value for name, value in plain.items() if name not in _TIMES}
        return {name: _timeless(value) for name, value in kept.items()}
    return [_timeless(each) for each in plain] if isinstance(plain, list) else plain


_TIMES = ("crc32", "updated_at", "scored_at", "started_at", "ended_at")
DAMAGED = {
    "empty": b"",
    "nul": b"\0" * 4096,
    "half": None,
    "list": b"[]\n",
    "null": b"null\n",
    "object": b"{}\n",
    "number": b"17\n",
    "deep": b"[" * 100_000,
    "no text": b"\xff\xfe\x00",
    "long number": b'{"format": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_summarize_before_run_says_which_manifest_is_damaged_and_what_helps(
    call: Call, in_an_empty_directory: None, damage: str
) -> None:
    assert call(*RUN).code == 0
    assert call("run", "-r", "simple_mcqa:model=evalkit/majority", "-m", "40", "-o", "out", "-q").code == 0
    path = FOLDER / "manifest.json"
    content = DAMAGED[damage]
    path.write_bytes(path.read_bytes()[:300] if content is None else content)

    called = call("summarize", "out")

    assert called.code == 1
    assert "evalkit_majority" in called.out
    assert (str(path) if damage != "null" else f"{FOLDER} has no manifest.json") in called.err
    assert "`evalkit run` with the run's entry, or `evalkit verify --repair`" in called.err
    assert "Traceback" not in called.err
    again = call(*RUN)
    assert again.code == 0, again.err
    shown = call("summarize", "out")
    assert (shown.code, shown.err) == (0, "")
    assert "evalkit_random" in shown.out
    assert "evalkit_majority" in shown.out
