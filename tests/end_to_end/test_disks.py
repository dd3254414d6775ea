"""Disks that are full or can only be read: what is there is shown, and what is wrong is said in words."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.execution.journal_index import scan_journal
from tests.end_to_end.conftest import Serve
from tests.end_to_end.workspace import COMMAND, Finished, Workspace, contents

ENTRY = "arithmetic:num_test=300,model=test/a"
RUN = ("run", "-r", ENTRY, "-q")
LOCAL = ("run", "-r", "arithmetic:num_test=60,model=evalkit/echo", "-q", "-m", "60")


def has_own_mounts() -> bool:
    """Whether this process may make mounts of its own, in a namespace that ends with it."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        words = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


needs_mounts = pytest.mark.skipif(not has_own_mounts(), reason="needs mounts in a namespace of its own")


def with_mount(workspace: Workspace, mount: str, *arguments: str) -> Finished:
    """Run the command where a mount was made before; what it leaves on a mount of its own is copied out."""
    words = shlex.join([str(COMMAND), *arguments])
    script = f"{mount} && {words}; code=$?; cp -r benchmark_output kept 2>/dev/null; exit $code"
    return workspace.finish(workspace.start_program(["unshare", "-rm", "sh", "-c", script]))


READ_ONLY = "mount --bind benchmark_output benchmark_output && mount -o remount,ro,bind benchmark_output"


@needs_mounts
def test_a_complete_run_on_a_read_only_disk_is_shown(workspace: Workspace) -> None:
    first = workspace.evalkit(*LOCAL)
    assert first.code == 0, first.err
    before = contents(workspace.suite())
    shown = with_mount(workspace, READ_ONLY, *LOCAL)
    assert shown.code == 0, shown.err
    assert shown.out == first.out
    assert "shown as it is" in shown.err
    assert contents(workspace.suite()) == before
    assert with_mount(workspace, READ_ONLY, "verify", "benchmark_output").code == 0
    summary = with_mount(workspace, READ_ONLY, "summarize")
    assert summary.code == 0, summary.err


@needs_mounts
@pytest.mark.parametrize("what", ["damaged", "incomplete", "another"])
def test_what_must_be_written_on_a_read_only_disk_is_refused_in_words(
    workspace: Workspace, what: str
) -> None:
    assert workspace.evalkit(*LOCAL).code == 0
    directory = workspace.run()
    arguments = LOCAL
    if what == "damaged":
        raw = directory.journal_path.read_bytes()
        directory.journal_path.write_bytes(raw.replace(b"stop", b"stap", 1))
    elif what == "incomplete":
        manifest = directory.path / "manifest.json"
        manifest.write_bytes(manifest.read_bytes().replace(b'"complete"', b'"partial"'))
    else:
        arguments = (*LOCAL[:-1], "30")
    refused = with_mount(workspace, READ_ONLY, *arguments)
    assert refused.code == 3
    said = (refused.err + refused.out).lower()
    assert "read-only" in said or "the disk is read-only" in said
    assert "errno" not in said
    assert "traceback" not in said


@needs_mounts
def test_a_run_on_a_full_disk_says_so_and_so_does_its_manifest(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    workspace.deploy("test/a", server.url)
    mount = "mkdir -p benchmark_output && mount -t tmpfs -o size=72k tmpfs benchmark_output"
    ended = with_mount(workspace, mount, *RUN)
    assert ended.code == 3
    assert "no space left" in (ended.err + ended.out).lower()
    assert "Traceback" not in ended.err
    (path,) = (workspace.path / "kept").glob("runs/*/*/manifest.json")
    manifest = json.loads(path.read_text())
    assert manifest["status"] == "error"
    assert "No space left" in manifest["message"]

    # With room again it goes on, and nothing is asked twice.
    num_kept = len(scan_journal(path.with_name("journal.jsonl")).answered)
    assert num_kept > 10
    (workspace.path / "kept").rename(workspace.path / "again")
    num_before = server.num_answered
    resumed = workspace.evalkit(*RUN, "-o", "again")
    assert resumed.code == 0, resumed.err
    assert server.num_answered - num_before == 300 - num_kept
    assert workspace.evalkit("verify", "again").code == 0


@pytest.mark.parametrize("command", ["run", "plan", "summarize", "verify", "score", "export", "import"])
def test_a_path_that_goes_through_a_file_is_said_in_words(workspace: Workspace, command: str) -> None:
    (workspace.path / "file").write_text("x")
    assert workspace.evalkit(*LOCAL).code == 0
    through = Path("file") / "out"
    arguments: dict[str, tuple[object, ...]] = {
        "run": (*LOCAL, "-o", through),
        "plan": ("plan", "-r", LOCAL[2], "-o", through),
        "summarize": ("summarize", through),
        "verify": ("verify", through),
        "score": ("score", through),
        "export": ("export", "helm", "benchmark_output", "-o", through),
        "import": ("import", "helm", through),
    }
    ended = workspace.evalkit(*arguments[command])
    assert ended.code in ((0,) if command == "plan" else (2, 3)), ended
    said = ended.err + ended.out
    assert "Traceback" not in said
    assert "Errno" not in said
    assert "Error:" not in said.replace("error:", "")
