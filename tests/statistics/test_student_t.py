"""Student's t against scipy's, for whole and broken degrees of freedom."""

from __future__ import annotations

import math

import pytest

from evalkit.statistics.student_t import two_sided_limit, two_sided_p

DEGREES = [0.5, 1, 2, 2.7, 5, 11, 21.95598, 99, 1234.5, 1e5, 1e7]


@pytest.mark.parametrize("freedom", DEGREES)
@pytest.mark.parametrize("t", [0.0, 1e-6, 0.3, 1.0, -1.96, 4.0, 12.0, 40.0])
def test_p_is_scipys(t: float, freedom: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert two_sided_p(t, freedom) == pytest.approx(2 * stats.t.sf(abs(t), freedom), rel=1e-8, abs=1e-300)


@pytest.mark.parametrize("freedom", DEGREES)
@pytest.mark.parametrize("probability", [0.9, 0.32, 0.05, 0.001])
def test_limit_is_scipys(probability: float, freedom: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert two_sided_limit(probability, freedom) == pytest.approx(
        stats.t.ppf(1 - probability / 2, freedom), rel=1e-8
    )


def test_known_values() -> None:
    assert two_sided_limit(0.05, 1) == pytest.approx(12.7062047)
    assert two_sided_limit(0.05, math.inf) == pytest.approx(1.959963985)
    assert two_sided_p(math.inf, 3) == 0.0
    assert two_sided_p(0, 3) == pytest.approx(1.0)


@pytest.mark.parametrize("freedom", [0, -1.0, math.nan])
def test_there_is_no_t_without_freedom(freedom: float) -> None:
    with pytest.raises(ValueError, match="degrees of freedom"):
        two_sided_p(1.0, freedom)


@pytest.mark.parametrize("probability", [0, 1, -0.1, math.nan])
def test_there_is_no_limit_without_a_probability(probability: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        two_sided_limit(probability, 3)
