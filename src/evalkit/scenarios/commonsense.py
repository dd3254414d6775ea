"""Five sets of multiple-choice questions that ask for common sense."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from evalkit.data import Archive, DataFile, DataStore
from evalkit.data.rows import json_rows, text_of
from evalkit.errors import DataError
from evalkit.instance import CORRECT, TEST, TRAIN, VALID, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario

Question = tuple[str, Sequence[str], int]
"""The question, its options, and the position of the right one."""
Parts = Mapping[str, tuple[DataFile, ...]]
"""The files of each split, in order."""


class _Questions(Scenario):
    """Multiple-choice questions from one or two files for each split.

    Attributes:
        parts: Where they are.
    """

    parts: ClassVar[Parts]

    def files(self) -> Sequence[DataFile]:
        """The files of all splits."""
        return tuple(file for files in self.parts.values() for file in files)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """The questions in file order. Every option that reads like the right one is right."""
        for split, files in self.parts.items():
            paths = [data.path(file) for file in files]
            for number, (question, options, position) in enumerate(self.questions(*paths), start=1):
                if not 0 <= position < len(options):
                    raise DataError(
                        f"{paths[-1]}: question {number}: the answer is none of {len(options)} options"
                    )
                right = options[position]
                references = tuple(Reference(text, (CORRECT,) if text == right else ()) for text in options)
                yield Instance(question, references, split)

    def questions(self, *paths: Path) -> Iterator[Question]:
        """The questions in the files of a split; a position outside the options is refused by the caller."""
        raise NotImplementedError


def _hellaswag(part: str) -> DataFile:
    name = f"hellaswag_{part}.jsonl"
    return DataFile(
        path=f"scenarios/hellaswag/data/{name}",
        url=f"https://raw.githubusercontent.com/rowanz/hellaswag/master/data/{name}",
    )


@scenario("hellaswag")
class HellaSwagScenario(_Questions):
    """How does a scene or a text go on? Four endings (Zellers et al. 2019)."""

    parts: ClassVar[Parts] = {TRAIN: (_hellaswag("train"),), VALID: (_hellaswag("val"),)}

    def questions(self, *paths: Path) -> Iterator[Question]:
        """The activity and the beginning; HELM keeps the blank after a beginning of one part."""
        fields = {"activity_label": str, "ctx_a": str, "ctx_b": str, "endings": list, "label": int}
        for row in json_rows(paths[0], fields):
            rest = row["ctx_b"]
            text = f"{row['activity_label']}: {row['ctx_a']} {rest[:1].upper()}{rest[1:]}"
            yield text, row["endings"], row["label"]


def _lettered(path: Path) -> Iterator[Question]:
    """Questions in the format that OpenBookQA and CommonsenseQA share."""
    for number, row in enumerate(json_rows(path, {"question": dict, "answerKey": str}), start=1):
        question: dict[str, Any] = row["question"]
        try:
            labels = [choice["label"] for choice in question["choices"]]
            options = [choice["text"] for choice in question["choices"]]
            stem = question["stem"]
        except (KeyError, TypeError):
            raise DataError(
                f"{path}: question {number}: a stem and choices with label and text are expected"
            ) from None
        yield stem, options, labels.index(row["answerKey"]) if row["answerKey"] in labels else -1


def _openbookqa(part: str) -> DataFile:
    member = f"OpenBookQA-V1-Sep2018/Data/Main/{part}.jsonl"
    archive = Archive(
        "https://ai2-public-datasets.s3.amazonaws.com/open-book-qa/OpenBookQA-V1-Sep2018.zip", kind="zip"
    )
    return DataFile(path=f"scenarios/openbookqa/data/{member}", archive=archive, member=member)


@scenario("openbookqa")
class OpenBookQAScenario(_Questions):
    """Elementary science with four options (Mihaylov et al. 2018). The dev split is not used, as in HELM."""

    parts: ClassVar[Parts] = {TRAIN: (_openbookqa("train"),), TEST: (_openbookqa("test"),)}

    def questions(self, *paths: Path) -> Iterator[Question]:
        """The stems as they are."""
        return _lettered(paths[0])


def _commonsenseqa(part: str, upstream: str) -> DataFile:
    return DataFile(
        path=f"scenarios/commonsenseqa/data/commonsenseqa_{part}.jsonl",
        url=f"https://s3.amazonaws.com/commensenseqa/{upstream}_rand_split.jsonl",
    )


@scenario("commonsenseqa")
class CommonsenseQAScenario(_Questions):
    """How everyday things go together, with five options (Talmor et al. 2019)."""

    parts: ClassVar[Parts] = {
        TRAIN: (_commonsenseqa("train", "train"),),
        VALID: (_commonsenseqa("val", "dev"),),
    }

    def questions(self, *paths: Path) -> Iterator[Question]:
        """The stems as they are."""
        return _lettered(paths[0])


def _with_labels(
    path: Path, labels: Path, fields: Sequence[str], first: int
) -> Iterator[tuple[dict[str, str], int]]:
    """The rows of a file, each with the position that another file's line gives, counted from `first`."""
    lines = text_of(labels).split()
    rows = list(json_rows(path, dict.fromkeys(fields, str)))
    if len(lines) != len(rows):
        raise DataError(f"{labels} holds {len(lines)} labels for the {len(rows)} questions of {path}")
    for row, line in zip(rows, lines, strict=True):
        yield row, int(line) - first if line.isdecimal() else -1


def _piqa(part: str, upstream: str) -> tuple[DataFile, ...]:
    home = "https://yonatanbisk.com/piqa/data"
    return (
        DataFile(path=f"scenarios/piqa/data/piqa_{part}.jsonl", url=f"{home}/{upstream}.jsonl"),
        DataFile(path=f"scenarios/piqa/data/piqa_{part}_labels.lst", url=f"{home}/{upstream}-labels.lst"),
    )


@scenario("piqa")
class PIQAScenario(_Questions):
    """Which of two ways to do something works? (Bisk et al. 2020)."""

    parts: ClassVar[Parts] = {TRAIN: _piqa("train", "train"), VALID: _piqa("val", "valid")}

    def questions(self, *paths: Path) -> Iterator[Question]:
        """The goals as they are."""
        for row, position in _with_labels(paths[0], paths[1], ("goal", "sol1", "sol2"), first=0):
            yield row["goal"], (row["sol1"], row["sol2"]), position


def _siqa(part: str) -> tuple[DataFile, ...]:
    archive = Archive(
        "https://storage.googleapis.com/ai2-mosaic/public/socialiqa/socialiqa-train-dev.zip", kind="zip"
    )
    members = [f"socialiqa-train-dev/{part}{ending}" for ending in (".jsonl", "-labels.lst")]
    folder = "scenarios/siqa/data/socialiqa-train-dev"
    return tuple(DataFile(path=f"{folder}/{m}", archive=archive, member=m) for m in members)


@scenario("siqa")
class SIQAScenario(_Questions):
    """What people want, feel and do, with three options (Sap et al. 2019)."""

    parts: ClassVar[Parts] = {TRAIN: _siqa("train"), VALID: _siqa("dev")}

    def questions(self, *paths: Path) -> Iterator[Question]:
        """The situation and the question on one line."""
        fields = ("context", "question", "answerA", "answerB", "answerC")
        for row, position in _with_labels(paths[0], paths[1], fields, first=1):
            options = (row["answerA"], row["answerB"], row["answerC"])
            yield f"{row['context']} {row['question']}", options, position
