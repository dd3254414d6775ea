"""A run folder that was copied within its suite counts once, and both folders are named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Call

RUN = ("run", "-r", "simple_mcqa", "arithmetic", "--models-to-run", "evalkit/majority", "-m", 8, "-q")


@pytest.fixture
def suite(call: Call) -> Path:
    assert call(*RUN, "-o", "out", "--suite", "s").code == 0
    return Path("out/runs/s")


def folder(suite: Path, start: str) -> Path:
    (found,) = suite.glob(f"{start}*")
    return found


def runs_of(rows: str) -> set[str]:
    return {row["run"] for row in json.loads(rows)}


@pytest.mark.parametrize("name", ["copy", "simple_mcqa (1)", "a:model=zzz", "zzz", "old/simple_mcqa"])
def test_a_copied_run_counts_once_and_both_folders_are_named(call: Call, suite: Path, name: str) -> None:
    original = folder(suite, "simple_mcqa")
    before = {form: call("summarize", suite, *form) for form in ((), ("--groups",), ("--efficiency",))}
    shutil.copytree(original, suite / name)
    note = f"{name} and {original.name} in s are the same run"
    for form, called in before.items():
        now = call("summarize", suite, *form)
        assert (now.code, now.out) == (called.code, called.out)
        assert note in now.err
        assert f"it counts once, as {original.name}" in now.err
    called = call("summarize", suite, "--json")
    assert runs_of(called.out) == {path.name for path in (original, folder(suite, "arithmetic"))}
    assert note in called.err


def test_the_export_writes_it_once(call: Call, suite: Path) -> None:
    original = folder(suite, "arithmetic")
    shutil.copytree(original, suite / "copy")
    called = call("export", "helm", suite, "-o", "helm")
    assert called.code == 0
    assert f"copy and {original.name} in s are the same run" in called.err
    assert "wrote 2 runs" in called.out
    assert not (Path("helm/runs/s") / "copy").exists()


def test_scoring_reaches_both_and_counts_one(call: Call, suite: Path) -> None:
    original = folder(suite, "arithmetic")
    shutil.copytree(original, suite / "copy")
    (suite / "copy" / "scores.jsonl").unlink()
    called = call("score", suite, "--json")
    assert (suite / "copy" / "scores.jsonl").exists()
    assert "copy" not in runs_of(called.out)
    assert f"copy and {original.name} in s are the same run" in called.err


def test_many_copies_are_one_short_note(call: Call, suite: Path) -> None:
    original = folder(suite, "arithmetic")
    for number in range(8):
        shutil.copytree(original, suite / f"copy{number}")
    called = call("verify", suite)
    assert called.code == 0
    assert (
        f"copy0, copy1, copy2, copy3, copy4, 3 more and {original.name} in s are the same run" in called.err
    )
    assert called.err.count("the same run") == 1


def test_a_sound_copy_counts_for_a_damaged_original(call: Call, suite: Path) -> None:
    original = folder(suite, "arithmetic")
    shutil.copytree(original, suite / "copy")
    with (original / "stats.json").open("a") as file:
        file.write(" ")
    called = call("summarize", suite, "--json")
    assert called.code == 0
    assert "copy" in runs_of(called.out)
    assert "it counts once, as copy" in called.err


def test_a_renamed_run_and_the_same_run_of_another_suite_count(call: Call, suite: Path) -> None:
    folder(suite, "arithmetic").rename(suite / "renamed")
    shutil.copytree(suite, "out/runs/other")
    called = call("summarize", "-o", "out", "--json")
    rows = json.loads(called.out)
    assert {(row["suite"], row["run"]) for row in rows} >= {("s", "renamed"), ("other", "renamed")}
    assert "same run" not in called.err
