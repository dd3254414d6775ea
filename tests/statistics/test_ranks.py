"""Holm's method and rank intervals."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.statistics.multiple import holm
from evalkit.statistics.ranks import RankInterval, ranks_by_comparison, ranks_by_draws


def test_holm_of_eight() -> None:
    p_values = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205]
    assert holm(p_values) == pytest.approx([0.008, 0.056, *[0.234] * 6])
    assert holm(p_values[::-1]) == pytest.approx([0.008, 0.056, *[0.234] * 6][::-1])
    assert holm([]) == []
    assert holm([0.7, 0.9]) == [1, 1]


@given(st.lists(st.floats(0, 1)))
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    for i, j in combinations(range(len(p_values)), 2):
        assert p_values[i] > p_values[j] or adjusted[i] <= adjusted[j]


def test_four_models() -> None:
    """Means .82 .80 .79 .70, the standard error of every difference .012: 1–2, 1–3, 2–3, 4."""
    means = {"a": 0.82, "b": 0.80, "c": 0.79, "d": 0.70}
    pairs = {
        (i, j): (means[i] - means[j], math.erfc(abs(means[i] - means[j]) / 0.012 / math.sqrt(2)))
        for i, j in combinations(means, 2)
    }
    raw = [p for _, p in pairs.values()]
    assert raw[:2] == pytest.approx([0.095581, 0.012419], abs=1e-6)
    assert raw[3] == pytest.approx(0.404657, abs=1e-6)
    assert holm(raw)[:4] == pytest.approx([0.191161, 0.037258, holm(raw)[2], 0.404657], abs=1e-6)
    found = ranks_by_comparison(list(means), pairs)
    assert {m: (r.best, r.worst) for m, r in found.items()} == {
        "a": (1, 2),
        "b": (1, 3),
        "c": (2, 3),
        "d": (4, 4),
    }
    assert [str(found[m]) for m in "ad"] == ["1–2", "4"]
    turned = {(j, i): (-d, p) for (i, j), (d, p) in pairs.items()}
    assert ranks_by_comparison(list(means)[::-1], turned) == found


def test_models_that_were_not_compared_may_have_any_rank() -> None:
    found = ranks_by_comparison(["a", "b", "c"], {("a", "b"): (0.1, 0.0)})
    assert found == {"a": RankInterval(1, 2), "b": RankInterval(2, 3), "c": RankInterval(1, 3)}


def test_ranks_of_draws() -> None:
    draws = {"a": [3.0] * 100, "b": [2.0] * 90 + [1.0] * 10, "c": [1.0] * 90 + [2.0] * 10}
    assert ranks_by_draws(draws) == {
        "a": RankInterval(1, 1),
        "b": RankInterval(2, 3),
        "c": RankInterval(2, 3),
    }
    assert ranks_by_draws({"a": [1.0] * 40, "b": [1.0] * 40}) == {
        "a": RankInterval(1, 2),
        "b": RankInterval(1, 2),
    }
    rare = {"a": [1.0] * 99 + [0.0], "b": [0.5] * 100}
    assert ranks_by_draws(rare)["a"] == RankInterval(1, 1)
