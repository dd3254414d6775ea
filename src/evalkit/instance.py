"""One question of a benchmark, with the answers it accepts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CORRECT = "correct"
TRAIN, VALID, TEST = "train", "valid", "test"
EVAL_SPLITS = (VALID, TEST)


@dataclass(frozen=True, slots=True)
class Reference:
    """A possible output; `tags` holds "correct" if it is right."""

    text: str
    tags: tuple[str, ...] = ()

    @property
    def is_correct(self) -> bool:
        """Whether this reference is a right answer."""
        return CORRECT in self.tags


@dataclass(frozen=True, slots=True)
class Instance:
    """One question.

    Attributes:
        input: The text that the prompt is made of.
        references: Right answers and, for multiple choice, the wrong ones, in the order shown.
        split: "train" (few-shot pool), "valid" or "test" (evaluated).
        id: Unique within the scenario; given by position (`id0`, `id1`, …) where the scenario sets none.
        sub_split: A finer split that scores are also wanted for.
        group: Instances that share a group (one passage, one document) are not independent: standard
            errors are clustered by it.
        extra: Anything that an adapter or a metric of the same benchmark needs.
    """

    input: str
    references: tuple[Reference, ...]
    split: str
    id: str | None = None
    sub_split: str | None = None
    group: str | None = None
    extra: Mapping[str, Any] | None = None

    @property
    def correct_references(self) -> tuple[Reference, ...]:
        """The right answers, in order."""
        return tuple(r for r in self.references if r.is_correct)

    @property
    def first_correct(self) -> Reference | None:
        """The first right answer, or None for an unlabelled instance."""
        return next((r for r in self.references if r.is_correct), None)
