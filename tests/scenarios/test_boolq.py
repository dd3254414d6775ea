from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evalkit.data import DataStore
from evalkit.errors import DataError
from evalkit.scenarios.boolq import BoolQScenario
from tests.scenarios.mirror import json_lines, mirror

ROWS = [
    {"question": "is Bern old", "passage": "P.", "answer": True},
    {"question": "is it new ", "passage": "Q.", "answer": False},
]
SET = {
    "question": "is Bern old",
    "answer": "TRUE",
    "perturbed_questions": [
        {"perturbed_q": "is Bern young", "answer": "FALSE"},
        {"perturbed_q": "is Bern very old", "answer": "TRUE"},
        {"perturbed_q": "", "answer": "FALSE"},
    ],
}


def store_with(
    folder: Path, rows: Sequence[dict[str, Any]] = ROWS, sets: Sequence[dict[str, Any]] = (SET,)
) -> DataStore:
    train, valid, contrast = (file.path for file in BoolQScenario().files())
    contrast_text = json.dumps({"data": [{"description": "first"}, *sets]})
    return mirror(folder, {train: json_lines(rows), valid: json_lines(rows), contrast: contrast_text})


def test_questions_below_passages(tmp_path: Path) -> None:
    instances = list(BoolQScenario().instances(store_with(tmp_path)))
    assert [i.input for i in instances[:2]] == ["P.\nQuestion: Is bern old?", "Q.\nQuestion: Is it new?"]
    assert [(i.split, i.references[0].text) for i in instances] == [
        ("train", "Yes"),
        ("train", "No"),
        ("valid", "Yes"),
        ("valid", "No"),
    ]


def test_contrast_sets_of_valid_questions_hold_what_changes_the_answer(tmp_path: Path) -> None:
    store = store_with(tmp_path)
    assert [i.extra is not None for i in BoolQScenario().instances(store)] == [False, False, True, False]
    *train, valid = BoolQScenario(only_contrast=True).instances(store)
    assert [i.split for i in train] == ["train", "train"]
    assert valid.extra == {
        "contrast_inputs": ["P.\nQuestion: Is bern young?"],
        "contrast_references": [[{"text": "No", "tags": ["correct"]}]],
    }


def test_what_contradicts_itself_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two contrast sets of 'is Bern old'"):
        list(BoolQScenario().instances(store_with(tmp_path, sets=[SET, SET])))
    flipped = {
        **SET,
        "answer": "FALSE",
        "perturbed_questions": [{"perturbed_q": "is it", "answer": "TRUE"}],
    }
    with pytest.raises(DataError, match="the answer to 'is Bern old' is Yes, in its contrast set No"):
        list(BoolQScenario().instances(store_with(tmp_path, sets=[flipped])))


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"boolq_perturbed\.jsonl is no file of BoolQ contrast sets"):
        list(BoolQScenario().instances(store_with(tmp_path, sets=[{"question": "?"}])))
    with pytest.raises(DataError, match=r"without its question mark is expected, not 'Is it\?'"):
        list(BoolQScenario().instances(store_with(tmp_path, rows=[{**ROWS[0], "question": "is it?"}])))
