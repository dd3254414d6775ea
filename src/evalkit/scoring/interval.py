"""Standard errors and 95% confidence intervals of a mean.

Observations that share a cluster (questions on one passage; one question asked several times) are not
independent. Their standard error is the cluster-robust one of Miller 2024, "Adding Error Bars to Evals",
arXiv:2411.00640, with the usual correction for few clusters:

    SE² = G/(G-1) · Σ_clusters (Σ_i in cluster (x_i - mean))² / n²

for n observations in G clusters. With clusters of one it is the ordinary SE² = s²/n, s² over n-1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from evalkit.statistics.wilson import wilson_interval as wilson_interval

IntervalMethod = Literal["t", "wilson", "clustered_t", "bootstrap"]

_LARGE = 100


@dataclass(frozen=True, slots=True)
class Spread:
    """How sure a mean is.

    Attributes:
        stderr: Standard error; None for fewer than two observations or clusters.
        ci95: Lower and upper end of the 95% confidence interval; None where there is none.
        method: How `ci95` was found.
        num_clusters: None if all observations are independent.
    """

    stderr: float | None = None
    ci95: tuple[float, float] | None = None
    method: IntervalMethod | None = None
    num_clusters: int | None = None

    def within_0_and_1(self) -> Spread:
        """The same with an interval that ends where the values end; none where all values are alike.

        A standard error of 0 says nothing; where values are noes and yeses Wilson's interval does.
        """
        if self.ci95 is None:
            return self
        if self.stderr == 0 and self.method != "wilson":
            return replace(self, ci95=None, method=None)
        low, high = self.ci95
        return replace(self, ci95=(min(1.0, max(0.0, low)), min(1.0, max(0.0, high))))


def spread_of(values: Sequence[float], clusters: Sequence[int], may_be_share: bool = True) -> Spread:
    """Standard error and interval of the mean of `values`.

    Independent values that are all 0 or 1 get the Wilson score interval; so do clustered ones that are all
    alike, with the clusters for observations, since their standard error of 0 would promise too much.
    Everything else gets Student's t with one degree of freedom less than there are observations or clusters.

    Args:
        values: Finite numbers.
        clusters: The cluster of each value.
        may_be_share: False for quantities whose zeros and ones are counts, not noes and yeses.
    """
    n, num_clusters = len(values), len(set(clusters))
    if n == 0:
        return Spread()
    mean = math.fsum(values) / n
    clustered = num_clusters < n
    stderr = _stderr(values, clusters if clustered else None, mean, num_clusters)
    shown_clusters = num_clusters if clustered else None
    is_share = may_be_share and all(v == 0 or v == 1 for v in values)
    if is_share and (not clustered or mean in (0, 1)):
        return Spread(stderr, wilson_interval(mean, num_clusters), "wilson", shown_clusters)
    if stderr is None:
        return Spread(None, None, None, shown_clusters)
    margin = student_t_quantile(0.975, num_clusters - 1) * stderr
    method: IntervalMethod = "clustered_t" if clustered else "t"
    return Spread(stderr, (mean - margin, mean + margin), method, shown_clusters)


@lru_cache(maxsize=4096)
def student_t_quantile(probability: float, degrees_of_freedom: int) -> float:
    """The quantile of Student's t, for a probability from 0.5 up to (but not) 1; good to 1e-7 up to 0.9999.

    Raises:
        ValueError: The probability is outside that range, or there is no degree of freedom.
    """
    if not 0.5 <= probability < 1 or degrees_of_freedom < 1:
        raise ValueError(f"no t quantile for p={probability}, {degrees_of_freedom} degrees of freedom")
    if degrees_of_freedom > _LARGE:
        return _large_t_quantile(probability, degrees_of_freedom)
    low, high = 0.0, math.pi / 2
    wanted = 2 * probability - 1
    while (middle := (low + high) / 2) not in (low, high):
        if _central_probability(middle, degrees_of_freedom) < wanted:
            low = middle
        else:
            high = middle
    return math.tan(high) * math.sqrt(degrees_of_freedom)


def stderr_of(values: Sequence[float]) -> float | None:
    """The standard error of the mean of independent values; None for fewer than two."""
    if not values:
        return None
    return _stderr(values, None, math.fsum(values) / len(values), len(values))


def _stderr(
    values: Sequence[float], clusters: Sequence[int] | None, mean: float, num_clusters: int
) -> float | None:
    if num_clusters < 2:
        return None
    deviations = [v - mean for v in values]
    if clusters is not None:
        by_cluster: dict[int, list[float]] = {}
        for cluster, deviation in zip(clusters, deviations, strict=True):
            by_cluster.setdefault(cluster, []).append(deviation)
        deviations = [math.fsum(d) for d in by_cluster.values()]
    squares = math.fsum(d * d for d in deviations)
    return math.sqrt(squares * num_clusters / (num_clusters - 1)) / len(values)


def _central_probability(angle: float, degrees_of_freedom: int) -> float:
    """P(|T| <= t) for tan(angle) = t/√df: the finite series of Abramowitz & Stegun 26.7.3 and 26.7.4."""
    cos2 = math.cos(angle) ** 2
    odd = degrees_of_freedom % 2
    term = math.cos(angle) if odd else 1.0
    terms = []
    for k in range(2 + odd, degrees_of_freedom + 1, 2):
        terms.append(term)
        term *= cos2 * (k - 1) / k
    series = math.sin(angle) * math.fsum(terms)
    return 2 / math.pi * (angle + series) if odd else series


def _large_t_quantile(probability: float, degrees_of_freedom: int) -> float:
    """The expansion of the t quantile around the normal one: Abramowitz & Stegun 26.7.5."""
    from statistics import NormalDist

    x, n = NormalDist().inv_cdf(probability), degrees_of_freedom
    return math.fsum(
        (
            x,
            (x**3 + x) / (4 * n),
            (5 * x**5 + 16 * x**3 + 3 * x) / (96 * n**2),
            (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / (384 * n**3),
            (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / (92160 * n**4),
        )
    )
