"""HumanEval: functions to be completed from their docstrings (Chen et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from evalkit.data import DataFile, DataStore
from evalkit.data.rows import json_rows
from evalkit.errors import UnknownNameError
from evalkit.instance import CORRECT, TEST, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario

_FILES = {
    "humaneval": DataFile(
        path="humaneval/HumanEval.jsonl.gz",
        url=(
            "https://raw.githubusercontent.com/openai/human-eval/6d43fb980f9fee3c892a914eda09951f772ad10d"
            "/data/HumanEval.jsonl.gz"
        ),
        sha256="b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
    )
}
_FIELDS = dict.fromkeys(("prompt", "canonical_solution", "test", "entry_point"), str)


@scenario("code")
class CodeScenario(Scenario):
    """Functions to be completed; `extra["test_cases"]` is the row of the benchmark, with its tests.

    Args:
        dataset: `humaneval`.
    """

    has_examples: ClassVar[bool] = False

    def __init__(self, dataset: str) -> None:
        if dataset not in _FILES:
            raise UnknownNameError("dataset of code", dataset, _FILES)
        self._file = _FILES[dataset]

    def files(self) -> Sequence[DataFile]:
        """One file with all functions."""
        return (self._file,)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """All 164 as test, in file order."""
        for row in json_rows(data.path(self._file), _FIELDS):
            references = (Reference(row["canonical_solution"], (CORRECT,)),)
            yield Instance(row["prompt"], references, TEST, extra={"test_cases": row})
