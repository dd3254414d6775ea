"""The paired t-test of two models, over one set of questions or over a weighted mean of several numbers.

The unit is the question: what is given here are differences per question, each with its cluster. Questions of
one cluster (on one passage; the same question asked with and without examples) are not independent. With
weights w_k for the numbers k, the n_k differences d_ki of each and their means d_k, the contribution of a
cluster c to the deviation of Σ w_k d_k is

    u_c = Σ_k w_k / n_k · Σ_{i in c} (d_ki - d_k)

Numbers that have a cluster in common are one stratum s, with G_s clusters, and

    SE² = Σ_s G_s / (G_s - 1) · Σ_{c in s} u_c²

For one number this is the clustered t-test with G - 1 degrees of freedom (Miller 2024, arXiv:2411.00640), and
for numbers without common questions Σ w_k² SE_k². The degrees of freedom are Satterthwaite's over strata.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from evalkit.statistics.student_t import two_sided_limit, two_sided_p


@dataclass(frozen=True, slots=True)
class Differences:
    """One number of two models, as differences per question.

    Attributes:
        values: First model less second model, question by question.
        clusters: The cluster of each; equal ones in two numbers are the same cluster.
        weight: Of this number in the mean that is compared.
    """

    values: Sequence[float]
    clusters: Sequence[Hashable]
    weight: float = 1.0

    @property
    def mean(self) -> float:
        """The difference of the two models in this number."""
        return math.fsum(self.values) / len(self.values)


@dataclass(frozen=True, slots=True)
class KnownDifference:
    """One number of two models of which only the difference and its standard error are known.

    It is taken as independent of the others, and as normal.
    """

    value: float
    stderr: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two models differ.

    Attributes:
        stderr: None where there are too few clusters to say.
        degrees_of_freedom: None where there is no standard error, or it is 0.
        p_value: Two-sided, of no difference; None where there is no standard error.
        num_clusters: Over all numbers.
    """

    difference: float
    stderr: float | None
    degrees_of_freedom: float | None
    p_value: float | None
    num_clusters: int

    @property
    def ci95(self) -> tuple[float, float] | None:
        """The 95% confidence interval of the difference; None where there is no standard error."""
        if self.stderr is None:
            return None
        freedom = self.degrees_of_freedom
        margin = 0.0 if freedom is None else two_sided_limit(0.05, freedom) * self.stderr
        return self.difference - margin, self.difference + margin


def compare(parts: Sequence[Differences | KnownDifference]) -> Comparison:
    """The paired, clustered t-test of a weighted sum of differences.

    Where all differences of each number are equal, the standard error is 0 and says nothing: the p-value is
    then that of the sign-flip test, 2 / 2^G for G clusters, and 1 if there is no difference at all.

    Args:
        parts: One per number; weights that sum to 1 compare a mean.

    Raises:
        ValueError: There is no number, or one without questions.
    """
    if not parts or any(isinstance(part, Differences) and not part.values for part in parts):
        raise ValueError("nothing to compare: a number without questions, or no number")
    value = math.fsum(p.weight * (p.mean if isinstance(p, Differences) else p.value) for p in parts)
    strata = [_stratum(part) for part in _joined([p for p in parts if isinstance(p, Differences)])]
    strata += [((p.weight * p.stderr) ** 2, None) for p in parts if isinstance(p, KnownDifference)]
    num_clusters = sum(g for _, g in strata if g is not None)
    if any(g is not None and g < 2 for _, g in strata):
        return Comparison(value, None, None, None, num_clusters)
    variance = math.fsum(each for each, _ in strata)
    if variance <= 0:
        p_value = 1.0 if value == 0 else min(1.0, 2.0 ** (1 - min(num_clusters, 1000)))
        return Comparison(value, 0.0, None, p_value, num_clusters)
    spread = math.fsum(each * each / (g - 1) for each, g in strata if g is not None)
    freedom = variance * variance / spread if spread else math.inf
    stderr = math.sqrt(variance)
    p_value = two_sided_p(value / stderr, freedom)
    return Comparison(value, stderr, freedom, p_value, num_clusters)


def paired_t(
    first: Sequence[float], second: Sequence[float], clusters: Sequence[Hashable] | None = None
) -> Comparison:
    """The paired t-test of two models on the same questions, clustered if clusters are given.

    Raises:
        ValueError: The lengths differ, or there are no questions.
    """
    values = [a - b for a, b in zip(first, second, strict=True)]
    return compare([Differences(values, range(len(values)) if clusters is None else clusters)])


def _joined(parts: Sequence[Differences]) -> Iterable[list[Differences]]:
    """The numbers in strata: those with a cluster in common are together, directly or through others."""
    strata: list[tuple[set[Hashable], list[Differences]]] = []
    for part in parts:
        clusters, members = set(part.clusters), [part]
        apart = []
        for known, others in strata:
            if known.isdisjoint(clusters):
                apart.append((known, others))
            else:
                clusters |= known
                members = [*others, *members]
        strata = [*apart, (clusters, members)]
    return (members for _, members in strata)


def _stratum(parts: Iterable[Differences]) -> tuple[float, int | None]:
    """Its part of the squared standard error, and how many clusters it has."""
    moved: dict[Hashable, list[float]] = {}
    for part in parts:
        mean, share = part.mean, part.weight / len(part.values)
        for value, cluster in zip(part.values, part.clusters, strict=True):
            moved.setdefault(cluster, []).append(share * (value - mean))
    num = len(moved)
    if num < 2:
        return 0.0, num
    return num / (num - 1) * math.fsum(math.fsum(each) ** 2 for each in moved.values()), num
