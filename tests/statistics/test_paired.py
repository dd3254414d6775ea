"""Paired t-tests: published vectors, and what must hold for any numbers."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.statistics.paired import Differences, KnownDifference, compare, paired_t

A = [1, 1, 0, 1, 0, 1, 1, 0, 1, 1, 0, 1]
B = [1, 0, 0, 1, 0, 0, 1, 1, 0, 1, 0, 0]
CLUSTERS = [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 5]


def test_twelve_questions() -> None:
    found = paired_t(A, B)
    assert found.difference == pytest.approx(0.25)
    assert found.stderr == pytest.approx(0.1794351406, abs=1e-6)
    assert found.difference / (found.stderr or 1) == pytest.approx(1.3932611, abs=1e-6)
    assert found.degrees_of_freedom == pytest.approx(11)
    assert found.p_value == pytest.approx(0.1910543, abs=1e-6)
    assert found.ci95 == pytest.approx((-0.1449341, 0.6449341), abs=1e-6)


def test_twelve_questions_in_six_clusters() -> None:
    found = paired_t(A, B, CLUSTERS)
    assert found.stderr == pytest.approx(0.1645701471, abs=1e-6)
    assert found.degrees_of_freedom == pytest.approx(5)
    assert found.p_value == pytest.approx(0.1892010, abs=1e-6)
    assert found.ci95 == pytest.approx((-0.1730410, 0.6730410), abs=1e-6)
    assert found.num_clusters == 6


def test_eight_differences() -> None:
    values = [0.3, -0.1, 0.25, 0.4, 0, 0.15, -0.05, 0.2]
    found = compare([Differences(values, range(8))])
    assert found.p_value == pytest.approx(0.0564580, abs=1e-6)


def test_three_tasks_of_which_the_standard_errors_are_known() -> None:
    parts = [KnownDifference(d, se, 1 / 3) for d, se in ((0.02, 0.01), (-0.01, 0.02), (0.03, 0.015))]
    found = compare(parts)
    assert found.difference == pytest.approx(0.0133333, abs=1e-6)
    assert found.stderr == pytest.approx(0.0089753, abs=1e-6)
    assert found.p_value == pytest.approx(0.1373948, abs=1e-6)


def test_two_tasks_without_common_questions() -> None:
    """Two independent numbers: their variances add, their degrees of freedom are Satterthwaite's."""
    first, second = [0.0, 1, 1, 0, 1], [0.5, -0.5, 1.0]
    one, two = paired_t(first, [0.0] * 5), paired_t(second, [0.0] * 3)
    assert one.stderr
    assert two.stderr
    found = compare([Differences(first, range(5), 0.25), Differences(second, [10, 11, 12], 0.75)])
    v1, v2 = (0.25 * one.stderr) ** 2, (0.75 * two.stderr) ** 2
    assert found.stderr == pytest.approx(math.sqrt(v1 + v2))
    assert found.degrees_of_freedom == pytest.approx((v1 + v2) ** 2 / (v1**2 / 4 + v2**2 / 2))


def test_one_task_asked_twice_is_no_second_evidence() -> None:
    """A question asked with and without examples, always with the same outcome: one number, not two."""
    values = [0.0, 1, 1, 0, -1, 1]
    once = compare([Differences(values, range(6))])
    twice = compare([Differences(values, range(6), 0.5), Differences(values, range(6), 0.5)])
    assert twice.stderr == pytest.approx(once.stderr)
    assert twice.p_value == pytest.approx(once.p_value)
    apart = compare([Differences(values, range(6), 0.5), Differences(values, range(6, 12), 0.5)])
    assert apart.stderr == pytest.approx((once.stderr or 0) / math.sqrt(2))


def test_opposite_outcomes_on_common_questions_cancel() -> None:
    values = [0.0, 1, 1, 0, -1, 1]
    found = compare([Differences(values, range(6), 0.5), Differences([-v for v in values], range(6), 0.5)])
    assert (found.difference, found.p_value) == (0, 1)


def test_tasks_that_share_questions_through_a_third_are_one_stratum() -> None:
    parts = [
        Differences([0.0, 1.0], ["a", "b"]),
        Differences([0.5, 0.0], ["c", "d"]),
        Differences([1.0, 0.0], ["b", "c"]),
    ]
    found = compare(parts)
    # a -1/4, b 1/4 + 1/4, c 1/8 - 1/4 ... by hand, over 4 clusters of one stratum:
    moved = {"a": -0.25, "b": 0.25 + 0.25, "c": 0.125 - 0.25, "d": -0.125}
    assert found.stderr == pytest.approx(math.sqrt(4 / 3 * sum(u * u for u in moved.values())))
    assert found.degrees_of_freedom == pytest.approx(3)
    turned = compare(list(reversed(parts)))
    assert turned.stderr == pytest.approx(found.stderr)
    assert turned.p_value == pytest.approx(found.p_value)
    assert turned.num_clusters == 4


def test_equal_differences_are_not_taken_for_certain() -> None:
    same = paired_t([1, 1, 1], [0, 0, 0])
    assert (same.stderr, same.p_value) == (0, 0.25)
    assert paired_t([1, 1], [1, 1]).p_value == 1
    assert paired_t([1] * 2000, [0] * 2000).p_value == pytest.approx(0, abs=1e-200)


def test_too_few_clusters_say_nothing() -> None:
    for found in (paired_t([1], [0]), paired_t([1, 0], [0, 1], ["x", "x"])):
        assert (found.stderr, found.p_value, found.ci95) == (None, None, None)
    known = compare([Differences([1.0], [0]), KnownDifference(1.0, 0.1)])
    assert known.difference == 2
    assert known.p_value is None


@pytest.mark.parametrize("parts", [[], [Differences([], [])]])
def test_nothing_is_refused(parts: list[Differences]) -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        compare(parts)


SCORES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 4)), min_size=2, max_size=30)


@given(SCORES)
def test_swapping_negates_and_order_changes_nothing(rows: list[tuple[float, float, int]]) -> None:
    first, second, clusters = ([row[i] for row in rows] for i in range(3))
    found, swapped = paired_t(first, second, clusters), paired_t(second, first, clusters)
    assert swapped.difference == pytest.approx(-found.difference, abs=1e-12)
    assert swapped.p_value == pytest.approx(found.p_value, abs=1e-9)
    shuffled = random.Random(0).sample(rows, len(rows))
    again = paired_t(*([row[i] for row in shuffled] for i in range(3)))
    assert again.difference == pytest.approx(found.difference, abs=1e-12)
    assert again.stderr == pytest.approx(found.stderr, abs=1e-9)
