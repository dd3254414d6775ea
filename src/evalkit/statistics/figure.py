"""A number of a table: with its interval, or with the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from evalkit.statistics.paired import Differences, compare
from evalkit.statistics.wilson import wilson_interval

Z95 = 1.959963984540054
"""The quantile of the normal distribution for a 95% interval."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that may not be defined; never NaN.

    Attributes:
        value: The number; None where it is not defined.
        n: Observations behind it.
        stderr: Standard error; None where there is none.
        ci95: Lower and upper end of the 95% interval; None where there is none.
        reason: Why there is no number, or no interval; "" where both are there.
    """

    value: float | None
    n: int
    stderr: float | None = None
    ci95: tuple[float, float] | None = None
    reason: str = ""

    def to_json(self) -> dict[str, object]:
        """The number as a plain dictionary; `value` is null where it is not defined."""
        plain: dict[str, object] = {"value": self.value, "n": self.n}
        if self.stderr is not None:
            plain["stderr"] = self.stderr
        if self.ci95 is not None:
            plain["ci95"] = list(self.ci95)
        if self.reason:
            plain["reason"] = self.reason
        return plain


def not_defined(reason: str, n: int = 0) -> Figure:
    """A number that there is none of, with the reason."""
    return Figure(None, n, reason=reason)


def normal_figure(value: float, stderr: float, n: int, reason: str = "") -> Figure:
    """A number with the normal interval; without one where the standard error is 0, which says nothing."""
    if not stderr > 0:
        return Figure(value, n, 0.0, None, reason or "the standard error is 0, so it says nothing")
    margin = Z95 * stderr
    return Figure(value, n, stderr, (value - margin, value + margin), reason)


def share_figure(hits: Sequence[float], clusters: Sequence[Hashable] | None = None) -> Figure:
    """The mean of zeros and ones.

    Independent ones have the Wilson interval, as have those that are all alike, with the clusters for
    observations; clustered ones have Student's t over clusters.
    """
    if not hits:
        return not_defined("there are no observations")
    share = math.fsum(hits) / len(hits)
    num_clusters = len(hits) if clusters is None else len(set(clusters))
    if num_clusters == len(hits) or share in (0, 1):
        stderr = math.sqrt(share * (1 - share) / (num_clusters - 1)) if num_clusters > 1 else None
        return Figure(share, len(hits), stderr, wilson_interval(share, num_clusters))
    return mean_figure(hits, clusters)


def mean_figure(values: Sequence[float], clusters: Sequence[Hashable] | None = None) -> Figure:
    """The mean of any numbers, with Student's t over observations, or over clusters where they are given."""
    if not values:
        return not_defined("there are no observations")
    known = range(len(values)) if clusters is None else clusters
    made = compare([Differences(values, known)])
    if made.stderr is None:
        what = "observation" if clusters is None else "cluster"
        return Figure(made.difference, len(values), reason=f"one {what} has no interval")
    if made.stderr == 0:
        return normal_figure(made.difference, 0.0, len(values))
    return Figure(made.difference, len(values), made.stderr, made.ci95)


def within_0_and_1(figure: Figure) -> Figure:
    """A share that chance has moved out of 0 to 1, or an end of its interval, cut there; says from what."""
    if figure.value is None:
        return figure
    value, reason = _cut(figure.value), figure.reason
    if value != figure.value:
        reason = f"cut from {figure.value:.4g} to {value:g}"
    ci95 = None if figure.ci95 is None else (_cut(figure.ci95[0]), _cut(figure.ci95[1]))
    return Figure(value, figure.n, figure.stderr, ci95, reason)


def _cut(value: float) -> float:
    return min(1.0, max(0.0, value))
