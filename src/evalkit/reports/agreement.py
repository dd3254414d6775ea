"""How far raters agree on the same answers, and what judges are worth by human labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from evalkit.reports.raters import Item, JudgedAnswers, Rater
from evalkit.statistics.agreement import Weights, agreement, cohen_kappa
from evalkit.statistics.corrected import (
    JudgeRates,
    PredictionPowered,
    judge_rates,
    prediction_powered,
    rogan_gladen,
)
from evalkit.statistics.figure import Figure, mean_figure, not_defined

KAPPAS: tuple[Weights, ...] = ("none", "linear", "quadratic")


@dataclass(frozen=True, slots=True)
class PairOfRaters:
    """Two raters of the same answers.

    Attributes:
        num_alone: Items that only one of them has judged, which count in nothing here.
        kappas: By weights.
        counts: How often each pair of verdicts occurs, the first rater's first.
    """

    first: str
    second: str
    agreement: Figure
    kappas: dict[Weights, Figure]
    num_alone: int
    counts: Sequence[tuple[float, float, int]]


@dataclass(frozen=True, slots=True)
class JudgeByLabels:
    """A judge measured by human labels.

    Attributes:
        mean: The judge's mean over all that it has judged.
        human_mean: The mean of the human labels, of the items that it has judged.
        rates: Sensitivity and specificity; not defined where verdicts are not yes or no.
        corrected: The share of right answers, corrected for the judge's errors.
        prediction_powered: The mean of human labels over all items.
    """

    judge: str
    mean: Figure
    human_mean: Figure
    rates: JudgeRates
    corrected: Figure
    prediction_powered: PredictionPowered


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """All pairs of raters, and each judge by human labels, where there are any."""

    pairs: Sequence[PairOfRaters]
    judges: Sequence[JudgeByLabels]
    notes: Sequence[str]


def agreement_report(
    judged: JudgedAnswers, labels: Rater | None = None, right_from: float | None = None
) -> AgreementReport:
    """The report.

    Args:
        judged: Those who judge.
        labels: Human labels of some items.
        right_from: From which verdict on an answer is right; None: only 1 and 0 say so. It also makes every
            comparison one of right and wrong.
    """
    raters = [*judged.raters, *([labels] if labels is not None else [])]
    notes = list(judged.notes)
    if judged.num_other_answers:
        notes.append(f"left out {judged.num_other_answers} items on which the runs have different answers")
    if labels is not None:
        known = {item for rater in judged.raters for item in rater.verdicts}
        if unknown := len(labels.verdicts.keys() - known):
            notes.append(
                f"{unknown} of {len(labels.verdicts)} labels are about items that no judge has judged"
            )
    if right_from is not None:
        raters = [_as_right_or_wrong(rater, right_from) for rater in raters]
    pairs = [_pair(one, other, judged) for one, other in combinations(raters, 2) if _is_fair(one, other)]
    judges = []
    if labels is not None:
        judges = [_by_labels(rater, raters[-1], judged) for rater in raters[:-1]]
    return AgreementReport(pairs, judges, notes)


def _is_fair(one: Rater, other: Rater) -> bool:
    """Whether neither of both is made from the other: what is pooled is compared with humans only."""
    return other.is_human or not (one.is_pooled or other.is_pooled)


def _pair(one: Rater, other: Rater, judged: JudgedAnswers) -> PairOfRaters:
    common = sorted(one.verdicts.keys() & other.verdicts.keys(), key=str)
    pairs = [(one.verdicts[item], other.verdicts[item]) for item in common]
    clusters = [_cluster(item, judged) for item in common]
    return PairOfRaters(
        one.name,
        other.name,
        agreement(pairs, clusters),
        {weights: cohen_kappa(pairs, weights, clusters=clusters) for weights in KAPPAS},
        len(one.verdicts.keys() ^ other.verdicts.keys()),
        [(*pair, count) for pair, count in sorted(Counter(pairs).items())],
    )


def _by_labels(judge: Rater, labels: Rater, judged: JudgedAnswers) -> JudgeByLabels:
    common = sorted(judge.verdicts.keys() & labels.verdicts.keys(), key=str)
    rest = sorted(judge.verdicts.keys() - labels.verdicts.keys(), key=str)
    ours, human = [judge.verdicts[item] for item in common], [labels.verdicts[item] for item in common]
    unlabelled = [judge.verdicts[item] for item in rest]
    if all(verdict in (0, 1) for verdict in (*ours, *human, *unlabelled)):
        rates = judge_rates([(label == 1, verdict == 1) for label, verdict in zip(human, ours, strict=True)])
        corrected = rogan_gladen([verdict == 1 for verdict in unlabelled], rates)
    else:
        none = not_defined(
            "verdicts are not yes or no; --right-from says from which on an answer is right", len(common)
        )
        rates, corrected = JudgeRates(none, none), none
    return JudgeByLabels(
        judge.name,
        mean_figure(list(judge.verdicts.values()), [_cluster(item, judged) for item in judge.verdicts]),
        mean_figure(human, [_cluster(item, judged) for item in common]),
        rates,
        corrected,
        prediction_powered(human, ours, unlabelled),
    )


def _as_right_or_wrong(rater: Rater, right_from: float) -> Rater:
    verdicts = {item: float(verdict >= right_from) for item, verdict in rater.verdicts.items()}
    return replace(rater, verdicts=verdicts)


def _cluster(item: Item, judged: JudgedAnswers) -> str:
    return judged.clusters.get(item[0], f"instance {item[0]}")
