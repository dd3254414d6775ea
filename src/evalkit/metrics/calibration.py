"""Whether a model is as often right as its probabilities say."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import ClassVar

from evalkit.instance import Instance
from evalkit.metrics.reference import BasicReference
from evalkit.metrics.text import exact_match
from evalkit.registry import Output, metric
from evalkit.scoring.metric import (
    Metric,
    asks_per_reference,
    compile_mapping_pattern,
    require_correct_reference,
)
from evalkit.scoring.optional_packages import require_module
from evalkit.scoring.run_level import Row
from evalkit.scoring.unit import Unit, likeliest_first
from evalkit.specs.run_spec import AdapterSpec

_PLAIN = ("ece_10_bin", "ece_1_bin", "selective_cov_acc_area", "selective_acc@10")
_PLATT = ("platt_coef", "platt_intercept", "platt_ece_10_bin", "platt_ece_1_bin")
_EPSILON = 1e-12


@metric("calibration")
class Calibration(Metric):
    """How well the probability of the likeliest answer predicts that it is an exact match, over all units.

    Gives `ece_10_bin` and `ece_1_bin` (expected calibration error in bins of equally many units),
    `selective_cov_acc_area` (mean accuracy over all coverages, the surest answers first),
    `selective_acc@10` (accuracy of the surest tenth), and the calibration errors after Platt scaling with
    its coefficients (all 0 if every answer, or none, is right). Nothing if no log-probability is below 0.

    Args:
        platt: Whether Platt scaling is done; it needs scikit-learn.
    """

    takes: ClassVar[frozenset[Output] | None] = frozenset({"generated_text", "reference_logprobs"})

    def __init__(self, adapter_spec: AdapterSpec, platt: bool = True) -> None:
        self._platt = platt
        self._reference = BasicReference(adapter_spec) if asks_per_reference(adapter_spec) else None
        self._pattern = compile_mapping_pattern(adapter_spec.output_mapping_pattern)
        self.run_level_names = _PLAIN + _PLATT if platt else _PLAIN

    def check(self, instance: Instance) -> None:
        """Refuse an instance without a right answer.

        Raises:
            DataError: There is none.
            UsageError: scikit-learn is not installed.
        """
        require_correct_reference(self.name, instance)
        if self._platt:
            require_module("sklearn", "Platt scaling in the metric calibration")

    def score(self, unit: Unit) -> Mapping[str, float]:
        """Nothing: a single unit is not calibrated."""
        return {}

    def run_level_row(self, unit: Unit) -> Row | None:
        """Probability, whether right (0 or 1), and whether its log-probability is below 0."""
        if self._reference is not None:
            scores = self._reference.score(unit)
            return (scores["max_prob"], int(scores["exact_match"]), True) if scores else None
        completions = unit.answer.response.completions
        prediction = unit.predictions(self._pattern)[0] or ""
        logprob = likeliest_first(completions)[0].logprob
        if logprob is None:
            return None
        right = max((exact_match(gold, prediction) for gold in unit.golds), default=0.0)
        return math.exp(logprob), int(right), logprob < 0

    def run_level_scores(self, rows: Sequence[Row]) -> Mapping[str, float]:
        """The numbers listed above.

        Raises:
            UsageError: scikit-learn is not installed.
        """
        if not any(negative for _, _, negative in rows):
            return {}
        probabilities = [probability for probability, _, _ in rows]
        right = [is_right for _, is_right, _ in rows]
        area, top = selective_accuracy(probabilities, right)
        found = {
            "ece_10_bin": calibration_error(probabilities, right, 10),
            "ece_1_bin": calibration_error(probabilities, right, 1),
            "selective_cov_acc_area": area,
            "selective_acc@10": top,
        }
        return {**found, **_platt_numbers(probabilities, right)} if self._platt else found


def calibration_error(probabilities: Sequence[float], right: Sequence[int], num_bins: int) -> float:
    """The expected calibration error: mean distance, weighted by size, of confidence and accuracy of a bin.

    Bins hold equally many units, as far as units of one probability can be in one bin only: edges are midway
    between neighbours (Kumar et al. 2019, arXiv:1909.10155).
    """
    edges = _bin_edges(sorted(probabilities), min(num_bins, len(probabilities)))
    bins: dict[int, list[tuple[float, int]]] = {}
    for probability, is_right in zip(probabilities, right, strict=True):
        bins.setdefault(bisect_left(edges, probability), []).append((probability, is_right))
    gaps = (abs(math.fsum(p - r for p, r in members)) for members in bins.values())
    return math.fsum(gaps) / len(probabilities)


def selective_accuracy(probabilities: Sequence[float], right: Sequence[int]) -> tuple[float, float]:
    """Accuracy when only the surest are answered: mean over all coverages, and of the surest tenth."""
    pairs = sorted(zip(probabilities, right, strict=True), key=lambda pair: -pair[0])
    hits = accumulate(is_right for _, is_right in pairs)
    curve = [count / n for n, count in enumerate(hits, start=1)]
    return math.fsum(curve) / len(curve), curve[int(0.1 * len(curve))]


def platt_scaling(probabilities: Sequence[float], right: Sequence[int]) -> tuple[float, float]:
    """Slope and intercept of the logistic regression of being right on the log-odds (Platt 1999).

    scikit-learn's solver with its default tolerance, so that the numbers are HELM's to the last digits.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    require_module("sklearn", "Platt scaling in the metric calibration")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(C=1e10, solver="lbfgs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit([[_log_odds(p)] for p in probabilities], list(right))
    return float(regression.coef_[0][0]), float(regression.intercept_[0])


def _platt_numbers(probabilities: Sequence[float], right: Sequence[int]) -> dict[str, float]:
    if sum(right) in (0, len(right)):
        return dict.fromkeys(_PLATT, 0.0)
    slope, intercept = platt_scaling(probabilities, right)
    scaled = [_logistic(slope * _log_odds(p) + intercept) for p in probabilities]
    return {
        "platt_coef": slope,
        "platt_intercept": intercept,
        "platt_ece_10_bin": calibration_error(scaled, right, 10),
        "platt_ece_1_bin": calibration_error(scaled, right, 1),
    }


def _bin_edges(ordered: Sequence[float], num_bins: int) -> list[float]:
    """The upper edges of bins of equally many probabilities, the larger bins first; the last is 1."""
    size, longer = divmod(len(ordered), num_bins)
    ends = list(accumulate(size + (index < longer) for index in range(num_bins)))
    return sorted({*((ordered[end - 1] + ordered[end]) / 2 for end in ends[:-1]), 1.0})


def _log_odds(probability: float) -> float:
    clipped = min(max(probability, _EPSILON), 1 - _EPSILON)
    return math.log(clipped / (1 - clipped))


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
