from __future__ import annotations

import math
import random

import pytest

from evalkit.statistics.preferences import length_controlled_win_rate, win_rate


def test_win_rate_with_ties_half() -> None:
    found = win_rate([1, 1, 1, 0.5, 0, 0.75])
    assert (found.wins, found.ties, found.losses) == (4, 1, 1)
    assert found.rate.value == pytest.approx(4.25 / 6)
    assert found.p_value == pytest.approx(2 * 6 / 32)
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    low, high = stats.t.interval(0.95, 5, 4.25 / 6, stats.sem([1, 1, 1, 0.5, 0, 0.75]))
    assert found.rate.ci95 == pytest.approx((low, min(1, high)), abs=1e-9)


def test_sign_test_as_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    for wins in range(12):
        for losses in range(12):
            found = win_rate([1.0] * wins + [0.0] * losses + [0.5] * 3).p_value
            if wins + losses:
                assert found == pytest.approx(stats.binomtest(wins, wins + losses).pvalue, abs=1e-12)
            else:
                assert found is None


def test_a_win_rate_of_all_or_nothing_keeps_an_interval() -> None:
    found = win_rate([1.0] * 20)
    assert found.rate.ci95 is not None
    assert found.rate.ci95 == pytest.approx((1 - 0.1611252, 1), abs=1e-6)
    assert win_rate([]).rate.value is None
    assert win_rate([0.5] * 10).rate.reason


def drawn(alpha: float, beta: float, n: int, seed: int) -> tuple[list[float], list[tuple[int, int]]]:
    """Games whose log-odds are alpha, plus beta times how much longer the first answer is."""
    source = random.Random(seed)
    lengths = [(round(source.gauss(1300, 300)), round(source.gauss(1000, 300))) for _ in range(n)]
    values = []
    for ours, theirs in lengths:
        chance = 1 / (1 + math.exp(-alpha - beta * math.tanh((ours - theirs) / 424)))
        values.append(0.5 if source.random() < 0.1 else float(source.random() < chance))
    return values, lengths


def test_length_controlled_as_maximum_likelihood_by_scipy() -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="scipy is not installed")
    import statistics

    values, lengths = drawn(0.2, 1.5, 300, seed=7)
    differences = [a - b for a, b in lengths]
    x = [math.tanh(d / statistics.stdev(differences)) for d in differences]

    def loss(parameters: tuple[float, float]) -> float:
        leads = [parameters[0] + parameters[1] * place for place in x]
        return sum(math.log1p(math.exp(-z)) + (1 - v) * z for v, z in zip(values, leads, strict=True))

    best = optimize.minimize(loss, (0, 0), method="BFGS", options={"gtol": 1e-9})
    found = length_controlled_win_rate(values, lengths)
    assert found.rate.value == pytest.approx(1 / (1 + math.exp(-best.x[0])), abs=1e-5)
    assert found.slope.value == pytest.approx(best.x[1], abs=1e-4)


def test_length_is_taken_out() -> None:
    values, lengths = drawn(0.0, 3.0, 2000, seed=3)
    raw, controlled = win_rate(values).rate, length_controlled_win_rate(values, lengths)
    assert raw.value is not None
    assert raw.value > 0.65
    assert controlled.rate.ci95 is not None
    assert controlled.rate.ci95[0] < 0.5 < controlled.rate.ci95[1]
    assert controlled.slope.ci95 is not None
    assert controlled.slope.ci95[0] > 0


def test_the_interval_covers() -> None:
    covered = 0
    for seed in range(200):
        values, lengths = drawn(0.5, 1.0, 200, seed)
        # A tenth are ties whatever the lengths are: the chance at equal length, and the log-odds of it.
        found = length_controlled_win_rate(values, lengths).rate
        truth = 0.9 / (1 + math.exp(-0.5)) + 0.05
        assert found.ci95 is not None
        covered += found.ci95[0] <= truth <= found.ci95[1]
    assert 0.91 <= covered / 200 <= 0.99


def test_swapping_the_models_turns_the_rate_round() -> None:
    values, lengths = drawn(0.4, 1.0, 150, seed=1)
    one = length_controlled_win_rate(values, lengths)
    other = length_controlled_win_rate([1 - v for v in values], [(b, a) for a, b in lengths])
    assert one.rate.value is not None
    assert other.rate.value == pytest.approx(1 - one.rate.value)
    assert other.slope.value == pytest.approx(one.slope.value)
    assert one.rate.ci95 is not None
    assert other.rate.ci95 == pytest.approx((1 - one.rate.ci95[1], 1 - one.rate.ci95[0]))


@pytest.mark.parametrize(
    ("values", "lengths", "reason"),
    [
        ([1.0, 0.0], [(1, 2), (3, 1)], "at least three"),
        ([1.0, 0.0, 1.0], [(5, 4), (6, 5), (7, 6)], "all differences in length are equal"),
        ([1.0, 1.0, 1.0], [(5, 4), (6, 1), (7, 9)], "won every question"),
        ([1.0, 1.0, 0.0, 0.0], [(9, 1), (8, 1), (1, 9), (1, 8)], "separates wins from losses"),
    ],
)
def test_not_defined(values: list[float], lengths: list[tuple[int, int]], reason: str) -> None:
    found = length_controlled_win_rate(values, lengths)
    assert found.rate.value is None
    assert reason in found.rate.reason
    with pytest.raises(ValueError, match="lengths of both"):
        length_controlled_win_rate(values, lengths[1:])


def test_clusters() -> None:
    values, lengths = drawn(0.3, 1.0, 100, seed=9)
    clusters = list(range(100))
    alone = length_controlled_win_rate(values, lengths)
    twice = length_controlled_win_rate(values * 2, lengths * 2, clusters * 2)
    assert alone.rate.stderr is not None
    assert twice.rate.stderr == pytest.approx(alone.rate.stderr, rel=0.02)
    assert "one cluster" in length_controlled_win_rate(values, lengths, [0] * 100).rate.reason


def test_ties_alone_have_a_length_controlled_rate_without_an_interval() -> None:
    made = length_controlled_win_rate([0.5] * 4, [(1, 2), (3, 1), (2, 5), (4, 4)])
    assert made.rate.value == pytest.approx(0.5)
    assert (made.rate.ci95, made.slope.ci95) == (None, None)
    assert "says nothing" in made.rate.reason
