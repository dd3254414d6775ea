"""What a judge's verdicts say about the truth, given human labels for some of them.

The labelled items must be a random sample of the same questions. A judge that agrees with humans in 91% of
the cases may still be useless (κ 0.13), so its errors of both kinds are measured, and its mean is corrected.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.statistics.figure import Figure, normal_figure, not_defined, share_figure, within_0_and_1


@dataclass(frozen=True, slots=True)
class JudgeRates:
    """How often a judge that says yes or no is right, by human labels.

    Attributes:
        sensitivity: Share of the items that humans call right which the judge calls right.
        specificity: Share of the items that humans call wrong which the judge calls wrong.
    """

    sensitivity: Figure
    specificity: Figure


def judge_rates(labelled: Sequence[tuple[bool, bool]]) -> JudgeRates:
    """Sensitivity and specificity with Wilson intervals; not defined where humans give one label only.

    Args:
        labelled: For each item the human's label, and the judge's.
    """
    of_right = [float(judge) for human, judge in labelled if human]
    of_wrong = [float(not judge) for human, judge in labelled if not human]
    sensitivity = share_figure(of_right) if of_right else not_defined("no item is right by its human label")
    specificity = share_figure(of_wrong) if of_wrong else not_defined("no item is wrong by its human label")
    return JudgeRates(sensitivity, specificity)


def rogan_gladen(judged: Sequence[bool], rates: JudgeRates) -> Figure:
    """The share of right items, corrected for the judge's errors: Rogan & Gladen 1978.

    With p the judge's share of N items, θ = (p + spec - 1) / (sens + spec - 1), and

        SE² = (p(1-p)/N + θ² sens(1-sens)/n₁ + (1-θ)² spec(1-spec)/n₀) / (sens + spec - 1)²

    Chance may move θ, or an end of its interval, out of 0 to 1; it is cut there, and `reason` says from what.

    Args:
        judged: The judge's verdicts on items without a label.
        rates: Of the same judge, from items with one.
    """
    n, sensitivity, specificity = len(judged), rates.sensitivity, rates.specificity
    if not n:
        return not_defined("the judge has judged no item without a label")
    if sensitivity.value is None or specificity.value is None:
        return not_defined(sensitivity.reason or specificity.reason, n)
    right, power = sensitivity.value, sensitivity.value + specificity.value - 1
    if power <= 0:
        return not_defined("by its human labels the judge is not better than chance", n)
    share = math.fsum(judged) / n
    theta = (share + specificity.value - 1) / power
    variance = share * (1 - share) / n
    variance += theta**2 * right * (1 - right) / sensitivity.n
    variance += (1 - theta) ** 2 * specificity.value * (1 - specificity.value) / specificity.n
    return within_0_and_1(normal_figure(theta, math.sqrt(variance) / power, n))


@dataclass(frozen=True, slots=True)
class PredictionPowered:
    """A prediction-powered mean, and how much weight the judge's verdicts have in it.

    Attributes:
        mean: The mean of the human labels of all items.
        tuning: λ: 0 leaves the judge out, 1 trusts it as far as the labels allow.
    """

    mean: Figure
    tuning: float | None


def prediction_powered(
    labels: Sequence[float], judged: Sequence[float], unlabelled: Sequence[float], tuning: float | None = None
) -> PredictionPowered:
    """The mean of human labels, sharpened by a judge's verdicts (Angelopoulos et al. 2023, arXiv:2311.01453).

    With verdicts F on n labelled items with labels Y, and F_u on N others:

        θ = λ mean(F_u) + mean(Y - λF),   SE² = λ² var(F_u)/N + var(Y - λF)/n

    Args:
        labels: Human labels.
        judged: The judge's verdicts on the same items.
        unlabelled: Its verdicts on items without a label.
        tuning: λ; None: the one with the smallest standard error, between 0 and 1.
    """
    n, rest = len(labels), len(unlabelled)
    if n < 2 or not rest:
        missing = "two items with a human label" if n < 2 else "an item without a human label"
        return PredictionPowered(not_defined(f"it takes at least {missing}", n + rest), None)
    if tuning is None:
        tuning = _best_tuning(labels, judged, unlabelled)
    left = [label - tuning * verdict for label, verdict in zip(labels, judged, strict=True)]
    value = tuning * statistics.fmean(unlabelled) + statistics.fmean(left)
    variance = tuning**2 * statistics.pvariance(unlabelled) / rest + statistics.pvariance(left) / n
    return PredictionPowered(normal_figure(value, math.sqrt(variance), n + rest), tuning)


def _best_tuning(labels: Sequence[float], judged: Sequence[float], unlabelled: Sequence[float]) -> float:
    """λ = cov(Y, F) / ((1 + n/N) var(F and F_u)), cut to 0 and 1."""
    n = len(labels)
    spread = statistics.variance([*judged, *unlabelled])
    if spread == 0:
        return 0.0
    mean_label, mean_judged = statistics.fmean(labels), statistics.fmean(judged)
    products = ((y - mean_label) * (f - mean_judged) for y, f in zip(labels, judged, strict=True))
    covariance = math.fsum(products) / n
    return min(1.0, max(0.0, covariance / ((1 + n / len(unlabelled)) * spread)))
