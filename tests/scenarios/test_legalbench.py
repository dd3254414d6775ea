from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.errors import DataError, UnknownNameError
from evalkit.scenarios.legalbench import LegalBenchScenario
from tests.scenarios.mirror import json_lines, mirror

COLUMNS = ("bill_title", "bill_summary", "company_name", "company_description")


def test_each_column_has_its_heading(tmp_path: Path) -> None:
    scenario = LegalBenchScenario("corporate_lobbying")
    train, test = (file.path for file in scenario.files())
    assert test == "hf/nguha_legalbench/corporate_lobbying/test.jsonl"
    row = {**dict(zip(COLUMNS, "abcd", strict=True)), "answer": "Yes", "index": "0"}
    (instance,) = scenario.instances(mirror(tmp_path, {train: "", test: json_lines([row])}))
    assert instance.input == (
        "Official title of bill: a\nOfficial summary of bill: b\n"
        "Company name: c\nCompany business description: d"
    )
    assert [(r.text, r.is_correct) for r in instance.references] == [("Yes", True)]
    assert instance.split == "test"


def test_unknown_subset() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'abercrombie'"):
        LegalBenchScenario("abercromby")


def test_a_row_without_its_column_is_named(tmp_path: Path) -> None:
    scenario = LegalBenchScenario("proa")
    files = {file.path: json_lines([{"answer": "Yes"}]) for file in scenario.files()}
    with pytest.raises(DataError, match=r"train\.jsonl:1: field 'text' is missing"):
        list(scenario.instances(mirror(tmp_path, files)))
