"""HELM's win rates: how many of the other models a model beats, a tie counting half."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class WinColumn:
    """What is compared in one column.

    Attributes:
        values: The number of each model.
        lower_is_better: Whether the smallest is the best.
        common: For two models of which one lacks units that the other has: their numbers over the units that
            both have, which decide between these two.
    """

    values: Mapping[str, float]
    lower_is_better: bool
    common: Mapping[Pair, tuple[float, float]] = field(default_factory=dict)

    def num_beaten(self) -> dict[str, float]:
        """How many of the others each model beats, ties counting half."""
        ordered = sorted(self.values.values(), reverse=self.lower_is_better)
        first: dict[float, int] = {}
        count: dict[float, int] = {}
        for position, value in enumerate(ordered):
            first.setdefault(value, position)
            count[value] = count.get(value, 0) + 1
        beaten = {model: first[value] + (count[value] - 1) / 2 for model, value in self.values.items()}
        for (one, other), numbers in self.common.items():
            before = self._win(self.values[one], self.values[other])
            change = self._win(*numbers) - before
            beaten[one] += change
            beaten[other] -= change
        return beaten

    def _win(self, ours: float, theirs: float) -> float:
        if ours == theirs:
            return 0.5
        return float((ours < theirs) == self.lower_is_better)


def mean_win_rates(columns: Iterable[WinColumn]) -> dict[str, float]:
    """HELM's mean win rate of each model that some column can compare with another."""
    wins: dict[str, list[float]] = {}
    for column in columns:
        if len(column.values) < 2:
            continue
        for model, beaten in column.num_beaten().items():
            wins.setdefault(model, []).append(beaten / (len(column.values) - 1))
    return {model: math.fsum(found) / len(found) for model, found in wins.items()}
