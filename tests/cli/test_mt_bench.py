"""MT-Bench from the command line: runs, imports, exports, tables and charts."""

from __future__ import annotations

import csv
import importlib
import io
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.interchange.test_mt_bench_import import FULL, bench, judged
from tests.scenarios.mt_bench_files import QUESTIONS, write_lines


@pytest.fixture(autouse=True)
def known() -> None:
    importlib.import_module("evalkit.metrics.mt_bench")
    importlib.import_module("evalkit.leaderboards.shipped")


def test_shots_have_no_effect_and_a_note_says_so(call: Call, tmp_path: Path) -> None:
    """It runs, and is the run without them."""
    write_lines(tmp_path / "question.jsonl", QUESTIONS)
    entry = "mt_bench_ja:questions=./question.jsonl,model=evalkit/echo"
    called = call("run", "-r", f"{entry},shots=4", "-o", "out")
    assert called.code == 0, called.err
    assert "note: shots=4 has no effect: mt_bench_ja has no few-shot examples" in called.err
    assert "8/8 done" in called.err + called.out
    again = call("run", "-r", entry, "-o", "out", "-q")
    assert again.code == 0
    assert len(list((tmp_path / "out/runs/default").iterdir())) == 1


def test_answers_are_exported_as_references(call: Call, tmp_path: Path) -> None:
    write_lines(tmp_path / "question.jsonl", QUESTIONS)
    call("run", "-r", "mt_bench_en:questions=./question.jsonl,model=simple/model1", "-o", "out", "-q")
    called = call("export", "mt-bench", "out", "-o", "fastchat")
    assert called.code == 0, called.err
    path = "fastchat/mt_bench_en/model_answer/simple--model1.jsonl"
    assert f"wrote {path}: answers to 4 questions" in called.out
    planned = call(
        "plan",
        "-r",
        f"mt_bench_en:questions=./question.jsonl,references=./{path},judge_prompts=evalkit,"
        "model=simple/model1,judge=evalkit/echo",
    )
    assert planned.code == 0, planned.err


def test_what_an_import_says(call: Call, tmp_path: Path) -> None:
    folder = bench(tmp_path, [*FULL, judged(3, 2)])
    called = call("import", "mt-bench", folder, "-o", "out")
    assert called.code == 0, called.err
    assert "computed anew: mt_bench_ratings" in called.out
    assert "note: 9 judgements of 8 items, several of 3 (turn 1)" in called.out
    assert "imported 1 run to out/runs/mt_bench" in called.out
    table = call("summarize", "out", "--csv").out
    assert "rating_mean_of_rows" in table
    assert "already imported" in call("import", "mt-bench", folder, "-o", "out").out


def test_one_that_can_not_be_read_ends_with_one_line(call: Call, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "j_single.jsonl", [judged(1, 3, model="")])
    called = call("import", "mt-bench", path, "-o", "out")
    assert (called.code, called.err.count("\n")) == (3, 1)
    assert "j_single.jsonl:1 is not as FastChat writes it: model" in called.err


def test_the_leaderboard_of_the_published_judgements(call: Call, data_dir: Path, tmp_path: Path) -> None:
    """Both means; no second turn was judged. And the radar chart has an axis for each category."""
    call("import", "mt-bench", data_dir / "japanese_mt_bench", "-o", "out")
    called = call(
        *("leaderboard", "mt_bench", "-o", "out", "--format", "csv", "--wide", "--radar", "radar.svg")
    )
    assert called.code == 0, called.err
    rows = {row["model_name"]: row for row in csv.DictReader(io.StringIO(called.out))}
    row = rows["jslma-7b-ja-orca-11k-50ep"]
    assert [float(row[name]) for name in ("mean_of_categories", "mean_of_items", "turn_1")] == [4.1625] * 3
    assert (float(row["writing"]), row["turn_2"]) == (7, "")
    chart = (tmp_path / "radar.svg").read_text(encoding="utf-8")
    assert all(f">{name}<" in chart for name in ("coding", "roleplay", "jslma-7b-ja-orca-11k-50ep"))
