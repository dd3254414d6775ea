"""MMLU-Pro: exam questions with up to ten options (Wang et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalkit.data import DataFile, DataStore, HubSplit
from evalkit.data.huggingface import hub_file
from evalkit.data.rows import json_rows
from evalkit.errors import DataError, UnknownNameError
from evalkit.instance import CORRECT, TEST, TRAIN, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario

ALL = "all"
_SUBJECTS = """
    biology business chemistry computer_science economics engineering health history law math other
    philosophy physics psychology
"""
SUBJECTS = (ALL, *_SUBJECTS.split())
_REVISION = "3373e0b"
_SPLITS = {"validation": TRAIN, "test": TEST}
_FIELDS = {
    "question_id": int,
    "question": str,
    "options": list,
    "answer": str,
    "answer_index": int,
    "category": str,
}


@scenario("mmlu_pro")
class MMLUProScenario(Scenario):
    """Multiple-choice exam questions with up to ten options.

    Args:
        subject: One of the 14 subjects with `_` for blanks, such as `computer_science`, or `all`.
        with_reasoning: Give examples the reasoning that the benchmark has for them. HELM loses it and shows
            examples with an empty line in its place.
    """

    def __init__(self, subject: str = ALL, with_reasoning: bool = False) -> None:
        if subject not in SUBJECTS:
            raise UnknownNameError("MMLU-Pro subject", subject, SUBJECTS)
        self.category = None if subject == ALL else subject.replace("_", " ")
        self.with_reasoning = with_reasoning

    def files(self) -> Sequence[DataFile]:
        """Validation and test at a pinned revision."""
        return tuple(_file(part) for part in _SPLITS)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """Validation as train, then test; every option that reads like the right one is right."""
        for part, split in _SPLITS.items():
            path = data.path(_file(part))
            for row in json_rows(path, _FIELDS):
                if self.category not in (None, row["category"]):
                    continue
                options, index = row["options"], row["answer_index"]
                if not 0 <= index < len(options):
                    raise DataError(f"{path}: question {row['question_id']} has no option {index}")
                right = options[index]
                reasoning = str(row.get("cot_content", "")) if self.with_reasoning else ""
                yield Instance(
                    row["question"],
                    tuple(Reference(text, (CORRECT,) if text == right else ()) for text in options),
                    split,
                    id=f"id{row['question_id']}",
                    extra={"chain_of_thought": reasoning} if split == TRAIN else None,
                )


def _file(part: str) -> DataFile:
    return hub_file(HubSplit("TIGER-Lab/MMLU-Pro", part, _REVISION))
