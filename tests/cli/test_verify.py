"""`evalkit verify`: what it says of runs in every state, and what it leaves alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.cli.progress import CheckProgress
from evalkit.execution.lock import RunLock
from evalkit.results.run_directory import RunDirectory
from tests.cli.conftest import Call
from tests.old_format import made_old

RUN = ("run", "-r", "simple_mcqa:model=evalkit/random", "-m", 9, "-o", "out", "--quiet")
FOLDER = Path("out/runs/default/simple_mcqa:model=evalkit_random")


@pytest.fixture
def directory(call: Call, in_an_empty_directory: None) -> RunDirectory:
    """A complete run."""
    assert call(*RUN).code == 0
    return RunDirectory(FOLDER)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def killed(directory: RunDirectory, num_lines: int, rest: bytes = b"") -> None:
    """As a kill leaves a run: some lines, and perhaps a part of one."""
    lines = directory.journal_path.read_bytes().splitlines(keepends=True)
    directory.journal_path.write_bytes(b"".join(lines[:num_lines]) + rest)
    manifest = directory.manifest()
    assert manifest is not None
    counts = {**manifest.counts, "num_answered": 0}
    files = {
        name: left for name, left in manifest.files.items() if name in ("run_spec.json", "instances.jsonl")
    }
    directory.write_manifest(replace(manifest, status="running", counts=counts, files=files))
    directory.scores_path.unlink()
    (directory.path / "stats.json").unlink()


@pytest.mark.parametrize("path", ["out", "out/runs", "out/runs/default", FOLDER])
def test_a_sound_run_is_one_line_and_nothing_is_touched(
    directory: RunDirectory, call: Call, path: str | Path
) -> None:
    before = bytes_of(Path("out"))
    for flags in ((), ("--repair",)):
        assert call("verify", path, *flags) == (0, "1 run: 1 sound\n", "")
    assert bytes_of(Path("out")) == before


def test_json_has_every_finding(directory: RunDirectory, call: Call) -> None:
    (directory.path / "stats.json").unlink()
    called = call("verify", "out", "--json")
    assert called.code == 1
    (report,) = json.loads(called.out)
    assert report == {
        "suite": "default",
        "run": FOLDER.name,
        "path": str(FOLDER),
        "is_sound": False,
        "status": "complete",
        "in_use_by": None,
        "num_answered": 9,
        "num_owed": 0,
        "findings": [
            {
                "file": "stats.json",
                "problem": "is missing",
                "remedy": "repair",
                "offset": None,
                "length": None,
                "is_damage": True,
            }
        ],
        "repaired": [],
    }


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_a_path_without_runs_is_a_mistake(call: Call, path: str) -> None:
    called = call("verify", path)
    assert called.code == 2
    assert called.err.startswith("error: ")


def test_an_interrupted_run_is_sound_and_what_it_owes_is_said(directory: RunDirectory, call: Call) -> None:
    killed(directory, num_lines=5, rest=b'{"key":"t0/id7","inst')
    called = call("verify", "out")
    assert called.code == 0
    assert "the last line is incomplete, as a kill leaves it" in called.out
    assert called.out.endswith("1 run: 1 sound; 5 requests are owed\n")
    assert call(*RUN).code == 0
    assert call("verify", "out").out == "1 run: 1 sound\n"


def test_a_run_in_progress_is_said_to_be_one(directory: RunDirectory, call: Call) -> None:
    killed(directory, num_lines=5, rest=b'{"key":"t0/id7","inst')
    with RunLock(directory.lock_path):
        before = bytes_of(Path("out"))
        for flags in ((), ("--repair",)):
            called = call("verify", "out", *flags)
            assert called.code == 0
            assert "in use by process" in called.out
            assert "incomplete" not in called.out, "its last line is just being written"
            assert bytes_of(Path("out")) == before
    assert "in use" not in call("verify", "out").out


def test_a_damaged_line_of_a_run_in_progress_is_told(directory: RunDirectory, call: Call) -> None:
    raw = bytearray(directory.journal_path.read_bytes())
    raw[-40] ^= 1
    directory.journal_path.write_bytes(raw)
    with RunLock(directory.lock_path):
        called = call("verify", "out")
    assert called.code == 1
    assert "its checksum is wrong" in called.out


def test_what_a_kill_leaves_beside_is_removed_but_never_answers(directory: RunDirectory, call: Call) -> None:
    path = directory.path
    for name in (".stats.json.4711", ".scores.jsonl.4711", ".manifest.json.1", "journal.part"):
        (path / name).write_bytes(b"half")
    (path / "notes.txt").write_text("mine")
    whole = directory.journal_path.read_bytes()
    copies = ("journal.jsonl.4711", ".journal.jsonl.4712")
    for name in copies:
        (path / name).write_bytes(whole)

    called = call("verify", "out")
    assert called.code == 0, called.out
    assert called.out.count("left behind by a kill") == 4
    assert called.out.count("a copy of a journal with no answers that journal.jsonl lacks") == 2
    assert "notes.txt" not in called.out
    assert call("verify", "out", "--repair").code == 0
    left = {file.name for file in path.iterdir()}
    assert left >= {"notes.txt", *copies}
    assert not any(name.startswith(".stats") or name.endswith(".part") for name in left)

    directory.journal_path.write_bytes(b"".join(whole.splitlines(keepends=True)[:5]))
    called = call("verify", "out", "--repair")
    assert called.code == 1
    assert "a copy of a journal with 5 answers that journal.jsonl lacks" in called.out
    assert (path / copies[0]).read_bytes() == whole


def test_a_run_with_hardly_a_file_left_is_found(directory: RunDirectory, call: Call) -> None:
    for name in ("manifest.json", "journal.jsonl", "run_spec.json", "instances.jsonl"):
        (directory.path / name).unlink()
    called = call("verify", "out", "--repair")
    assert called.code == 1
    for name in ("manifest.json", "journal.jsonl", "run_spec.json", "instances.jsonl"):
        assert name in called.out


def test_a_run_of_the_version_before_is_read_and_its_limits_are_said(
    directory: RunDirectory, call: Call
) -> None:
    made_old(directory)
    called = call("verify", "out")
    assert called.code == 0
    assert "begun by evalkit 0.1" in called.out
    before = directory.journal_path.read_bytes()
    assert call("verify", "out", "--repair").code == 0
    assert directory.journal_path.read_bytes() == before


@pytest.mark.parametrize("name", ["manifest.json", "journal.jsonl"])
def test_a_newer_format_is_left_alone(directory: RunDirectory, call: Call, name: str) -> None:
    path = directory.path / name
    if name == "manifest.json":
        manifest = directory.manifest()
        assert manifest is not None
        directory.write_manifest(replace(manifest, format=9))
    else:
        path.write_bytes(b'{"evalkit_journal":9}\n')
    before = bytes_of(Path("out"))
    for flags in ((), ("--repair",)):
        called = call("verify", "out", *flags)
        assert called.code == 1
        assert "newer evalkit" in called.out
    changed = {name for name, content in bytes_of(Path("out")).items() if before.get(name) != content}
    assert path.read_bytes() == before[str(path)]
    assert {Path(name).name for name in changed} <= {"manifest.json", "run.lock"}


def test_a_metric_that_is_not_there_is_said(directory: RunDirectory, call: Call) -> None:
    for name in ("run_spec.json", "manifest.json"):
        path = directory.path / name
        path.write_text(path.read_text().replace('"exact_match"', '"of_a_plugin"'))
    (directory.path / "stats.json").unlink()
    called = call("verify", "out", "--repair")
    assert called.code == 1
    assert "Traceback" not in called.err
    assert "name the plugin with --plugin" in " ".join(called.out.split())


def test_many_runs_are_counted(directory: RunDirectory, call: Call) -> None:
    for number in range(12):
        shutil.copytree(directory.path, directory.path.with_name(f"copy{number}"))
    (directory.path.with_name("copy3") / "scores.jsonl").unlink()
    called = call("verify", "out")
    assert called.code == 1
    assert called.out.endswith("13 runs: 12 sound, 1 damaged\n")
    assert called.out.count("copy") == 1


def test_thousands_of_damaged_lines_are_not_all_shown(directory: RunDirectory, call: Call) -> None:
    raw = directory.journal_path.read_bytes().splitlines(keepends=True)
    directory.journal_path.write_bytes(raw[0] + b"".join(line[:-3] + b"x\n" for line in raw[1:] * 300))
    called = call("verify", "out")
    assert called.out.count("\n") < 20
    assert "more" in called.out
    (report,) = json.loads(call("verify", "out", "--json").out)
    assert sum(finding["offset"] is not None for finding in report["findings"]) == 9 * 300


def test_progress_is_told_where_it_takes_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [0.0]
    monkeypatch.setattr("evalkit.cli.progress.time.monotonic", lambda: now_s[0])
    progress = CheckProgress(1000)
    for number in range(1000):
        progress(number)
        now_s[0] += 0.02
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("looked at ") and line.endswith(" of 1,000 runs") for line in lines)
