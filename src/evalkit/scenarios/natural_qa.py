"""Natural Questions: what people asked a search engine (Kwiatkowski et al. 2019)."""

from __future__ import annotations

import html
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evalkit.data import DataFile, DataStore
from evalkit.data.rows import json_rows
from evalkit.errors import DataError
from evalkit.instance import CORRECT, TRAIN, VALID, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario

_FILES = tuple(
    DataFile(
        path=f"scenarios/natural_qa/data/nq-dev-{number:02}.jsonl.gz",
        url=f"https://storage.googleapis.com/natural_questions/v1.0/dev/nq-dev-{number:02}.jsonl.gz",
    )
    for number in range(5)
)
_FIELDS = {
    "document_title": str,
    "document_html": str,
    "document_tokens": list,
    "question_text": str,
    "annotations": list,
}
_TAG = re.compile("<[^>]*>")


@scenario("natural_qa")
class NaturalQAScenario(Scenario):
    """Questions that people asked a search engine, with short answers found in Wikipedia.

    Args:
        mode: What is shown next to the question: nothing, the paragraph with the answer, or the whole page.
    """

    def __init__(self, mode: Literal["closedbook", "openbook_longans", "openbook_wiki"]) -> None:
        self.mode = mode

    def files(self) -> Sequence[DataFile]:
        """The five files of the dev split, as published."""
        return _FILES

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """The questions with a short answer: in each file the first, third, … as train, the others as valid.

        A train question has one of its answers, drawn as HELM does; a valid one has all. Yes and no do not
        count as answers here.
        """
        rng = random.Random(0)
        for file in _FILES:
            for position, (row, answers) in enumerate(_answered(data.path(file))):
                drawn = rng.randint(0, len(answers) - 1)
                text = self._input(row, answers[drawn])
                if position % 2 == 0:
                    yield _instance(text, [answers[drawn].short], TRAIN)
                else:
                    yield _instance(text, [answer.short for answer in answers], VALID)

    def _input(self, row: dict[str, Any], answer: _Answer) -> str:
        # HELM's str.capitalize also makes the rest of the question lower case.
        question = row["question_text"].capitalize()
        if not question.endswith("?"):
            question += "?"
        if self.mode == "closedbook":
            return str(question)
        if self.mode == "openbook_longans":
            return f"Passage: {answer.long}\n\nQuestion: {question}"
        page = " ".join(_without_tags(token["token"].replace(" ", "_")) for token in row["document_tokens"])
        return f"Title: {row['document_title']}\n\nPassage: {page}\n\nQuestion: {question}"


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one annotator marked: a short answer and the paragraph that holds it."""

    short: str
    long: str


def _answered(path: Path) -> Iterator[tuple[dict[str, Any], list[_Answer]]]:
    """The rows that have short answers, with these."""
    for number, row in enumerate(json_rows(path, _FIELDS), start=1):
        try:
            answers = _answers(row)
        except (KeyError, TypeError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: row {number} has a malformed annotation: {error!r}") from None
        if answers:
            yield row, answers


def _answers(row: dict[str, Any]) -> list[_Answer]:
    page = row["document_html"].encode()
    return [
        _Answer(_marked(page, short), _marked(page, annotation["long_answer"]))
        for annotation in row["annotations"]
        for short in annotation["short_answers"]
    ]


def _marked(page: bytes, span: dict[str, int]) -> str:
    """The text of a part of the page: only blanks that are not entities become plain ones, as in HELM."""
    return _without_tags(page[span["start_byte"] : span["end_byte"]].replace(b"\xc2\xa0", b" ").decode())


def _without_tags(text: str) -> str:
    return _TAG.sub("", html.unescape(text))


def _instance(text: str, answers: Sequence[str], split: str) -> Instance:
    return Instance(text, tuple(Reference(answer, (CORRECT,)) for answer in dict.fromkeys(answers)), split)
