"""MedQA: questions of the United States medical licensing examination (Jin et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalkit.data import Archive, DataFile, DataStore
from evalkit.data.rows import json_rows
from evalkit.errors import DataError
from evalkit.instance import CORRECT, TEST, TRAIN, VALID, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario

_ARCHIVE = Archive(
    "https://drive.usercontent.google.com/download?id=1ImYUSLk9JbgHXOemfvyiDiirluZHPeQw&export=download&confirm=t",
    kind="zip",
)
_SPLITS = {"train": TRAIN, "dev": VALID, "test": TEST}


def _file(part: str) -> DataFile:
    member = f"data_clean/questions/US/4_options/phrases_no_exclude_{part}.jsonl"
    return DataFile(path=f"scenarios/med_qa/data/{member}", archive=_ARCHIVE, member=member)


@scenario("med_qa")
class MedQAScenario(Scenario):
    """Questions of the United States medical licensing examination, with four options."""

    def files(self) -> Sequence[DataFile]:
        """Train, dev and test with four options each."""
        return tuple(_file(part) for part in _SPLITS)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """Train, dev as valid, and test, in file order; the option with the right letter is right."""
        fields = {"question": str, "options": dict, "answer_idx": str}
        for part, split in _SPLITS.items():
            path = data.path(_file(part))
            for number, row in enumerate(json_rows(path, fields), start=1):
                letter, options = row["answer_idx"], row["options"]
                if letter not in options:
                    raise DataError(f"{path}: question {number}: the answer {letter} is none of its options")
                references = tuple(
                    Reference(str(text).rstrip('"').rstrip(), (CORRECT,) if key == letter else ())
                    for key, text in options.items()
                )
                yield Instance(row["question"], references, split)
