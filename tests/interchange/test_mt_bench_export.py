"""Runs of conversations as FastChat's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import evalkit
from evalkit.data.fastchat import read_answers, read_questions
from evalkit.errors import DamageError
from evalkit.interchange.import_writer import keep_runs
from evalkit.interchange.mt_bench_export import export_mt_bench
from evalkit.interchange.mt_bench_import import MtBenchFiles, find_judgement_files, read_mt_bench
from evalkit.results.run_directory import RunDirectory, find_runs
from evalkit.results.stored_run import StoredRun
from tests.interchange.test_mt_bench_import import FULL, bench, judged
from tests.scenarios.mt_bench_files import QUESTIONS, write_lines


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ran(tmp_path: Path, arguments: str = "") -> RunDirectory:
    questions = write_lines(tmp_path / "own/question.jsonl", QUESTIONS)
    evalkit.run(
        run_entries=[f"mt_bench_en:questions={questions},model=simple/model1{arguments}"],
        output_path=tmp_path / "out",
    )
    (directory,) = find_runs(tmp_path / "out")
    return directory


def imported(folder: Path, suite: Path) -> RunDirectory:
    (report,) = keep_runs(read_mt_bench(MtBenchFiles(tuple(find_judgement_files(folder)))), suite)
    return RunDirectory(report.path)


def test_questions_and_answers_as_fastchat_has_them(tmp_path: Path) -> None:
    exported = export_mt_bench(ran(tmp_path, ",choices=2"), tmp_path / "fastchat")
    assert exported.answers == tmp_path / "fastchat/mt_bench_en/model_answer/simple--model1.jsonl"
    assert (exported.num_questions, exported.num_left_out, exported.num_judgements) == (4, 0, 0)
    first, second, *_ = rows(exported.answers)
    assert list(first) == ["question_id", "answer_id", "model_id", "choices", "tstamp"]
    assert (first["question_id"], second["question_id"], first["model_id"]) == (1, 2, "simple--model1")
    assert [(choice["index"], len(choice["turns"])) for choice in first["choices"]] == [(0, 2), (1, 2)]
    assert first["answer_id"] != second["answer_id"]
    assert first["tstamp"] > 1.6e9
    asked = read_questions(exported.answers.parents[1] / "question.jsonl")
    assert [(q.id, q.category, list(q.turns)) for q in asked] == [
        (str(int(row["question_id"])), row["category"], row["turns"]) for row in QUESTIONS
    ]
    assert read_answers(exported.answers)["1"] == tuple(first["choices"][0]["turns"])


def test_an_export_can_be_repeated(tmp_path: Path) -> None:
    directory = ran(tmp_path)
    before = export_mt_bench(directory, tmp_path / "fastchat").answers.read_bytes()
    assert export_mt_bench(directory, tmp_path / "fastchat").answers.read_bytes() == before


def test_what_was_imported_comes_back(tmp_path: Path) -> None:
    """Judgements keep their order, repeated ones too."""
    given = [*FULL, judged(1, -1), judged(1, 7)]
    directory = imported(bench(tmp_path, given), tmp_path / "runs")
    exported = export_mt_bench(directory, tmp_path / "fastchat")
    assert (exported.num_judgements, exported.num_unrated) == (10, 1)
    folder = tmp_path / "fastchat/japanese_mt_bench"
    back = rows(folder / "model_judgment/j_single.jsonl")

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return (int(row["question_id"]), row["turn"], row["score"], row["judgment"], row["user_prompt"])

    assert sorted(map(key, back)) == sorted((int(row["question_id"]), *key(row)[1:]) for row in given)
    again = imported(folder, tmp_path / "more")
    names = ("rating_turn_1", "rating_turn_2", "rating_mean_of_items", "rating_mean_of_rows")
    stored = [StoredRun.open(each.path) for each in (directory, again)]
    means = [[run.stat(name).mean for name in names] for run in stored]
    assert means[0] == means[1]
    assert read_questions(folder / "question.jsonl")[0].turns == ("Reverse a list.", "Now in place.")


def test_the_judgements_of_other_models_stay(tmp_path: Path) -> None:
    for model, score in (("m", 3), ("n", 4), ("m", 5)):
        folder = bench(tmp_path / f"{model}{score}", [judged(1, score, model=model)])
        export_mt_bench(imported(folder, tmp_path / f"runs{score}"), tmp_path / "fastchat")
    back = rows(tmp_path / "fastchat/japanese_mt_bench/model_judgment/j_single.jsonl")
    assert [(row["model"], row["score"]) for row in back] == [("n", 4), ("m", 5)]


def test_a_damaged_run_is_not_exported(tmp_path: Path) -> None:
    directory = ran(tmp_path)
    directory.instances_path.write_text("", encoding="utf-8")
    with pytest.raises(DamageError):
        export_mt_bench(directory, tmp_path / "fastchat")


def test_a_run_without_conversations(tmp_path: Path) -> None:
    evalkit.run(
        run_entries=["dyck_language:num_parenthesis_pairs=2,model=evalkit/echo"],
        output_path=tmp_path / "out",
        max_eval_instances=2,
    )
    (directory,) = find_runs(tmp_path / "out")
    exported = export_mt_bench(directory, tmp_path / "fastchat")
    assert [len(row["choices"][0]["turns"]) for row in rows(exported.answers)] == [1, 1]
