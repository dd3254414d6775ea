"""NarrativeQA: questions about stories, asked of their summaries (Kočiský et al. 2018)."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

from evalkit.data import DataFile, DataStore
from evalkit.data.rows import csv_records
from evalkit.errors import DataError
from evalkit.instance import CORRECT, TEST, TRAIN, VALID, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario


def _file(name: str) -> DataFile:
    return DataFile(
        path=f"scenarios/narrativeqa/data/narrativeqa-master/{name}",
        url=f"https://raw.githubusercontent.com/google-deepmind/narrativeqa/master/{name}",
    )


_QUESTIONS = _file("qaps.csv")
_SUMMARIES = _file("third_party/wikipedia/summaries.csv")
_SPLITS = (TRAIN, VALID, TEST)


@scenario("narrative_qa")
class NarrativeQAScenario(Scenario):
    """Questions about books and films with two right answers each, next to a summary of the story."""

    def files(self) -> Sequence[DataFile]:
        """Questions and summaries."""
        return (_QUESTIONS, _SUMMARIES)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """One question of each story, drawn as HELM does: 1102 train, 115 valid and 355 test."""
        path = data.path(_SUMMARIES)
        summaries = {r["document_id"]: r["summary"] for r in csv_records(path, ("document_id", "summary"))}
        questions: dict[str, dict[str, list[dict[str, str]]]] = {
            split: defaultdict(list) for split in _SPLITS
        }
        fields = ("document_id", "set", "question", "answer1", "answer2")
        for row in csv_records(data.path(_QUESTIONS), fields):
            if row["document_id"] not in summaries:
                raise DataError(f"{path} holds no summary of the document {row['document_id']}")
            if row["set"] not in questions:
                raise DataError(f"{data.path(_QUESTIONS)}: '{row['set']}' is none of {', '.join(_SPLITS)}")
            questions[row["set"]][row["document_id"]].append(row)
        rng = random.Random(0)
        for split, stories in questions.items():
            for story, rows in stories.items():
                yield _instance(summaries[story], rng.choice(rows), split)


def _instance(summary: str, row: dict[str, str], split: str) -> Instance:
    question = row["question"].strip()
    if not question.endswith("?"):
        question += "?"
    references = tuple(Reference(row[name], (CORRECT,)) for name in ("answer1", "answer2"))
    return Instance(f"{summary.strip()}\nQuestion: {question}", references, split)
