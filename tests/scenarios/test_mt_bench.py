from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from evalkit.data import DataStore
from evalkit.data.fastchat import question_id, read_answers, read_questions
from evalkit.errors import DataError, UsageError
from evalkit.instance import Instance
from evalkit.scenarios.mt_bench import MtBenchScenario
from tests.scenarios.mt_bench_files import QUESTIONS, answer_row, write_lines


def made(mirror: Path, tmp_path: Path, **args: Any) -> list[Instance]:
    scenario = MtBenchScenario(**args)
    return list(scenario.instances(DataStore(mirror=mirror, cache=tmp_path / "cache", offline=True)))


def own(tmp_path: Path, **args: Any) -> list[Instance]:
    path = write_lines(tmp_path / "own/question.jsonl", QUESTIONS)
    return made(tmp_path, tmp_path, questions=str(path), **args)


def test_a_question_is_a_conversation_in_its_category(tmp_path: Path) -> None:
    first, second, *_ = own(tmp_path)
    assert (first.id, first.sub_split, first.input) == ("1", "coding", "Reverse a list.")
    assert (first.extra or {})["follow_ups"] == ["Now in place."]
    assert second.id == "2"


def test_a_file_below_the_data_directory(tmp_path: Path) -> None:
    write_lines(tmp_path / "own/question.jsonl", QUESTIONS)
    assert len(made(tmp_path, tmp_path, questions="own/question.jsonl")) == 4


def test_a_part_of_the_questions(tmp_path: Path) -> None:
    assert [i.id for i in own(tmp_path, question_begin=1, question_end=3)] == ["2", "3"]
    assert [i.id for i in own(tmp_path, testmode=True)] == ["1", "3", "4"]
    with pytest.raises(DataError, match="no question from 4 to None"):
        own(tmp_path, question_begin=4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"turns": []}, "needs 1 or 2 texts"),
        ({"turns": ["a", "b", "c"]}, "needs 1 or 2 texts"),
        ({"turns": ["a", 2]}, "needs 1 or 2 texts"),
        ({"question_id": True}, "whole number or a text, not True"),
        ({"question_id": "3"}, "two questions have the id 3"),
        ({"category": None}, "category"),
    ],
)
def test_what_is_no_question(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "q.jsonl", [*QUESTIONS[1:], QUESTIONS[0] | change])
    with pytest.raises(DataError, match=message):
        read_questions(path)


def test_a_file_without_questions(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no questions"):
        read_questions(write_lines(tmp_path / "q.jsonl", []))


def test_another_language() -> None:
    with pytest.raises(UsageError, match="en and ja, not in 'ko'"):
        MtBenchScenario("ko")  # type: ignore[arg-type]


def test_of_two_answers_to_a_question_the_last_counts(tmp_path: Path) -> None:
    rows = [answer_row("7", "a", "b"), answer_row(8, "c"), answer_row(7, "d", "e")]
    assert read_answers(write_lines(tmp_path / "a.jsonl", rows)) == {"7": ("d", "e"), "8": ("c",)}
    with pytest.raises(DataError, match=r"question 9 needs choices\[0\].turns"):
        read_answers(write_lines(tmp_path / "b.jsonl", [{"question_id": 9, "choices": []}]))


@pytest.mark.parametrize(("given", "read"), [(81, "81"), ("81", "81"), (" 081 ", "81"), ("q-1", "q-1")])
def test_ids_that_are_numbers_in_texts(given: object, read: str) -> None:
    assert question_id(given) == read


@pytest.mark.parametrize(
    ("language", "first", "last", "test_ids"),
    [("en", "81", "160", range(81, 160, 10)), ("ja", "1", "80", range(1, 80, 10))],
)
def test_the_published_questions(
    language: Any, first: str, last: str, test_ids: range, data_dir: Path, tmp_path: Path
) -> None:
    """80 questions of two turns, ten of each category; the test set has one of each."""
    instances = made(data_dir, tmp_path, language=language)
    assert (len(instances), instances[0].id, instances[-1].id) == (80, first, last)
    assert set(Counter(i.sub_split for i in instances).values()) == {10}
    assert all(len((i.extra or {})["follow_ups"]) == 1 for i in instances)
    small = made(data_dir, tmp_path, language=language, testmode=True)
    assert [i.id for i in small] == [str(n) for n in test_ids]
    file = data_dir / (
        "mt_bench/question.jsonl" if language == "en" else "japanese_mt_bench/question_full.jsonl"
    )
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [i.input for i in instances] == [row["turns"][0] for row in rows]
