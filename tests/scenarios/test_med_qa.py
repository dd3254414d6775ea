from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalkit.data import DataStore
from evalkit.errors import DataError
from evalkit.scenarios.med_qa import MedQAScenario
from tests.scenarios.mirror import json_lines, mirror


def store_with(folder: Path, row: dict[str, Any]) -> DataStore:
    train, valid, test = (file.path for file in MedQAScenario().files())
    return mirror(folder, {train: "", valid: json_lines([row]), test: ""})


def test_the_letter_decides_not_the_text(tmp_path: Path) -> None:
    options = {"A": 'Aspirin" ', "B": "Aspirin", "C": "Rest"}
    store = store_with(tmp_path, {"question": "What now?", "options": options, "answer_idx": "B"})
    (instance,) = MedQAScenario().instances(store)
    assert (instance.input, instance.split) == ("What now?", "valid")
    assert [(r.text, r.is_correct) for r in instance.references] == [
        ('Aspirin"', False),
        ("Aspirin", True),
        ("Rest", False),
    ]


def test_a_letter_of_no_option_is_an_error(tmp_path: Path) -> None:
    store = store_with(tmp_path, {"question": "?", "options": {"A": "x"}, "answer_idx": "E"})
    with pytest.raises(DataError, match=r"_dev\.jsonl: question 1: the answer E is none of its options"):
        list(MedQAScenario().instances(store))
