"""Which ranks a model may have, given what is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evalkit.statistics.multiple import holm


@dataclass(frozen=True, slots=True)
class RankInterval:
    """The ranks a model may have, the best one first; 1 is the top."""

    best: int
    worst: int

    def with_ranks(self, best: int, worst: int) -> RankInterval:
        """The smallest interval that holds this one and these ranks."""
        return RankInterval(min(self.best, best), max(self.worst, worst))

    def __str__(self) -> str:
        return str(self.best) if self.best == self.worst else f"{self.best}–{self.worst}"


def ranks_by_comparison(
    models: Sequence[str], pairs: Mapping[tuple[str, str], tuple[float, float]], level: float = 0.05
) -> dict[str, RankInterval]:
    """Rank intervals from tests of all pairs, adjusted by Holm's method over all of them.

    A model's best rank is 1 + the number of models that are significantly better, its worst the number of
    models less those that are significantly worse. A pair without a test tells nothing apart.

    Args:
        models: All that are ranked.
        pairs: Of two models, how far the first is ahead (higher is better), and the p-value of no difference.
        level: A pair differs if its adjusted p-value is at most this.
    """
    adjusted = holm([p_value for _, p_value in pairs.values()])
    better = dict.fromkeys(models, 0)
    worse = dict.fromkeys(models, 0)
    for ((first, second), (ahead, _)), p_value in zip(pairs.items(), adjusted, strict=True):
        if p_value <= level and ahead != 0:
            winner, loser = (first, second) if ahead > 0 else (second, first)
            better[loser] += 1
            worse[winner] += 1
    return {model: RankInterval(1 + better[model], len(models) - worse[model]) for model in models}


def ranks_by_draws(draws: Mapping[str, Sequence[float]], share: float = 0.95) -> dict[str, RankInterval]:
    """Rank intervals from repeated draws of all numbers: the middle `share` of the ranks in the draws.

    Models that tie in a draw share the ranks they take: the best of them counts for the lower end, the worst
    for the upper one.

    Args:
        draws: Each model's number in each draw (higher is better), all equally many.
        share: Of the ranks that the interval holds.
    """
    lows: dict[str, list[int]] = {model: [] for model in draws}
    highs: dict[str, list[int]] = {model: [] for model in draws}
    for values in zip(*draws.values(), strict=True):
        for model, value in zip(draws, values, strict=True):
            num_better = sum(other > value for other in values)
            lows[model].append(1 + num_better)
            highs[model].append(num_better + sum(other == value for other in values))
    found = {}
    for model in draws:
        low, high = sorted(lows[model]), sorted(highs[model])
        cut = int((1 - share) / 2 * len(low))
        found[model] = RankInterval(low[cut], high[-1 - cut])
    return found
