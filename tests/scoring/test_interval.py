from __future__ import annotations

import math
import random
import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.scoring.interval import spread_of, stderr_of, student_t_quantile, wilson_interval

# Two-sided 95% and 99% points of the printed tables.
T_975 = {
    1: 12.7062,
    2: 4.3027,
    3: 3.1824,
    4: 2.7764,
    5: 2.5706,
    9: 2.2622,
    10: 2.2281,
    29: 2.0452,
    30: 2.0423,
    60: 2.0003,
    100: 1.9840,
    120: 1.9799,
    1000: 1.9623,
}
T_995 = {1: 63.6567, 2: 9.9248, 5: 4.0321, 10: 3.1693, 30: 2.7500, 120: 2.6174}


@pytest.mark.parametrize(("p", "table"), [(0.975, T_975), (0.995, T_995)])
def test_t_quantile_is_the_tables(p: float, table: dict[int, float]) -> None:
    for degrees_of_freedom, value in table.items():
        assert student_t_quantile(p, degrees_of_freedom) == pytest.approx(value, abs=1e-4)


def test_t_quantile_has_no_step_where_the_method_changes() -> None:
    values = [student_t_quantile(0.975, n) for n in (99, 100, 101, 102)]
    steps = [a - b for a, b in pairwise(values)]
    assert all(step > 0 for step in steps)
    assert steps == sorted(steps, reverse=True)


def test_t_quantile_becomes_normal_and_is_zero_at_the_median() -> None:
    assert student_t_quantile(0.975, 10**7) == pytest.approx(1.959964, abs=1e-5)
    assert student_t_quantile(0.5, 7) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("p", "n"), [(0.4, 3), (1.0, 3), (0.975, 0)])
def test_t_quantile_refuses_what_has_none(p: float, n: int) -> None:
    with pytest.raises(ValueError, match="no t quantile"):
        student_t_quantile(p, n)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    # Newcombe 1998, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_is_the_published_interval(right: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(right / n, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_contains_the_share_at_both_ends() -> None:
    assert wilson_interval(0.0, 7)[0] == 0
    assert wilson_interval(1.0, 7)[1] == 1


def test_independent_shares_get_wilson() -> None:
    spread = spread_of([1, 0, 1, 1], [0, 1, 2, 3])
    assert spread.method == "wilson"
    assert spread.ci95 == pytest.approx(wilson_interval(0.75, 4))
    assert spread.stderr == pytest.approx(0.25)  # s² = 0.25, s²/4 = 0.0625
    assert spread.num_clusters is None


def test_independent_numbers_get_t() -> None:
    values = [1.0, 2.0, 4.0, 9.0]
    spread = spread_of(values, [0, 1, 2, 3])
    stderr = statistics.stdev(values) / 2
    assert spread.method == "t"
    assert spread.stderr == pytest.approx(stderr, abs=1e-12)
    assert spread.ci95 == pytest.approx((4 - 3.182446 * stderr, 4 + 3.182446 * stderr), abs=1e-5)


def test_counts_of_zero_and_one_are_no_shares() -> None:
    assert spread_of([0.0, 1.0, 1.0], [0, 1, 2], may_be_share=False).method == "t"


def test_clustered_by_hand() -> None:
    # Mean 0.5; sums of deviations 1, 0, -1 in three clusters: SE² = 3/2 · (1 + 0 + 1) / 36.
    spread = spread_of([1, 1, 1, 0, 0, 0], [7, 7, 3, 3, 9, 9])
    assert spread.method == "clustered_t"
    assert spread.num_clusters == 3
    assert spread.stderr == pytest.approx(math.sqrt(3 / 36), abs=1e-12)
    assert spread.stderr is not None
    margin = 4.302653 * spread.stderr
    assert spread.ci95 == pytest.approx((0.5 - margin, 0.5 + margin), abs=1e-5)


def test_clustered_values_that_are_all_alike_promise_no_certainty() -> None:
    spread = spread_of([1.0] * 6, [0, 0, 1, 1, 2, 2])
    assert spread.method == "wilson"
    assert spread.num_clusters == 3
    assert spread.ci95 == pytest.approx(wilson_interval(1.0, 3))


def test_too_little_for_an_error() -> None:
    assert spread_of([], []).ci95 is None
    assert spread_of([2.5], [0]).stderr is None
    one_cluster = spread_of([2.5, 3.5], [4, 4])
    assert (one_cluster.stderr, one_cluster.ci95, one_cluster.num_clusters) == (None, None, 1)
    assert stderr_of([]) is None
    assert stderr_of([1.0]) is None
    assert stderr_of([1.0, 3.0]) == pytest.approx(1.0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_clusters_of_one_give_the_ordinary_error(values: list[float]) -> None:
    ordinary = statistics.stdev(values) / math.sqrt(len(values))
    assert stderr_of(values) == pytest.approx(ordinary, rel=1e-9, abs=1e-9)
    assert spread_of(values, range(len(values))).stderr == stderr_of(values)


def test_clustered_error_is_the_bootstraps() -> None:
    """Drawing whole clusters again and again spreads the mean as much as the formula says."""
    rng = random.Random(20240611)
    clusters: dict[int, list[float]] = {}
    for cluster in range(60):
        level = rng.gauss(0, 1)
        clusters[cluster] = [level + rng.gauss(0, 0.3) for _ in range(4)]
    values = [v for members in clusters.values() for v in members]
    labels = [c for c, members in clusters.items() for _ in members]
    means = []
    for _ in range(2000):
        drawn = [v for c in rng.choices(range(60), k=60) for v in clusters[c]]
        means.append(math.fsum(drawn) / len(drawn))
    stderr = spread_of(values, labels).stderr
    naive = stderr_of(values)
    assert stderr is not None
    assert naive is not None
    assert stderr == pytest.approx(statistics.stdev(means), rel=0.08)
    assert stderr > 1.5 * naive


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = random.Random(7)
    covered = 0
    for _ in range(1000):
        values, labels = [], []
        for cluster in range(12):
            level = rng.gauss(3, 1)
            for _ in range(3):
                values.append(level + rng.gauss(0, 0.5))
                labels.append(cluster)
        ci95 = spread_of(values, labels).ci95
        assert ci95 is not None
        covered += ci95[0] <= 3 <= ci95[1]
    assert 0.93 <= covered / 1000 <= 0.97
