from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.statistics.agreement import Pair, Weights, agreement, cohen_kappa, order_swap

TABLE = [[20, 5, 1], [4, 15, 6], [0, 3, 16]]
PAIRS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=2, max_size=40)
WEIGHTS: list[Weights] = ["none", "linear", "quadratic"]


def pairs_of(table: list[list[int]]) -> list[Pair]:
    return [(i, j) for i, row in enumerate(table) for j, count in enumerate(row) for _ in range(count)]


def test_kappa_with_its_interval() -> None:
    kappa = cohen_kappa(pairs_of([[45, 5], [10, 40]]))
    assert kappa.value == pytest.approx(0.7, abs=1e-6)
    assert kappa.stderr == pytest.approx(0.0710563, abs=1e-6)
    assert kappa.ci95 == pytest.approx((0.5607322, 0.8392678), abs=1e-6)
    assert kappa.n == 100


def test_high_agreement_with_low_kappa() -> None:
    pairs = pairs_of([[90, 4], [5, 1]])
    assert agreement(pairs).value == pytest.approx(0.91)
    assert cohen_kappa(pairs).value == pytest.approx(0.1346154, abs=1e-6)


@pytest.mark.parametrize(
    ("weights", "kappa"), [("none", 0.5925245), ("linear", 0.6757758), ("quadratic", 0.7603486)]
)
def test_weighted_kappa(weights: Weights, kappa: float) -> None:
    assert cohen_kappa(pairs_of(TABLE), weights).value == pytest.approx(kappa, abs=1e-6)
    named = [("bad", "fair", "good")[i] for i in range(3)]
    pairs = [(named[i], named[j]) for i, row in enumerate(TABLE) for j, n in enumerate(row) for _ in range(n)]
    assert cohen_kappa(pairs, weights, order=named).value == pytest.approx(kappa, abs=1e-6)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_as_scikit_learn(weights: Weights) -> None:
    learn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    source = random.Random(5)
    for _ in range(200):
        pairs = [(source.randint(1, 10), source.randint(1, 10)) for _ in range(source.randint(2, 60))]
        ours, theirs = zip(*pairs, strict=True)
        expected = learn.cohen_kappa_score(
            ours, theirs, labels=range(1, 11), weights=None if weights == "none" else weights
        )
        kappa = cohen_kappa(pairs, weights)
        assert (kappa.value is None) == math.isnan(expected)
        assert kappa.value is None or kappa.value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_standard_error_as_fleiss_cohen_and_everitt_write_it(weights: Weights) -> None:
    n = sum(map(sum, TABLE))
    p = [[count / n for count in row] for row in TABLE]
    rows, columns = [sum(row) for row in p], [sum(column) for column in zip(*p, strict=True)]
    w = [[{"none": float(i == j), "linear": 1 - abs(i - j) / 2, "quadratic": 1 - (i - j) ** 2 / 4}[weights]
          for j in range(3)] for i in range(3)]  # fmt: skip
    cells = list(itertools.product(range(3), range(3)))
    p_e = sum(rows[i] * columns[j] * w[i][j] for i, j in cells)
    kappa = (sum(p[i][j] * w[i][j] for i, j in cells) - p_e) / (1 - p_e)
    of_rows = [sum(columns[j] * w[i][j] for j in range(3)) for i in range(3)]
    of_columns = [sum(rows[i] * w[i][j] for i in range(3)) for j in range(3)]
    squares = sum(p[i][j] * (w[i][j] - (of_rows[i] + of_columns[j]) * (1 - kappa)) ** 2 for i, j in cells)
    variance = (squares - (kappa - p_e * (1 - kappa)) ** 2) / (n * (1 - p_e) ** 2)
    assert cohen_kappa(pairs_of(TABLE), weights).stderr == pytest.approx(math.sqrt(variance), abs=1e-12)


def test_the_interval_covers_as_the_bootstrap_says() -> None:
    pairs, source = pairs_of(TABLE), random.Random(1)
    draws = []
    for _ in range(2000):
        drawn = cohen_kappa(source.choices(pairs, k=len(pairs)), "quadratic").value
        assert drawn is not None
        draws.append(drawn)
    mean = sum(draws) / len(draws)
    spread = math.sqrt(sum((draw - mean) ** 2 for draw in draws) / len(draws))
    assert cohen_kappa(pairs, "quadratic").stderr == pytest.approx(spread, rel=0.1)


def test_samples_of_one_question_are_not_independent() -> None:
    pairs = pairs_of([[45, 5], [10, 40]])
    alone = cohen_kappa(pairs)
    twice = cohen_kappa(pairs * 2, clusters=[*range(100), *range(100)])
    assert twice.value == alone.value
    assert alone.stderr is not None
    assert twice.stderr == pytest.approx(alone.stderr * math.sqrt(100 / 99))
    naive = cohen_kappa(pairs * 2)
    assert naive.stderr == pytest.approx(alone.stderr / math.sqrt(2))
    share = agreement(pairs * 2, clusters=[*range(100), *range(100)])
    assert share.stderr == pytest.approx(agreement(pairs).stderr)


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [([], "no items"), ([(3, 3)] * 5, "both give every item the verdict 3")],
)
def test_not_defined(pairs: list[Pair], reason: str) -> None:
    kappa = cohen_kappa(pairs)
    assert kappa.value is None
    assert kappa.ci95 is None
    assert reason in kappa.reason
    assert "value" in kappa.to_json()


def test_full_agreement_promises_no_certainty() -> None:
    kappa = cohen_kappa([(1, 1), (2, 2), (3, 3)])
    assert (kappa.value, kappa.ci95) == (1.0, None)
    assert "no disagreement" in kappa.reason
    share = agreement([(1, 1)] * 20)
    assert share.value == 1
    assert share.ci95 is not None
    assert share.ci95[0] == pytest.approx(1 - 0.1611252, abs=1e-6)


def test_weights_need_an_order() -> None:
    with pytest.raises(ValueError, match="need numbers, or an order"):
        cohen_kappa([("A", "B")], "linear")
    with pytest.raises(ValueError, match="lacks 'tie'"):
        cohen_kappa([("A", "tie")], "linear", order=["A", "B"])


@given(PAIRS, st.sampled_from(WEIGHTS), st.randoms(use_true_random=False))
def test_neither_order_nor_who_is_first_matters(
    pairs: list[tuple[int, int]], weights: Weights, source: random.Random
) -> None:
    kappa = cohen_kappa(pairs, weights)
    swapped = cohen_kappa([(b, a) for a, b in source.sample(pairs, len(pairs))], weights)
    if kappa.value is None:
        assert swapped.value is None
    else:
        assert swapped.value == pytest.approx(kappa.value)
        assert -1 - 1e-9 <= kappa.value <= 1
        assert (swapped.stderr or 0) == pytest.approx(kappa.stderr or 0, abs=1e-9)


@given(PAIRS, st.sampled_from(WEIGHTS))
def test_clusters_of_one_change_nothing(pairs: list[tuple[int, int]], weights: Weights) -> None:
    assert cohen_kappa(pairs, weights, clusters=range(len(pairs))) == cohen_kappa(pairs, weights)
    assert agreement(pairs, clusters=range(len(pairs))) == agreement(pairs)


def test_order_swap() -> None:
    games = [("A", "A")] * 6 + [("B", "B")] * 2 + [("tie", "tie")] + [("A", "B")] * 3 + [("B", "A")] + [
        ("A", "tie"), ("tie", "tie")
    ]  # fmt: skip
    found = order_swap(games)
    assert found.consistency.value == pytest.approx(10 / 15)
    assert (found.num_consistent, found.num_first, found.num_second, found.num_half) == (10, 3, 1, 1)
    # Shown first: each consistent pair ½, both to the first 1, both to the second 0, A and a tie ¾.
    assert found.first_place.value == pytest.approx((10 * 0.5 + 3 + 0 + 0.75) / 15)
    assert order_swap([]).consistency.value is None
