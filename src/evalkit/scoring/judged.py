"""What the scorer knows of judges: the scores that they give, and what they say of a unit."""

from __future__ import annotations

from dataclasses import dataclass, field

from evalkit.response import Failure

JUDGE_ERROR = "judge_error"
UnitId = tuple[str, int, int, str | None]
"""A unit: instance, train trial, sample, and label of the perturbed copy."""


@dataclass(frozen=True, slots=True)
class JudgeColumns:
    """A judge as the scorer knows it.

    Attributes:
        stage: What its stage is called.
        names: Its scores, as they are called in this run.
        lower_is_better: Those of which less is better.
    """

    stage: str
    names: tuple[str, ...]
    lower_is_better: frozenset[str] = frozenset()


@dataclass(slots=True)
class JudgedScores:
    """What a judge says of a unit: one opinion, or all of them together.

    Attributes:
        numbers: Scores by name.
        failures: Why the others are missing.
    """

    numbers: dict[str, float] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
