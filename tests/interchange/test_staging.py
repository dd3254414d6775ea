"""An import is there as a whole, or not at all: also when it fails, is killed, or another runs beside it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.errors import StoreError
from evalkit.interchange.helm_import import read_helm_run
from evalkit.interchange.import_writer import keep_run, keep_runs
from evalkit.interchange.lm_eval_import import read_lm_eval
from evalkit.interchange.staging import staging
from evalkit.results.run_directory import RunDirectory, find_runs
from tests.interchange.harnesses import helm_stat, helm_state, lm_eval_choice, write_helm_run, write_lm_eval

CONFIG = {"output_type": "multiple_choice", "test_split": "test"}
KILLED = """
import importlib, os, signal, sys
from pathlib import Path
from evalkit.interchange import import_writer
from evalkit.interchange.helm_import import read_helm_run
from evalkit.plugins import load_builtins
load_builtins()
setattr(import_writer, sys.argv[3], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
import_writer.keep_run(read_helm_run(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def helm_run(folder: Path, num: int = 2) -> Path:
    states = [helm_state(f"id{i}", f"{i}?", "a", "a") for i in range(num)]
    return write_helm_run(folder, states, {("id0", 0): {"exact_match": 1.0}}, [helm_stat("exact_match", 1.0)])


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_of_several_runs_of_a_file_one_of_which_is_damaged_none_is_kept(tmp_path: Path) -> None:
    lines = [lm_eval_choice(i, "?", 0, [-0.2, -0.9]) for i in range(3)]
    path = write_lm_eval(
        tmp_path / "in",
        {name: {"acc,none": 1.0} for name in ("one", "two")},
        {name: CONFIG for name in ("one", "two")},
        {"one": lines, "two": [*lines, {"doc_id": 3}]},
    )
    with pytest.raises(StoreError, match=r"samples_two_.*:4: arguments"):
        keep_runs(read_lm_eval(path), tmp_path / "out" / "runs" / "s")
    assert not (tmp_path / "out").exists()


def test_what_was_in_the_suite_stays_when_an_import_fails(tmp_path: Path) -> None:
    suite = tmp_path / "runs" / "s"
    keep_run(read_helm_run(helm_run(tmp_path / "in")), suite)
    before = everything(suite)
    other = read_helm_run(helm_run(tmp_path / "other", 3))
    other.instances.append(other.instances[0])
    with pytest.raises(Exception, match="two instances have the id 'id0'"):
        keep_run(other, suite)
    assert everything(suite) == before


@pytest.mark.parametrize("moment", ["_write_run", "carry_numbers", "reseal", "_moved"])
def test_what_a_killed_import_leaves_is_hidden_and_removed_by_the_next(tmp_path: Path, moment: str) -> None:
    path, suite = helm_run(tmp_path / "in"), tmp_path / "out" / "runs" / "s"
    done = subprocess.run([sys.executable, "-c", KILLED, path, suite, moment], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [each.name for each in suite.iterdir()] == [".importing"]
    with pytest.raises(Exception, match="no runs in"):
        find_runs(tmp_path / "out")
    kept = keep_run(read_helm_run(path), suite)
    assert not kept.already_there
    assert [each.name for each in suite.iterdir()] == [kept.path.name]


def test_several_imports_into_one_suite_at_once_all_succeed(tmp_path: Path) -> None:
    sources = [helm_run(tmp_path / f"{num}", num).parents[1] for num in (1, 2, 2, 3)]
    command = [sys.executable, "-c", "from evalkit.cli import main; main()", "import", "helm"]
    started = [
        subprocess.Popen(
            [*command, source, "-o", tmp_path / "out", "--suite", "s"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for source in sources
    ]
    said = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0, 0], said
    runs = find_runs(tmp_path / "out")
    # Two of the four are the same; one of the three has the plain name.
    assert len(runs) == 3
    assert sum("already imported" in text for text in said) == 1
    assert sum("@" in run.path.name for run in runs) == 2
    assert sorted(len(run.instances()) for run in runs) == [1, 2, 3]
    assert not [each for each in runs[0].path.parent.iterdir() if each.name.startswith(".")]


def test_one_import_after_the_other_has_the_folder_for_itself(tmp_path: Path) -> None:
    suite = tmp_path / "a" / "b"
    for _ in range(2):
        with staging(suite) as folder:
            assert everything(folder) == []
            (folder / "x").mkdir()
        assert everything(tmp_path) == []


def test_a_suite_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    run = read_helm_run(helm_run(tmp_path / "in"))
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "s", Path("/proc/none/s")):
        with pytest.raises(StoreError, match="can't write"):
            keep_run(run, place)
    (tmp_path / "s" / ".importing").mkdir(parents=True)
    (tmp_path / "s" / ".importing" / "lock").symlink_to(tmp_path / "no" / "where")
    with pytest.raises(StoreError, match="can't write"):
        keep_run(run, tmp_path / "s")


@pytest.mark.parametrize("lost", ["manifest.json", "stats.json", "scores.jsonl", "journal.jsonl"])
def test_a_damaged_import_is_set_aside_and_made_anew(tmp_path: Path, lost: str) -> None:
    run, suite = read_helm_run(helm_run(tmp_path / "in")), tmp_path / "runs" / "s"
    kept = keep_run(run, suite)
    assert keep_run(read_helm_run(helm_run(tmp_path / "in")), suite).already_there
    (kept.path / lost).unlink()
    again = keep_run(read_helm_run(helm_run(tmp_path / "in")), suite)
    assert (again.already_there, again.path) == (False, kept.path)
    assert (again.path / lost).exists()
    assert "what was there is set aside as" in again.notes[-1]
    (aside,) = (suite / ".replaced").iterdir()
    assert not (aside / lost).exists()


def test_half_a_folder_of_an_earlier_version_does_not_stand_in_the_way(tmp_path: Path) -> None:
    run, suite = read_helm_run(helm_run(tmp_path / "in")), tmp_path / "runs" / "s"
    kept = keep_run(run, suite)
    manifest = json.loads((kept.path / "manifest.json").read_text())
    for name in ("stats.json", "scores.jsonl"):
        (kept.path / name).unlink()
    (kept.path / "manifest.json").write_text(json.dumps({**manifest, "files": {}, "status": "running"}))
    again = keep_run(read_helm_run(helm_run(tmp_path / "in")), suite)
    assert RunDirectory(again.path).stats()
    assert again.path == kept.path
    shutil.rmtree(tmp_path / "runs")
