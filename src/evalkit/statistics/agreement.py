"""How far two judges, or a judge and a human, agree on the same items.

Cohen's κ = 1 - D_o / D_e compares the observed disagreement D_o = Σ p_ij d_ij with that of two who give
their verdicts independently of each other, D_e = Σ p_i. p_.j d_ij. Unweighted, d_ij is 1 for different
verdicts; linear, |i - j|; quadratic, (i - j)². Its standard error is that of Fleiss, Cohen & Everitt 1969
(Psychological Bulletin 72:323), here as the spread of the items' influence on κ, so that items of one cluster
can be summed.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from evalkit.statistics.figure import Figure, mean_figure, normal_figure, not_defined, share_figure

Weights = Literal["none", "linear", "quadratic"]
Pair = tuple[Hashable, Hashable]
"""The verdicts of two judges on one item."""


def agreement(pairs: Sequence[Pair], clusters: Sequence[Hashable] | None = None) -> Figure:
    """The share of items on which both say the same.

    Args:
        pairs: One per item.
        clusters: The cluster of each item, where some belong together (samples of one question).
    """
    return share_figure([float(one == other) for one, other in pairs], clusters)


def cohen_kappa(
    pairs: Sequence[Pair],
    weights: Weights = "none",
    order: Sequence[Hashable] | None = None,
    clusters: Sequence[Hashable] | None = None,
) -> Figure:
    """Cohen's κ, weighted if wanted, with its interval.

    Args:
        pairs: One per item.
        weights: Whether a larger difference is a larger disagreement.
        order: The verdicts from lowest to highest, for weights between verdicts that are not numbers; numbers
            are compared by their value, so unused ones between them change nothing.
        clusters: The cluster of each item; None: all are independent.

    Returns:
        Not defined without items, or where both judges give one and the same verdict to all of them.

    Raises:
        ValueError: Weights are wanted for verdicts without an order.
    """
    if not pairs:
        return not_defined("there are no items that both have judged")
    n, place = len(pairs), _places(pairs, weights, order)
    count = Counter((place[one], place[other]) for one, other in pairs)
    rows, columns = _margins(count)
    from_rows = {i: math.fsum(m * _distance(i, j, weights) for j, m in columns.items()) / n for i in rows}
    from_columns = {j: math.fsum(m * _distance(i, j, weights) for i, m in rows.items()) / n for j in columns}
    expected = math.fsum(m * from_rows[i] for i, m in rows.items()) / n
    if expected == 0:
        return not_defined(f"both give every item the verdict {pairs[0][0]}", n)
    observed = math.fsum(m * _distance(i, j, weights) for (i, j), m in count.items()) / n
    influence = {
        (i, j): ((from_rows[i] + from_columns[j] - 2 * expected) * observed / expected
                 - (_distance(i, j, weights) - observed)) / expected
        for i, j in count
    }  # fmt: skip
    spread = _variance([influence[place[one], place[other]] for one, other in pairs], clusters)
    kappa = 1 - observed / expected
    if observed == 0:
        return Figure(kappa, n, reason="no disagreement: the standard error would be 0")
    if spread is None:
        return Figure(kappa, n, reason="one cluster has no interval")
    return normal_figure(kappa, math.sqrt(spread), n)


@dataclass(frozen=True, slots=True)
class OrderSwap:
    """What happens to a judge's verdicts on pairs of answers when the answers change places.

    Attributes:
        consistency: Share of pairs of which both orders have the same verdict.
        first_place: Share of games won by the answer that is shown first, ties half; ½ without a preference
            for a place.
        num_consistent: Pairs with the same verdict in both orders.
        num_first: Pairs of which the answer shown first won both games.
        num_second: Pairs of which the answer shown second won both games.
        num_half: Pairs with a tie in one order only.
    """

    consistency: Figure
    first_place: Figure
    num_consistent: int
    num_first: int
    num_second: int
    num_half: int


def order_swap(games: Sequence[tuple[str, str]], clusters: Sequence[Hashable] | None = None) -> OrderSwap:
    """How far a judge's verdicts depend on the order of the answers.

    Args:
        games: For each pair, which answer won with A shown first, and which with B shown first: "A", "B" or
            "tie". It is the answer that is named, wherever it was shown.
        clusters: The cluster of each pair.
    """
    kinds = Counter(_kind(*game) for game in games)
    consistency = share_figure([float(one == other) for one, other in games], clusters)
    first = [(_won(one, "A") + _won(other, "B")) / 2 for one, other in games]
    first_place = mean_figure(first, clusters)
    return OrderSwap(
        consistency, first_place, kinds["consistent"], kinds["first"], kinds["second"], kinds["half"]
    )


def _kind(a_first: str, b_first: str) -> str:
    if a_first == b_first:
        return "consistent"
    if "tie" in (a_first, b_first):
        return "half"
    return "first" if a_first == "A" else "second"


def _won(verdict: str, shown_first: str) -> float:
    return 0.5 if verdict == "tie" else float(verdict == shown_first)


def _places(
    pairs: Sequence[Pair], weights: Weights, order: Sequence[Hashable] | None
) -> Mapping[Hashable, float]:
    """A number for each verdict, so that distances are differences."""
    verdicts = dict.fromkeys(verdict for pair in pairs for verdict in pair)
    if order is not None:
        if unknown := [verdict for verdict in verdicts if verdict not in order]:
            raise ValueError(f"the order of verdicts lacks {unknown[0]!r}")
        return {verdict: float(place) for place, verdict in enumerate(order)}
    if weights == "none":
        return {verdict: float(place) for place, verdict in enumerate(verdicts)}
    numbers: dict[Hashable, float] = {}
    for verdict in verdicts:
        if isinstance(verdict, bool) or not isinstance(verdict, int | float) or not math.isfinite(verdict):
            raise ValueError(
                f"{weights} weights need numbers, or an order of verdicts; {verdict!r} has neither"
            )
        numbers[verdict] = float(verdict)
    return numbers


def _margins(count: Mapping[tuple[float, float], int]) -> tuple[dict[float, int], dict[float, int]]:
    rows: dict[float, int] = defaultdict(int)
    columns: dict[float, int] = defaultdict(int)
    for (i, j), number in count.items():
        rows[i] += number
        columns[j] += number
    return rows, columns


def _distance(i: float, j: float, weights: Weights) -> float:
    if weights == "none":
        return float(i != j)
    return abs(i - j) if weights == "linear" else (i - j) ** 2


def _variance(influence: Sequence[float], clusters: Sequence[Hashable] | None) -> float | None:
    """Of the mean of the items' influence, over n as Fleiss et al. have it; None for a single cluster."""
    n = len(influence)
    if clusters is None or len(set(clusters)) == n:
        return math.fsum(each * each for each in influence) / n**2
    sums: dict[Hashable, list[float]] = defaultdict(list)
    for cluster, each in zip(clusters, influence, strict=True):
        sums[cluster].append(each)
    g = len(sums)
    if g < 2:
        return None
    return math.fsum(math.fsum(each) ** 2 for each in sums.values()) / n**2 * g / (g - 1)
