from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from evalkit.errors import DataError, UnknownNameError, UsageError
from evalkit.notation.boxes import boxed_answer
from evalkit.scenarios.math import MATHScenario
from tests.scenarios.mirror import json_lines, mirror

ROW = {"problem": "1+1?", "level": "Level 2", "type": "Counting & Probability", "solution": r"So \boxed{2}."}


def files(*rows: Mapping[str, str]) -> dict[str, str]:
    return {f"hf/hendrycks_competition_math/{split}.jsonl": json_lines(rows) for split in ("train", "test")}


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"First \boxed{1}, then \boxed{\frac{2}{3}}.", r"\frac{2}{3}"),
        (r"\boxed{}", ""),
        (r"Only \fbox{7} here.", "7"),
        (r"\fbox{7} counts less than \boxed{8}", "8"),
        (r"Without braces $\boxed 5$ too.", "5"),
        (r"\boxed{cut o", None),
        ("Nothing.", None),
        (r"Nothing in \boxed", None),
    ],
)
def test_boxed_answer(solution: str, answer: str | None) -> None:
    assert boxed_answer(solution) == answer


def test_one_subject_and_level_with_answers(tmp_path: Path) -> None:
    others = [{**ROW, "level": "Level 3"}, {**ROW, "type": "Algebra"}]
    store = mirror(tmp_path, files(ROW, *others))
    train, test = MATHScenario("counting_and_probability", 2).instances(store)
    assert (train.input, train.split, test.split) == ("1+1?", "train", "test")
    assert [r.text for r in train.references] == ["2"]
    solved = list(MATHScenario("counting_and_probability", 2, use_chain_of_thought=True).instances(store))
    assert [r.text for r in solved[0].references] == [r"So \boxed{2}."]


def test_official_examples_stand_for_the_train_split(tmp_path: Path) -> None:
    scenario = MATHScenario("counting_and_probability", 2, use_official_examples=True)
    assert [file.path for file in scenario.files()] == ["hf/hendrycks_competition_math/test.jsonl"]
    instances = list(scenario.instances(mirror(tmp_path, files(ROW))))
    assert [i.split for i in instances] == ["train"] * 8 + ["test"]
    assert instances[5].input == r"Calculate $6 \cdot 8\frac{1}{3}", "its dollar sign is missing upstream"
    assert [r.text for i in instances for r in i.references] == [
        "1",
        "15",
        r"\sqrt{59}",
        r"\frac{1}{32}",
        "181",
        "50",
        "2",
        "3",
        "2",
    ]


def test_a_solution_without_answer_is_left_out_unless_it_is_the_answer(tmp_path: Path) -> None:
    store = mirror(tmp_path, files({**ROW, "solution": "Trivial."}, ROW))
    answered = list(MATHScenario("counting_and_probability", 2).instances(store))
    assert [r.text for i in answered for r in i.references] == ["2", "2"]
    reasoned = list(MATHScenario("counting_and_probability", 2, use_chain_of_thought=True).instances(store))
    assert len(reasoned) == 4


def test_a_row_without_solution_is_an_error(tmp_path: Path) -> None:
    row = {key: value for key, value in ROW.items() if key != "solution"}
    with pytest.raises(DataError, match=r"train\.jsonl:1: field 'solution' is missing"):
        list(MATHScenario("algebra", 2).instances(mirror(tmp_path, files(row))))


def test_impossible_parameters() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'geometry'"):
        MATHScenario("geometri", 1)
    with pytest.raises(UsageError, match="level=6"):
        MATHScenario("geometry", 6)
    with pytest.raises(UsageError, match="no reasoning"):
        MATHScenario("geometry", 1, use_official_examples=True, use_chain_of_thought=True)
