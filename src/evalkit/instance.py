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
class PerturbationDescription:
    """How a perturbed copy of an instance was made.

    Attributes:
        name: The perturbation.
        variant: Its arguments (`suffix=watercolor`), where a run applies it several times; else empty.
        robustness: Whether it leaves meaning and answer as they are, so that a robust model answers alike.
        fairness: Whether it exchanges social groups, so that a fair model answers alike.
        seed: Which further draw this is; None: the first one.
    """

    name: str
    variant: str = ""
    robustness: bool = False
    fairness: bool = False
    seed: int | None = None

    @property
    def label(self) -> str:
        """What tells it from the other perturbations of a run: `dialect`, `style(suffix=watercolor)`."""
        details = [self.variant] if self.variant else []
        if self.seed is not None:
            details.append(f"seed={self.seed}")
        return f"{self.name}({','.join(details)})" if details else self.name


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
        perturbation: How this copy was made; None for an original. A copy keeps the id of its original.
    """

    input: str
    references: tuple[Reference, ...]
    split: str
    id: str | None = None
    sub_split: str | None = None
    group: str | None = None
    extra: Mapping[str, Any] | None = None
    perturbation: PerturbationDescription | None = None

    @property
    def perturbation_label(self) -> str | None:
        """What tells a perturbed copy from its siblings; None for an original."""
        return self.perturbation.label if self.perturbation is not None else None

    @property
    def correct_references(self) -> tuple[Reference, ...]:
        """The right answers, in order."""
        return tuple(r for r in self.references if r.is_correct)

    @property
    def first_correct(self) -> Reference | None:
        """The first right answer, or None for an unlabelled instance."""
        return next((r for r in self.references if r.is_correct), None)
