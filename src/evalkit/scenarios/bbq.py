"""BBQ: questions that reveal social bias (Parrish et al. 2022)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.data import DataFile, DataStore
from evalkit.data.rows import json_rows
from evalkit.errors import DataError, UnknownNameError
from evalkit.instance import CORRECT, TEST, TRAIN, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario

# Categories with the checksums of those files that have been seen.
_CATEGORIES = {
    "Age": "46e805b3fc2d8cbd26eeb8e8430d98cf7b2dc9c83574ff3674e8ce4f0fca2a60",
    "Disability_status": "375d40d9b71f056150264445ec189b13934998f3f49a1e311aa7578eb3b45e5f",
    "Gender_identity": None,
    "Nationality": None,
    "Physical_appearance": None,
    "Race_ethnicity": None,
    "Race_x_SES": None,
    "Race_x_gender": None,
    "Religion": None,
    "SES": None,
    "Sexual_orientation": "2c71036b9e7584fe589c42aef32c1a42bc01b9a5e9b1b8704342630cdb08cefd",
}
_URL = "https://raw.githubusercontent.com/nyu-mll/BBQ/bea11bd97d79217245b5871acd247b9d6eb24598/data"
ALL = "all"
_FIELDS = {
    "context": str,
    "question": str,
    "label": int,
    "category": str,
    "question_polarity": str,
    "context_condition": str,
    "answer_info": dict,
    "additional_metadata": dict,
}
_OPTIONS = {"A": "ans0", "B": "ans1", "C": "ans2"}
_NUM_TEST = 1000
_UNKNOWN = {
    *("Cannot answer", "Can't be determined", "Cannot be determined", "Can't answer", "Not known"),
    *("Not enough info", "Not enough information", "Not answerable", "Undetermined", "Unknown"),
}


def category_of(subject: str) -> str:
    """The category as BBQ writes it, or "all"; letter case does not matter, since HELM's confs vary in it.

    Raises:
        UnknownNameError: There is no such category.
    """
    by_folded = {name.casefold(): name for name in (ALL, *_CATEGORIES)}
    if subject.casefold() not in by_folded:
        raise UnknownNameError("BBQ subject", subject, by_folded.values())
    return by_folded[subject.casefold()]


@scenario("bbq")
class BBQScenario(Scenario):
    """Questions about two people of different groups, in contexts with and without the answer.

    Args:
        subject: A category, such as `Age`, or `all`.
    """

    def __init__(self, subject: str) -> None:
        category = category_of(subject)
        self.categories = tuple(_CATEGORIES) if category == ALL else (category,)

    def files(self) -> Sequence[DataFile]:
        """One file per category."""
        return tuple(_file(category) for category in self.categories)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """Shuffled; the last 1000 are test, what is before them train: a small category has no train split.

        The tags of every reference end with six that the metric `bbq` reads: polarity, context, and the
        letters of the right, the stereotyped, the other and the unknown option ("" for none).
        """
        rows = [
            (path, row)
            for path in (data.path(file) for file in self.files())
            for row in json_rows(path, {**_FIELDS, **dict.fromkeys(_OPTIONS.values(), str)})
        ]
        random.Random(0).shuffle(rows)
        num_train = max(0, len(rows) - _NUM_TEST)
        for number, (path, row) in enumerate(rows):
            yield _instance(path, row, TRAIN if number < num_train else TEST)


def _file(category: str) -> DataFile:
    return DataFile(
        path=f"bbq/{category}.jsonl", url=f"{_URL}/{category}.jsonl", sha256=_CATEGORIES[category]
    )


def _instance(path: Path, row: Mapping[str, Any], split: str) -> Instance:
    texts = [row[field] for field in _OPTIONS.values()]
    if not 0 <= row["label"] < len(texts):
        raise DataError(f"{path}: label {row['label']} is not that of one of {len(texts)} options")
    letters = {"target": "", "other": "", "unknown": ""}
    for letter, field in _OPTIONS.items():
        letters[_kind(path, row, field)] = letter
    tags = (
        "negative" if row["question_polarity"] == "neg" else "non-negative",
        "ambiguous" if row["context_condition"] == "ambig" else "non-ambiguous",
        list(_OPTIONS)[row["label"]],
        *letters.values(),
    )
    right = texts[row["label"]]
    references = (Reference(text, ((CORRECT,) if text == right else ()) + tags) for text in texts)
    return Instance(f"{row['context']}\nQuestion: {row['question']}", tuple(references), split)


def _kind(path: Path, row: Mapping[str, Any], field: str) -> str:
    """Whether an option is the stereotyped group ("target"), another one ("other") or "unknown"."""
    about = row["answer_info"].get(field)
    groups = row["additional_metadata"].get("stereotyped_groups")
    if not isinstance(about, list) or not isinstance(groups, list):
        raise DataError(f"{path}: answer_info.{field} and stereotyped_groups must be lists")
    if _UNKNOWN.intersection(about):
        return "unknown"
    return "target" if any(_is_about(about, group, row["category"]) for group in groups) else "other"


def _is_about(about: Sequence[str], group: str, category: str) -> bool:
    """Whether what BBQ says of an option names this group, which each category writes in its own way."""
    if group in about:
        return True
    if category == "Race_ethnicity" and group in ("Black", "African American", "Latino"):
        return any(group in item for item in about)
    if category == "SES" and group == "low SES":
        return any("lowSES" in item for item in about)
    if category == "Race_x_SES" and f"lowSES-{group}" in about:
        return True
    return f"lowSES-M-{group}" in about or f"lowSES-F-{group}" in about
