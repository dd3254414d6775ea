"""What the scorer knows of judges: the scores that they give, and what they say of a unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from evalkit.instance import Instance
from evalkit.response import Failure
from evalkit.scoring.run_level import Row, RunLevelFunction

JUDGE_ERROR = "judge_error"
UnitId = tuple[str, int, int, str | None]
"""A unit: instance, train trial, sample, and label of the perturbed copy."""


@dataclass(frozen=True, slots=True)
class JudgedRunLevel:
    """Numbers over all units that a judge makes of its scores.

    Attributes:
        names: What they are called in this run.
        row: What is kept of an instance and its scores, by their names in this run; None: nothing.
        function: Makes the numbers of the rows.
    """

    names: tuple[str, ...]
    row: Callable[[Instance, Mapping[str, float]], Row | None]
    function: RunLevelFunction


@dataclass(frozen=True, slots=True)
class JudgeColumns:
    """A judge as the scorer knows it.

    Attributes:
        stage: What its stage is called.
        names: Its scores, as they are called in this run.
        lower_is_better: Those of which less is better.
        run_level: Its numbers over all units; None: it has none.
        shares: Those that lie from 0 to 1.
    """

    stage: str
    names: tuple[str, ...]
    lower_is_better: frozenset[str] = frozenset()
    run_level: JudgedRunLevel | None = None
    shares: frozenset[str] = frozenset()

    @property
    def all_names(self) -> tuple[str, ...]:
        """Those of its numbers over all units too."""
        return self.names + (self.run_level.names if self.run_level is not None else ())


@dataclass(slots=True)
class JudgedScores:
    """What a judge says of a unit: one opinion, or all of them together.

    Attributes:
        numbers: Scores by name.
        failures: Why the others are missing.
    """

    numbers: dict[str, float] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
