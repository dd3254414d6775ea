from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import DataError
from evalkit.instance import Instance
from evalkit.scenarios.commonsense import (
    CommonsenseQAScenario,
    HellaSwagScenario,
    OpenBookQAScenario,
    PIQAScenario,
    SIQAScenario,
)
from evalkit.scenarios.scenario import Scenario
from tests.scenarios.mirror import json_lines, mirror


def made(scenario: Scenario, folder: Path, files: dict[str, str]) -> list[Instance]:
    """The instances of files that stand at the beginning of the scenario's own; the others are empty."""
    everything = {file.path: "" for file in scenario.files()}
    for ending, text in files.items():
        (path,) = (path for path in everything if path.endswith(ending))
        everything[path] = text
    return list(scenario.instances(mirror(folder, everything)))


def lettered(key: str, *texts: str) -> dict[str, Any]:
    choices = [{"label": label, "text": text} for label, text in zip("ABCDE", texts, strict=False)]
    return {"question": {"stem": "Which?", "choices": choices}, "answerKey": key}


def test_hellaswag_raises_the_first_letter_and_keeps_the_blank(tmp_path: Path) -> None:
    row = {"activity_label": "Cooking", "ctx_a": "He stirs.", "ctx_b": "", "endings": ["x", "y"], "label": 1}
    files = {"hellaswag_val.jsonl": json_lines([row, {**row, "ctx_b": "the pot"}])}
    first, second = made(HellaSwagScenario(), tmp_path, files)
    assert (first.input, first.split) == ("Cooking: He stirs. ", "valid")
    assert second.input == "Cooking: He stirs. The pot"
    assert [(r.text, r.is_correct) for r in first.references] == [("x", False), ("y", True)]


def test_options_that_read_alike_are_all_right(tmp_path: Path) -> None:
    (instance,) = made(
        CommonsenseQAScenario(), tmp_path, {"_train.jsonl": json_lines([lettered("C", "x", "y", "x")])}
    )
    assert [r.is_correct for r in instance.references] == [True, False, True]
    assert (instance.input, instance.split) == ("Which?", "train")


def test_openbookqa_has_no_valid_split() -> None:
    assert [file.path.rsplit("/", 1)[1] for file in OpenBookQAScenario().files()] == [
        "train.jsonl",
        "test.jsonl",
    ]


@pytest.mark.parametrize("row", [lettered("D", "x", "y"), lettered("", "x", "y"), lettered("AB", "x", "y")])
def test_a_letter_of_no_option_is_an_error(tmp_path: Path, row: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"test\.jsonl: question 2: the answer is none of 2 options"):
        made(OpenBookQAScenario(), tmp_path, {"test.jsonl": json_lines([lettered("A", "x", "y"), row])})


@pytest.mark.parametrize("question", [{}, {"stem": "?"}, {"stem": "?", "choices": [{"text": "x"}]}])
def test_a_question_without_choices_is_an_error(tmp_path: Path, question: dict[str, Any]) -> None:
    text = json_lines([{"question": question, "answerKey": "A"}])
    with pytest.raises(DataError, match="question 1: a stem and choices with label and text are expected"):
        made(OpenBookQAScenario(), tmp_path, {"test.jsonl": text})


def test_labels_stand_in_a_file_of_their_own(tmp_path: Path) -> None:
    piqa = {"goal": "Open it", "sol1": "push", "sol2": "pull"}
    files = {"piqa_val.jsonl": json_lines([piqa]), "piqa_val_labels.lst": "1\n"}
    (instance,) = made(PIQAScenario(), tmp_path / "piqa", files)
    assert [(r.text, r.is_correct) for r in instance.references] == [("push", False), ("pull", True)]
    siqa = {"context": "Kai left.", "question": "Why?", "answerA": "x", "answerB": "y", "answerC": "z"}
    files = {"train.jsonl": json_lines([siqa]), "train-labels.lst": "1\n"}
    (instance,) = made(SIQAScenario(), tmp_path / "siqa", files)
    assert instance.input == "Kai left. Why?"
    assert [r.is_correct for r in instance.references] == [True, False, False]


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ("0\n1\n", "holds 2 labels for the 1 questions"),
        ("", "holds 0 labels for the 1 questions"),
        ("2\n", "the answer is none of 2 options"),
        ("x\n", "the answer is none of 2 options"),
        ("-1\n", "the answer is none of 2 options"),
    ],
)
def test_wrong_labels_are_errors(tmp_path: Path, labels: str, problem: str) -> None:
    rows = json_lines([{"goal": "Open it", "sol1": "push", "sol2": "pull"}])
    with pytest.raises(DataError, match=problem):
        made(PIQAScenario(), tmp_path, {"piqa_val.jsonl": rows, "piqa_val_labels.lst": labels})
