from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.errors import StoreError
from evalkit.execution.lock import RunLock

_HOLD = """
import sys
from pathlib import Path
from evalkit.execution.lock import RunLock
with RunLock(Path(sys.argv[1])):
    sys.stdout.write("held\\n")
    sys.stdout.flush()
    sys.stdin.read()
"""


def test_a_second_process_is_told_who_holds_it_and_kill_9_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with (
            pytest.raises(StoreError, match=rf"is in use by process {child.pid} on .+ since \d{{4}}-"),
            RunLock(path),
        ):
            pass
        child.kill()
        child.wait()
    with RunLock(path):
        assert str(os.getpid()) in path.read_text()
    assert path.read_text() == ""


def test_two_locks_in_one_process_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with RunLock(path), pytest.raises(StoreError, match=f"process {os.getpid()}"), RunLock(path):
        pass
    with RunLock(path):
        pass


def test_a_lock_is_not_taken_twice_but_can_be_used_again(tmp_path: Path) -> None:
    lock = RunLock(tmp_path / "run.lock")
    with lock, pytest.raises(StoreError, match="already locked"):
        lock.__enter__()
    with lock:
        pass


def test_an_empty_lock_file_of_a_holder_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with RunLock(path):
        path.write_text("")
        with pytest.raises(StoreError, match="in use by another process"), RunLock(path):
            pass


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can't open the lock file"), RunLock(tmp_path / "none" / "run.lock"):
        pass
