"""One number of a table with what is known of its uncertainty, and sums and differences of such numbers.

Intervals are combined by the method of variance estimates recovery (MOVER; Zou & Donner 2008, Statistics in
Medicine 27:1693): for estimates m_i with limits l_i, u_i and weights w_i, Σ w_i m_i has the limits

    Σ w_i m_i - √Σ w_i² (m_i - l_i)²   and   Σ w_i m_i + √Σ w_i² (u_i - m_i)²

It asks for no symmetry, so shares near 0 and 1 keep their Wilson limits, and one estimate keeps its own.
Estimates with correlation r_ij add 2 r_ij d_i d_j under the root, d being the weighted distance to the limit
(Zou 2007, Psychological Methods 12:399). Where all intervals are Student's t, their variances add instead,
with Satterthwaite's degrees of freedom: a mean over categories then has the interval of one stratified mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evalkit.statistics.student_t import two_sided_limit

_OUTSIDE = 0.05
Interval = tuple[float, float]
Correlations = Mapping[tuple[int, int], float]
"""The correlation of two estimates by their positions; those that are not there are independent."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its 95% confidence interval; None where there is none.

    Attributes:
        stderr: Where the interval is Student's t: the standard error. It may be 0, of values that are all
            alike; then there is no interval.
        freedom: The degrees of freedom of it.
    """

    value: float
    ci95: Interval | None
    stderr: float | None = None
    freedom: float | None = None

    def differs_from_zero(self) -> bool:
        """Whether the interval leaves zero out; False where there is no interval."""
        return self.ci95 is not None and not self.ci95[0] <= 0 <= self.ci95[1]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table.

    Attributes:
        n: Scored units behind it (instances, in each train trial and sample), `n_total` planned, `n_failed`
            without an answer.
        num_runs: Runs behind it.
        num_left_out: Runs that asked the same questions in another setting, and are not behind it.
        setting: What tells its setting from theirs (`temperature=0.7`); empty where there are none.
        is_best: No other in its column is better.
        within_noise: Its difference to the best of its column may be chance (95%); False for the best.
    """

    estimate: Estimate
    n: int = 0
    n_failed: int = 0
    n_total: int = 0
    num_runs: int = 0
    num_left_out: int = 0
    setting: str = ""
    is_best: bool = False
    within_noise: bool = False

    @property
    def value(self) -> float:
        """The number."""
        return self.estimate.value


def weighted_sum(
    estimates: Sequence[Estimate], weights: Sequence[float], correlations: Correlations | None = None
) -> Estimate:
    """The sum of estimates, each times its weight, which may be negative where all are independent."""
    value = math.fsum(w * e.value for e, w in zip(estimates, weights, strict=True))
    if (added := _student_sum(estimates, weights, correlations)) is not None:
        stderr, freedom = added
        margin = two_sided_limit(_OUTSIDE, freedom) * stderr
        return Estimate(value, (value - margin, value + margin), stderr, freedom)
    below: list[float] = []
    above: list[float] = []
    for estimate, weight in zip(estimates, weights, strict=True):
        if estimate.ci95 is None:
            return Estimate(value, None)
        low, high = (weight * (limit - estimate.value) for limit in estimate.ci95)
        below.append(min(low, high))
        above.append(max(low, high))
    return Estimate(value, (value - _length(below, correlations), value + _length(above, correlations)))


def _student_sum(
    estimates: Sequence[Estimate], weights: Sequence[float], correlations: Correlations | None
) -> tuple[float, float] | None:
    """The standard error and Satterthwaite's degrees of freedom of a sum; None unless all intervals are t."""
    variances: list[float] = []
    squares: list[float] = []
    for estimate, weight in zip(estimates, weights, strict=True):
        if estimate.stderr is None or not estimate.freedom:
            return None
        variances.append((weight * estimate.stderr) ** 2)
        squares.append(variances[-1] ** 2 / estimate.freedom)
    if not math.fsum(squares):
        return None
    errors = [weight * (e.stderr or 0.0) for e, weight in zip(estimates, weights, strict=True)]
    return _length(errors, correlations), math.fsum(variances) ** 2 / math.fsum(squares)


def mean_of(
    estimates: Sequence[Estimate],
    weights: Sequence[float] | None = None,
    correlations: Correlations | None = None,
) -> Estimate:
    """The mean of estimates, weighted if weights are given; independent but for the correlations given."""
    given = weights or [1.0] * len(estimates)
    total = math.fsum(given)
    return weighted_sum(estimates, [weight / total for weight in given], correlations)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """`first - second`, if they are independent."""
    return weighted_sum([first, second], [1, -1])


def _length(distances: Sequence[float], correlations: Correlations | None) -> float:
    if not correlations:
        return math.hypot(*distances)
    both = math.fsum(r * distances[i] * distances[j] for (i, j), r in correlations.items())
    # Whatever they have in common: never surer than independent estimates.
    return math.sqrt(math.fsum(d * d for d in distances) + 2 * max(0.0, both))
