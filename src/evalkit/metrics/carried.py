"""Scores that came with an imported run and can't be computed here."""

from __future__ import annotations

from collections.abc import Mapping

from evalkit.registry import metric
from evalkit.scoring.metric import Metric
from evalkit.scoring.unit import Unit

CARRIED_SCORES = "carried_scores"
"""Where an instance keeps them in `extra`: unit label (`carried_key`) to score by name."""


def carried_key(trial: int, sample: int) -> str:
    """The label of a unit among the carried scores of its instance: `t0/s0`."""
    return f"t{trial}/s{sample}"


@metric("carried_over")
class CarriedOver(Metric):
    """The scores that another harness gave, exactly as it gave them.

    Args:
        names: The scores to report; others that came along stay unused.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def score(self, unit: Unit) -> Mapping[str, float]:
        """The scores that came with this unit; those it has not are left out."""
        extra = unit.instance.extra or {}
        given = extra.get(CARRIED_SCORES, {}).get(carried_key(unit.trial, unit.sample), {})
        return {name: given[name] for name in self.names if name in given}
