"""BoolQ: yes-or-no questions about passages (Clark et al. 2019), with contrast sets (Gardner et al. 2020)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evalkit.data import DataFile, DataStore
from evalkit.data.rows import json_rows, text_of
from evalkit.errors import DataError
from evalkit.instance import CORRECT, TRAIN, VALID, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.contrast import contrast_extra
from evalkit.scenarios.scenario import Scenario

_PARTS = {"train": TRAIN, "dev": VALID}
_CONTRAST = DataFile(
    path="scenarios/boolq/data/boolq_perturbed.jsonl",
    url="https://raw.githubusercontent.com/allenai/contrast-sets/main/BoolQ/boolq_perturbed.json",
)
_ANSWERS = {True: "Yes", False: "No", "TRUE": "Yes", "FALSE": "No"}

ContrastSet = tuple[str, list[tuple[str, str]]]
"""The right answer to the original question; changed questions with their right answers."""


def _file(part: str) -> DataFile:
    return DataFile(
        path=f"scenarios/boolq/data/{part}",
        url=f"https://huggingface.co/datasets/stanford-crfm/helm-scenarios/resolve/main/boolq/{part}.jsonl",
    )


@scenario("boolq")
class BoolQScenario(Scenario):
    """Yes-or-no questions about a passage from Wikipedia; some have a contrast set.

    Args:
        only_contrast: Of the valid split only the questions with a contrast set.
    """

    def __init__(self, only_contrast: bool = False) -> None:
        self.only_contrast = only_contrast

    def files(self) -> Sequence[DataFile]:
        """Train, dev and the contrast sets."""
        return (*(_file(part) for part in _PARTS), _CONTRAST)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """9427 train and 3270 valid questions; contrast sets, of valid ones only, are in `extra`."""
        contrast = _contrast_sets(data.path(_CONTRAST))
        for part, split in _PARTS.items():
            path = data.path(_file(part))
            for row in json_rows(path, {"passage": str, "question": str, "answer": bool}):
                found = contrast.get(row["question"]) if split == VALID else None
                if found is None and split == VALID and self.only_contrast:
                    continue
                yield self._instance(path, row, split, found)

    def _instance(self, path: Path, row: dict[str, Any], split: str, found: ContrastSet | None) -> Instance:
        answer, passage = _ANSWERS[row["answer"]], row["passage"]
        extra = None
        if found is not None:
            original, changed = found
            if original != answer:
                raise DataError(
                    f"{path}: the answer to '{row['question']}' is {answer}, in its contrast set {original}"
                )
            extra = contrast_extra((_asked(path, passage, text), right) for text, right in changed)
        text = _asked(path, passage, row["question"])
        return Instance(text, (Reference(answer, (CORRECT,)),), split, extra=extra)


def _asked(path: Path, passage: str, question: str) -> str:
    question = question.strip().capitalize()
    if not question or question.endswith("?"):
        raise DataError(f"{path}: a question without its question mark is expected, not '{question}'")
    return f"{passage}\nQuestion: {question}?"


def _contrast_sets(path: Path) -> dict[str, ContrastSet]:
    """The contrast set of each original question. Changes that leave the answer as it was are left out."""
    found: dict[str, ContrastSet] = {}
    try:
        # The first item describes the file.
        for item in json.loads(text_of(path))["data"][1:]:
            if item["question"] in found:
                raise DataError(f"{path} holds two contrast sets of '{item['question']}'")
            original = _ANSWERS[item["answer"]]
            pairs = [(p["perturbed_q"], _ANSWERS[p["answer"]]) for p in item["perturbed_questions"]]
            if changed := [(text, answer) for text, answer in pairs if text and answer != original]:
                found[item["question"]] = original, changed
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no file of BoolQ contrast sets: {error!r}") from None
    return found
