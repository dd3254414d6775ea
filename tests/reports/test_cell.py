"""Sums and differences of numbers with intervals."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.reports.cell import Estimate, difference, mean_of, weighted_sum
from evalkit.scoring.interval import wilson_interval

NUMBERS = st.floats(-100, 100)
ESTIMATES = st.builds(
    lambda value, below, above: Estimate(value, (value - below, value + above)),
    NUMBERS,
    st.floats(0, 50),
    st.floats(0, 50),
)


@given(ESTIMATES)
def test_one_estimate_keeps_its_own_interval(one: Estimate) -> None:
    mean = mean_of([one])
    assert mean.ci95 == pytest.approx(one.ci95)


@given(st.lists(ESTIMATES, min_size=1, max_size=6))
def test_symmetric_intervals_add_up_like_standard_errors(many: list[Estimate]) -> None:
    even = [Estimate(e.value, (e.value - 1.96, e.value + 1.96)) for e in many]
    mean = mean_of(even)
    assert mean.ci95 is not None
    assert mean.ci95[1] - mean.value == pytest.approx(1.96 / math.sqrt(len(even)))


def test_the_difference_of_two_shares_is_newcombes_interval() -> None:
    # Newcombe 1998, Statistics in Medicine 17:873, method 10, example (a): 56/70 - 48/80.
    shares = [Estimate(p, wilson_interval(p, n)) for p, n in ((56 / 70, 70), (48 / 80, 80))]
    gap = difference(*shares)
    assert gap.value == pytest.approx(0.2)
    assert gap.ci95 == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert gap.differs_from_zero()


def test_without_an_interval_there_is_none_and_nothing_is_claimed() -> None:
    gap = difference(Estimate(1.0, None), Estimate(0.0, (0.0, 0.0)))
    assert gap == Estimate(1.0, None)
    assert not gap.differs_from_zero()


def test_weights_count() -> None:
    assert mean_of([Estimate(1.0, None), Estimate(4.0, None)], [2, 1]).value == 2
    assert weighted_sum([Estimate(1.0, (0.0, 3.0))], [-1]).ci95 == (-3.0, 0.0)
