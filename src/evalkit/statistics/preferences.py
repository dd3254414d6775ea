"""Win rates from pairwise verdicts, with and without the influence of the answers' length."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from evalkit.statistics.figure import (
    Z95,
    Figure,
    mean_figure,
    normal_figure,
    not_defined,
    share_figure,
    within_0_and_1,
)
from evalkit.statistics.matrices import inverse, product, times

_MOST_STEPS = 200
_MOST_HALVINGS = 60
_SMALLEST_STEP = 1e-12


@dataclass(frozen=True, slots=True)
class WinRate:
    """How often one model was preferred to another.

    Attributes:
        rate: Wins and half the ties, per question.
        wins: Questions won, in the mean of their games.
        ties: Questions tied.
        losses: Questions lost.
        p_value: Of the sign test: that wins and losses are equally likely, ties dropped. None without any.
    """

    rate: Figure
    wins: int
    ties: int
    losses: int
    p_value: float | None


def win_rate(values: Sequence[float], clusters: Sequence[Hashable] | None = None) -> WinRate:
    """The win rate over questions.

    Args:
        values: Of each question the first model's share of its games: 1, ½ or 0, or between.
        clusters: The cluster of each question.
    """
    wins = sum(value > 0.5 for value in values)
    losses = sum(value < 0.5 for value in values)
    is_share = all(value in (0, 1) for value in values)
    rate = within_0_and_1((share_figure if is_share else mean_figure)(values, clusters))
    p_value = _sign_test(wins, losses) if wins + losses else None
    return WinRate(rate, wins, len(values) - wins - losses, losses, p_value)


@dataclass(frozen=True, slots=True)
class LengthControlled:
    """A win rate as it would be if both models' answers were equally long.

    Attributes:
        rate: The win rate at no difference in length.
        slope: How much the log-odds of winning change with the difference in length, in its standard units.
    """

    rate: Figure
    slope: Figure


def length_controlled_win_rate(
    values: Sequence[float],
    lengths: Sequence[tuple[float, float]],
    clusters: Sequence[Hashable] | None = None,
) -> LengthControlled:
    """The win rate controlled for length, after AlpacaEval (Dubois et al. 2024, arXiv:2404.04475).

    The log-odds of winning are α + β tanh(d/s), d being the difference in length and s its standard
    deviation; the rate is 1 / (1 + exp(-α)). AlpacaEval's further term, how hard each question is, is left
    out, since it needs many models. The interval is that of α, with robust standard errors.

    Args:
        values: As for `win_rate`.
        lengths: Of each question the length of both models' answers, in characters.
        clusters: The cluster of each question.

    Returns:
        Not defined where all differences in length are equal, or length alone separates wins from losses.
    """
    n = len(values)
    differences = [float(ours - theirs) for ours, theirs in lengths]
    if len(differences) != n:
        raise ValueError("each question needs the lengths of both answers")
    if n < 3 or statistics.pstdev(differences) == 0:
        reason = "all differences in length are equal" if n > 2 else "it takes at least three questions"
        return LengthControlled(not_defined(reason, n), not_defined(reason, n))
    scale = statistics.stdev(differences)
    x = [math.tanh(difference / scale) for difference in differences]
    if not _overlap(values, x):
        reason = "the difference in length alone separates wins from losses"
        if not (any(value > 0 for value in values) and any(value < 1 for value in values)):
            reason = "one of both won every question"
        return LengthControlled(not_defined(reason, n), not_defined(reason, n))
    (alpha, beta), (var_alpha, var_beta) = _logistic(values, x, clusters)
    rate = _sigmoid(alpha)
    if clusters is not None and len(set(clusters)) < 2:
        reason = "one cluster has no interval"
        return LengthControlled(Figure(rate, n, reason=reason), Figure(beta, n, reason=reason))
    stderr = math.sqrt(var_alpha)
    if stderr <= _SMALLEST_STEP:  # every question is tied
        reason = "the standard error is 0, so it says nothing"
        return LengthControlled(Figure(rate, n, 0.0, reason=reason), Figure(beta, n, 0.0, reason=reason))
    low, high = _sigmoid(alpha - Z95 * stderr), _sigmoid(alpha + Z95 * stderr)
    return LengthControlled(
        Figure(rate, n, stderr * rate * (1 - rate), (low, high)), normal_figure(beta, math.sqrt(var_beta), n)
    )


def _sign_test(wins: int, losses: int) -> float:
    """The exact two-sided binomial test of equal chances."""
    n, k = wins + losses, min(wins, losses)
    tail = sum(math.comb(n, i) for i in range(k + 1))
    return float(min(1.0, 2 * tail / 2**n))


def _overlap(values: Sequence[float], x: Sequence[float]) -> bool:
    """Whether the likelihood has its maximum at finite numbers: wins and losses overlap along x."""
    of_wins = [place for value, place in zip(values, x, strict=True) if value > 0]
    of_losses = [place for value, place in zip(values, x, strict=True) if value < 1]
    if not of_wins or not of_losses:
        return False
    return min(of_wins) < max(of_losses) and min(of_losses) < max(of_wins)


def _logistic(
    values: Sequence[float], x: Sequence[float], clusters: Sequence[Hashable] | None
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Intercept and slope of a logistic regression, and their variances, clustered if clusters are given."""
    a = b = 0.0
    for _ in range(_MOST_STEPS):
        slope, information = _derivatives(values, x, a, b)
        step = times(inverse(information), slope)
        before = _log_likelihood(values, x, a, b)
        for _ in range(_MOST_HALVINGS):
            if _log_likelihood(values, x, a + step[0], b + step[1]) >= before - 1e-9 * abs(before):
                break
            step = [each / 2 for each in step]
        a, b = a + step[0], b + step[1]
        if max(map(abs, step)) < _SMALLEST_STEP:
            break
    flat = inverse(_derivatives(values, x, a, b)[1])
    sums: dict[Hashable, list[float]] = defaultdict(lambda: [0.0, 0.0])
    names = range(len(values)) if clusters is None else clusters
    for name, value, place in zip(names, values, x, strict=True):
        surprise = value - _sigmoid(a + b * place)
        sums[name][0] += surprise
        sums[name][1] += surprise * place
    g = len(sums)
    scale = g / max(1, g - 1)
    middle = [[scale * math.fsum(s[i] * s[j] for s in sums.values()) for j in (0, 1)] for i in (0, 1)]
    covariance = product(product(flat, middle), flat)
    return (a, b), (covariance[0][0], covariance[1][1])


def _derivatives(
    values: Sequence[float], x: Sequence[float], a: float, b: float
) -> tuple[list[float], list[list[float]]]:
    chances = [_sigmoid(a + b * place) for place in x]
    surprises = [value - chance for value, chance in zip(values, chances, strict=True)]
    weights = [chance * (1 - chance) for chance in chances]
    slope = [math.fsum(surprises), math.fsum(s * place for s, place in zip(surprises, x, strict=True))]
    cross = math.fsum(w * place for w, place in zip(weights, x, strict=True))
    square = math.fsum(w * place * place for w, place in zip(weights, x, strict=True))
    return slope, [[math.fsum(weights), cross], [cross, square]]


def _log_likelihood(values: Sequence[float], x: Sequence[float], a: float, b: float) -> float:
    leads = (a + b * place for place in x)
    return math.fsum(
        value * _log_sigmoid(lead) + (1 - value) * _log_sigmoid(-lead)
        for value, lead in zip(values, leads, strict=True)
    )


def _sigmoid(lead: float) -> float:
    return 1 / (1 + math.exp(-lead)) if lead > -700 else 0.0


def _log_sigmoid(lead: float) -> float:
    return -math.log1p(math.exp(-lead)) if lead > -30 else lead
