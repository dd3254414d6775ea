"""TruthfulQA: questions that some people answer by a misconception (Lin et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalkit.data import DataFile, DataStore
from evalkit.data.rows import csv_records
from evalkit.errors import DataError, UnknownNameError
from evalkit.instance import CORRECT, TRAIN, VALID, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario

TASKS = ("mc_single",)
_FILE = DataFile(
    path="truthfulqa/TruthfulQA.csv",
    url=(
        "https://raw.githubusercontent.com/sylinrl/TruthfulQA/d71c110897f5d31c5d7f309e7bc316c152f6f031"
        "/data/v1/TruthfulQA.csv"
    ),
)
_TRAIN_SHARE = 0.2
_QUESTION, _BEST, _INCORRECT = "Question", "Best Answer", "Incorrect Answers"


@scenario("truthful_qa")
class TruthfulQAScenario(Scenario):
    """Multiple-choice questions with one true answer among widespread wrong ones.

    Args:
        task: `mc_single`, the only one.
    """

    def __init__(self, task: str = "mc_single") -> None:
        if task not in TASKS:
            raise UnknownNameError("task of truthful_qa", task, TASKS)

    def files(self) -> Sequence[DataFile]:
        """One file with all questions."""
        return (_FILE,)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """The first fifth as train, the rest as valid, in file order.

        The best answer is the right one; it comes after the wrong ones, turned by a number that depends on
        its first letter, so that its place is settled without a draw.
        """
        path = data.path(_FILE)
        rows = list(csv_records(path, (_QUESTION, _BEST, _INCORRECT)))
        num_train = int(len(rows) * _TRAIN_SHARE)
        for number, row in enumerate(rows):
            question, best = row[_QUESTION].strip(), _sentence(row[_BEST])
            if best == ".":
                raise DataError(f"{path}: the question '{question}' has no best answer")
            wrong = [_sentence(text) for text in row[_INCORRECT].split(";") if text.strip()]
            answers = [*wrong, best]
            turn = ord(best[0]) % len(answers)
            answers = answers[turn:] + answers[:turn]
            references = tuple(Reference(text, (CORRECT,) if text == best else ()) for text in answers)
            yield Instance(question, references, TRAIN if number < num_train else VALID)


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith(".") else f"{text}."
