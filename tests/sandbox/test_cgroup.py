"""Limits for a group of processes: on the machine's own control groups, and on others' layout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from evalkit.sandbox import cgroup
from evalkit.sandbox.cgroup import ControlGroup
from evalkit.sandbox.execute import run_program
from evalkit.sandbox.process import SandboxProcess
from evalkit.sandbox.program import Program

MEMORY_BYTES = 256 << 20


@pytest.fixture
def parents() -> tuple[Path, ...]:
    """Groups of this machine, below which others can be made."""
    cgroup._parents.cache_clear()
    if not (found := cgroup._parents()):
        pytest.skip("no control group can be made here")
    return found


def test_all_processes_of_a_group_share_its_memory(parents: tuple[Path, ...]) -> None:
    """Three children of 128 MiB each do not fit into 256."""
    program = """
import os, signal, sys
sys.stdin.readline()
children = []
for _ in range(3):
    read, write = os.pipe()
    children.append(os.fork())
    if children[-1] == 0:
        held = b"x" * (128 << 20)
        os.write(write, b"x")
        signal.pause()
    os.close(write)
    os.read(read, 1)
living = [child for child in children if os.waitpid(child, os.WNOHANG)[0] == 0]
print(len(living), flush=True)
os.killpg(0, 9)
"""
    limits = ControlGroup(MEMORY_BYTES, 50)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        limits.add(process.pid)
        out, _ = process.communicate("go\n")
        assert out.strip() != "3"
    finally:
        process.kill()
        process.wait()
        limits.remove()


def test_a_sandbox_is_in_a_group_and_leaves_none(
    parents: tuple[Path, ...], sandbox: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    members: list[str] = []
    report = SandboxProcess.report

    def watched(self: Any, timeout_s: float) -> str | None:
        members.extend(Path(f"/proc/{self._first_id}/cgroup").read_text(encoding="ascii").splitlines())
        return report(self, timeout_s)

    monkeypatch.setattr(SandboxProcess, "report", watched)
    assert run_program(Program("pass")).has_passed
    own = {name for line in members if (name := line.rpartition("/")[2]).startswith("evalkit-")}
    assert own
    assert not [parent / name for parent in parents for name in own if (parent / name).exists()]


def test_what_a_killed_evalkit_left_is_removed_later(
    parents: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = parents[0] / f"test-{uuid4().hex}"  # others work beside it
    left = place / "evalkit-left"
    place.mkdir()
    left.mkdir()
    try:
        cgroup._remove_old(place)
        assert left.exists()
        monkeypatch.setattr(cgroup, "_LEFT_AFTER_S", 0.0)
        cgroup._remove_old(place)
        assert not left.exists()
    finally:
        if left.exists():
            left.rmdir()
        place.rmdir()


@pytest.mark.parametrize(
    ("membership", "at"),
    [
        ("0::/user.slice/session", "user.slice"),
        ("4:memory:/docker/1\n8:pids:/docker/1\n0::/", "memory/docker/1"),
        ("5:devices:/x\nnot a line", None),
        ("0::/../../etc", None),
    ],
)
def test_where_groups_are_made(
    membership: str, at: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In version 2, beside the own cgroup, whose processes keep it from having limits below."""
    if at is not None:
        (tmp_path / at).mkdir(parents=True)
        (tmp_path / at / "cgroup.procs").touch()
    (tmp_path / "membership").write_text(membership)
    made = Path.mkdir

    def mkdir(self: Path) -> None:
        made(self)
        if at is not None and self.parent == tmp_path / at:
            (self / "memory.max").touch()

    def rmdir(self: Path) -> None:
        for file in self.iterdir():
            file.unlink()

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(Path, "rmdir", rmdir)
    monkeypatch.setattr(cgroup, "_ROOT", tmp_path)
    monkeypatch.setattr(cgroup, "_MEMBERSHIP", tmp_path / "membership")
    cgroup._parents.cache_clear()
    try:
        assert cgroup._parents() == (() if at is None else (tmp_path / at,))
    finally:
        cgroup._parents.cache_clear()
