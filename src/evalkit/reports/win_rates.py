"""HELM's win rates: how many of the other models a model beats, a tie counting half."""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.reports.cell import Estimate, Interval

_NUM_DRAWS = 1000
_HALF_WIDTH_IN_SD = 1.959963984540054

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


@dataclass(frozen=True, slots=True)
class UncertainColumn:
    """A column of numbers with their intervals.

    Attributes:
        estimates: The number of each model.
        lower_is_better: Whether the smallest is the best.
        common: As in `WinColumn`.
        evidence: What the number of each model is made from; equal evidence in two columns varies together.
    """

    estimates: Mapping[str, Estimate]
    lower_is_better: bool
    common: Mapping[Pair, tuple[float, float]]
    evidence: Mapping[str, Hashable]

    def redrawn(self, luck: dict[Hashable, float], generator: random.Random) -> WinColumn:
        """The column with each number drawn anew from a normal distribution as wide as its interval.

        Args:
            luck: How far each evidence is off in this draw; what is new is added.
            generator: Makes the draws.
        """
        moved = {m: self._moved(m, e.ci95, luck, generator) for m, e in self.estimates.items()}
        pairs = {
            (one, other): (ours + moved[one], theirs + moved[other])
            for (one, other), (ours, theirs) in self.common.items()
        }
        values = {m: e.value + moved[m] for m, e in self.estimates.items()}
        return WinColumn(values, self.lower_is_better, pairs)

    def _moved(
        self, model: str, ci95: Interval | None, luck: dict[Hashable, float], generator: random.Random
    ) -> float:
        if ci95 is None:
            return 0.0
        evidence = self.evidence[model]
        if evidence not in luck:
            luck[evidence] = generator.gauss(0.0, 1.0)
        return luck[evidence] * (ci95[1] - ci95[0]) / 2 / _HALF_WIDTH_IN_SD


def drawn_win_rates(columns: Sequence[UncertainColumn]) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Each model's mean win rate, and what it is in 1,000 tables drawn anew; the generator is seeded."""
    rates = mean_win_rates(
        WinColumn({m: e.value for m, e in c.estimates.items()}, c.lower_is_better, c.common) for c in columns
    )
    drawn: dict[str, list[float]] = {model: [] for model in rates}
    generator = random.Random(0)
    for _ in range(_NUM_DRAWS if rates else 0):
        luck: dict[Hashable, float] = {}
        for model, rate in mean_win_rates([column.redrawn(luck, generator) for column in columns]).items():
            drawn[model].append(rate)
    return rates, drawn


def middle_95(values: Sequence[float]) -> Interval:
    """The limits of the middle 95% of drawn values."""
    ordered = sorted(values)
    cut = int(0.025 * len(ordered))
    return ordered[cut], ordered[-1 - cut]
