"""Student's t with any number of degrees of freedom, also a fraction, as Welch and Satterthwaite's have."""

from __future__ import annotations

import math
from functools import lru_cache

_MOST_STEPS = 10_000
_TINY = 1e-300
_LARGE = 100


def two_sided_p(t: float, degrees_of_freedom: float) -> float:
    """The probability that |T| is at least |t|.

    Raises:
        ValueError: There are no degrees of freedom.
    """
    if not degrees_of_freedom > 0:
        raise ValueError(f"Student's t has no {degrees_of_freedom} degrees of freedom")
    if math.isinf(degrees_of_freedom):
        return math.erfc(abs(t) / math.sqrt(2))
    if math.isinf(t):
        return 0.0
    return _tails(t * t, degrees_of_freedom)


@lru_cache(maxsize=4096)
def two_sided_limit(probability: float, degrees_of_freedom: float) -> float:
    """The t that |T| exceeds with this probability: 0.05 gives the limit of a 95% interval.

    Raises:
        ValueError: The probability is not between 0 and 1, or there are no degrees of freedom.
    """
    if not 0 < probability < 1:
        raise ValueError(f"no limit of Student's t for the probability {probability}")
    low, high = 0.0, 1.0
    while two_sided_p(high, degrees_of_freedom) > probability:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):
        if two_sided_p(middle, degrees_of_freedom) > probability:
            low = middle
        else:
            high = middle
    return high


def _tails(square: float, freedom: float) -> float:
    """P(T² > square): the regularized incomplete beta function I_x(df/2, 1/2) at x = df / (df + square)."""
    a, b = freedom / 2, 0.5
    x, rest = freedom / (freedom + square), square / (freedom + square)
    if not 0 < rest < 1:
        return float(rest <= 0)
    log_factor = _log_gamma_ratio(a) - math.lgamma(b) - a * math.log1p(square / freedom) + b * math.log(rest)
    if x < (a + 1) / (a + b + 2):
        return math.exp(log_factor) * _fraction(x, a, b) / a
    return 1 - math.exp(log_factor) * _fraction(rest, b, a) / b


def _log_gamma_ratio(a: float) -> float:
    """The logarithm of Γ(a + 1/2) / Γ(a); by an expansion where a difference loses its digits."""
    if a < _LARGE:
        return math.lgamma(a + 0.5) - math.lgamma(a)
    return 0.5 * math.log(a) - 1 / (8 * a) + 1 / (192 * a**3) - 1 / (640 * a**5)


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method."""
    c, d = 1.0, 1 / (_not_zero(1 - (a + b) * x / (a + 1)))
    value = d
    for m in range(1, _MOST_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = value
        for step in (even, odd):
            d = 1 / _not_zero(1 + step * d)
            c = _not_zero(1 + step / c)
            value *= c * d
        if abs(value - before) <= 1e-16 * abs(value):
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
