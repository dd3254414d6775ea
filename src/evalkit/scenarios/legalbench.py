"""LegalBench: five of its tasks of legal reasoning (Guha et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalkit.data import DataFile, DataStore, HubSplit
from evalkit.data.huggingface import hub_file
from evalkit.data.rows import json_rows
from evalkit.errors import UnknownNameError
from evalkit.instance import CORRECT, TEST, TRAIN, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario

_REVISION = "e042ea68c19df12b737fe768572f22ead61e8e37"
# What is shown of a row: heading and column, as LegalBench publishes them for HELM.
_FIELDS = {
    "abercrombie": {"Description": "text"},
    "corporate_lobbying": {
        "Official title of bill": "bill_title",
        "Official summary of bill": "bill_summary",
        "Company name": "company_name",
        "Company business description": "company_description",
    },
    "international_citizenship_questions": {"Question": "question"},
    "function_of_decision_section": {"Text": "Paragraph"},
    "proa": {"Statute": "text"},
}


@scenario("legalbench")
class LegalBenchScenario(Scenario):
    """A task of legal reasoning with short answers.

    Args:
        subset: One of the five tasks that HELM has, such as `proa`.
    """

    def __init__(self, subset: str) -> None:
        if subset not in _FIELDS:
            raise UnknownNameError("LegalBench subset", subset, _FIELDS)
        self.subset = subset

    def files(self) -> Sequence[DataFile]:
        """Train and test at a pinned revision."""
        return tuple(self._file(split) for split in (TRAIN, TEST))

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """A handful of train rows, then test, in file order; each column under its heading."""
        fields = _FIELDS[self.subset]
        columns = dict.fromkeys((*fields.values(), "answer"), str)
        for split in (TRAIN, TEST):
            for row in json_rows(data.path(self._file(split)), columns):
                text = "\n".join(f"{heading}: {row[column]}" for heading, column in fields.items())
                yield Instance(text, (Reference(row["answer"], (CORRECT,)),), split)

    def _file(self, split: str) -> DataFile:
        return hub_file(HubSplit("nguha/legalbench", split, _REVISION, config=self.subset, script=True))
