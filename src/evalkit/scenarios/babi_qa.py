"""bAbI: twenty tasks of reasoning over short stories (Weston et al. 2015)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from evalkit.data import Archive, DataFile, DataStore
from evalkit.data.rows import text_of
from evalkit.errors import DataError, UsageError
from evalkit.instance import CORRECT, TEST, TRAIN, VALID, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario

_ARCHIVE = Archive("http://www.thespermwhale.com/jaseweston/babi/tasks_1-20_v1-2.tar.gz")
_FOLDER = "tasks_1-20_v1-2/en-valid"
_TASKS = range(1, 21)
_PATH_FINDING = 19
_DIRECTIONS = {"n": "north", "e": "east", "s": "south", "w": "west"}


@scenario("babi_qa")
class BabiQAScenario(Scenario):
    """Questions about short stories, answered with a word or two.

    Args:
        task: Number of the task, 1 to 20, or "all".
    """

    def __init__(self, task: int | str) -> None:
        if task != "all" and task not in _TASKS:
            raise UsageError(f"a task of bAbI is 'all' or a number from 1 to 20, not {task!r}")
        self.tasks = tuple(_TASKS) if task == "all" else (int(task),)

    def files(self) -> Sequence[DataFile]:
        """Three files per task, from one archive."""
        return tuple(_file(task, split) for task in self.tasks for split in (TRAIN, VALID, TEST))

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """Task by task train, valid and test; the passage of a question is the whole story before it."""
        for task in self.tasks:
            for split in (TRAIN, VALID, TEST):
                for passage, question, answer in _questions(data.path(_file(task, split))):
                    if task == _PATH_FINDING:
                        answer = " ".join(_DIRECTIONS.get(step, step) for step in answer.split(","))
                    text = f"{passage}Question: {question}"
                    yield Instance(text, (Reference(answer, (CORRECT,)),), split)


def _file(task: int, split: str) -> DataFile:
    member = f"{_FOLDER}/qa{task}_{split}.txt"
    return DataFile(path=f"scenarios/babi_qa/data/{member}", archive=_ARCHIVE, member=member)


def _questions(path: Path) -> Iterator[tuple[str, str, str]]:
    """Passage (one sentence a line), question and answer; a line numbered 1 begins another story."""
    story: list[str] = []
    for number, line in enumerate(text_of(path).splitlines(), start=1):
        position, _, told = line.partition(" ")
        if not position.isdecimal() or not told:
            raise DataError(f"{path}:{number}: a line of a story begins with its number, not '{line[:20]}'")
        if position == "1":
            story = []
        if "?" not in told:
            story.append(f"{told}\n")
            continue
        question, *answer = told.split("\t")
        if not answer:
            raise DataError(f"{path}:{number}: the question has no answer")
        yield "".join(story), question.strip(), answer[0].strip()
