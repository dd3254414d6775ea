"""MT-Bench: two turns of open questions in eight categories (Zheng et al. 2023), English and Japanese."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from evalkit.data import DataFile, DataStore
from evalkit.data.fastchat import QUESTIONS, Language, read_questions
from evalkit.errors import DataError, UsageError
from evalkit.instance import TEST, Instance
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario


@scenario("mt_bench")
class MtBenchScenario(Scenario):
    """The questions of a file in FastChat's format.

    The category is the sub-split; `follow_ups` in the extra data are the turns after the first.

    Args:
        language: Whose questions, where `questions` names no file.
        questions: A file: on this machine if it begins with `/`, `~` or `.`, else below the data directory.
        question_begin: The position of the first question, as in a Python slice.
        question_end: The position behind the last one.
        testmode: Only the first question of each category.
    """

    has_examples: ClassVar[bool] = False

    def __init__(
        self,
        language: Language = "en",
        questions: str = "",
        question_begin: int | None = None,
        question_end: int | None = None,
        testmode: bool = False,
    ) -> None:
        if language not in QUESTIONS:
            raise UsageError(f"MT-Bench has questions in {' and '.join(QUESTIONS)}, not in '{language}'")
        self._file = DataFile.given(questions) if questions else QUESTIONS[language]
        self._part = slice(question_begin, question_end)
        self._testmode = testmode

    def files(self) -> Sequence[DataFile]:
        """One file of questions."""
        return (self._file,)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """The questions as test, in the order of the file.

        Raises:
            DataError: There is none in this part of the file.
        """
        path = data.path(self._file)
        questions = read_questions(path)[self._part]
        if not questions:
            raise DataError(f"{path}: no question from {self._part.start} to {self._part.stop}")
        seen: set[str] = set()
        for question in questions:
            if self._testmode and question.category in seen:
                continue
            seen.add(question.category)
            extra = {"follow_ups": list(question.turns[1:])}
            yield Instance(question.turns[0], (), TEST, question.id, question.category, extra=extra)
