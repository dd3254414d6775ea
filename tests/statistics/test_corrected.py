from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.statistics.corrected import JudgeRates, judge_rates, prediction_powered, rogan_gladen

LABELS = [1, 0, 1, 1, 0, 1, 0, 1]
UNLABELLED = [0.9, 0.2, 0.6, 0.8, 0.1, 0.7, 0.5, 0.95, 0.3, 0.85, 0.4, 0.75, 0.65, 0.55, 0.9, 0.15]
SHARP = [1, 0, 0.8, 1, 0.3, 0.9, 0.4, 0.7]
BLUNT = [0.6, 0.5, 0.9, 0.4, 0.3, 0.8, 0.6, 0.5]


def rates(right: int, of_right: int, wrong: int, of_wrong: int) -> JudgeRates:
    labelled = [(True, i < right) for i in range(of_right)] + [(False, i >= wrong) for i in range(of_wrong)]
    return judge_rates(labelled)


def test_rogan_gladen() -> None:
    corrected = rogan_gladen([i < 1400 for i in range(2000)], rates(45, 50, 40, 50))
    assert corrected.value == pytest.approx(0.7142857, abs=1e-6)
    assert corrected.stderr == pytest.approx(0.0512017, abs=1e-6)
    assert corrected.ci95 is not None
    assert corrected.ci95[0] == pytest.approx(0.7142857 - 1.959964 * 0.0512017, abs=1e-6)


def test_sensitivity_and_specificity_with_wilson_intervals() -> None:
    found = rates(8, 10, 20, 20)
    assert found.sensitivity.value == 0.8
    assert found.sensitivity.ci95 == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert found.specificity.value == 1
    assert found.specificity.ci95 == pytest.approx((1 - 0.1611252, 1), abs=1e-6)
    assert (found.sensitivity.n, found.specificity.n) == (10, 20)


def test_rates_as_scikit_learn() -> None:
    learn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    source = random.Random(3)
    labelled = [(source.random() < 0.6, source.random() < 0.5) for _ in range(300)]
    human, judge = zip(*labelled, strict=True)
    found = judge_rates(labelled)
    assert found.sensitivity.value == pytest.approx(learn.recall_score(human, judge))
    assert found.specificity.value == pytest.approx(learn.recall_score(human, judge, pos_label=False))


@pytest.mark.parametrize(
    ("judged", "of", "reason"),
    [
        ([True] * 5, (5, 10, 5, 10), "not better than chance"),
        ([True] * 5, (2, 10, 3, 10), "not better than chance"),
        ([True] * 5, (0, 0, 5, 10), "no item is right"),
        ([True] * 5, (5, 10, 0, 0), "no item is wrong"),
        ([], (9, 10, 9, 10), "no item without a label"),
    ],
)
def test_a_correction_that_is_not_defined(
    judged: list[bool], of: tuple[int, int, int, int], reason: str
) -> None:
    corrected = rogan_gladen(judged, rates(*of))
    assert (corrected.value, corrected.ci95) == (None, None)
    assert reason in corrected.reason


def test_a_share_above_1_is_cut_and_says_so() -> None:
    corrected = rogan_gladen([True] * 99 + [False], rates(8, 10, 9, 10))
    assert corrected.value == 1
    assert corrected.reason == "cut from 1.271 to 1"
    assert corrected.ci95 is not None
    assert corrected.ci95[1] == 1


def test_the_correction_covers_the_truth() -> None:
    source, covered, draws = random.Random(11), 0, 400
    for _ in range(draws):
        labelled = [(i < 100, source.random() < (0.85 if i < 100 else 0.25)) for i in range(200)]
        judged = [source.random() < (0.85 if source.random() < 0.4 else 0.25) for _ in range(1000)]
        corrected = rogan_gladen(judged, judge_rates(labelled))
        assert corrected.ci95 is not None
        covered += corrected.ci95[0] <= 0.4 <= corrected.ci95[1]
    assert 0.92 <= covered / draws <= 0.98


@pytest.mark.parametrize(
    ("judged", "tuning", "expected", "value", "ci95"),
    [
        (SHARP, 1.0, 1.0, 0.56875, (0.3658183, 0.7716817)),
        (BLUNT, 1.0, 1.0, 0.63125, (0.3027967, 0.9597033)),
        (BLUNT, None, 0.4253201, 0.6276583, (0.3080281, 0.9472884)),
    ],
)
def test_prediction_powered_mean(
    judged: list[float], tuning: float | None, expected: float, value: float, ci95: tuple[float, float]
) -> None:
    found = prediction_powered(LABELS, judged, UNLABELLED, tuning)
    assert found.tuning == pytest.approx(expected, abs=1e-6)
    assert found.mean.value == pytest.approx(value, abs=1e-6)
    assert found.mean.ci95 == pytest.approx(ci95, abs=1e-6)


def test_a_judge_that_says_nothing_is_left_out() -> None:
    found = prediction_powered(LABELS, [0.5] * 8, [0.5] * 16)
    assert found.tuning == 0
    assert found.mean.value == statistics.fmean(LABELS)
    assert found.mean.stderr == pytest.approx(statistics.pstdev(LABELS) / math.sqrt(8))


def test_labels_that_do_not_suffice() -> None:
    assert "two items" in prediction_powered([1], [1], UNLABELLED).mean.reason
    none_left = prediction_powered(LABELS, SHARP, [])
    assert none_left.mean.value is None
    assert none_left.tuning is None


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1)), min_size=2, max_size=20),
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
def test_tuning_stays_between_0_and_1_and_numbers_are_finite(
    labelled: list[tuple[float, float]], unlabelled: list[float]
) -> None:
    labels, judged = zip(*labelled, strict=True)
    found = prediction_powered(labels, judged, unlabelled)
    assert found.tuning is not None
    assert 0 <= found.tuning <= 1
    assert found.mean.value is not None
    assert math.isfinite(found.mean.value)
