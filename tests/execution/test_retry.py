from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import OverloadError, TransientError
from evalkit.execution.retry import RetryPolicy
from evalkit.models.deployment import Limits

LIMITS = Limits(max_attempts=4, backoff_s=1.0, max_backoff_s=20.0)


class _Highest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    policy = RetryPolicy(Limits(max_attempts=99, backoff_s=1.0, max_backoff_s=20.0), _Highest())
    error = TransientError("500")
    assert [policy.delay_s(error, n, 0.0) for n in range(1, 8)] == [1, 2, 4, 8, 16, 20, 20]


def test_it_does_not_double_while_other_requests_are_answered() -> None:
    policy = RetryPolicy(Limits(max_attempts=99, backoff_s=1.0, max_backoff_s=20.0), _Highest())
    error = TransientError("500")
    assert [policy.delay_s(error, n, 0.0, failures_in_a_row=2) for n in (1, 2, 9)] == [1, 1, 1]
    assert [policy.delay_s(error, n, 0.0, failures_in_a_row=11) for n in (1, 2, 9)] == [1, 2, 4]
    assert [policy.delay_s(error, n, 0.0, failures_in_a_row=999) for n in (1, 2, 9)] == [1, 2, 20]


def test_retry_after_is_waited_for_and_little_more() -> None:
    policy = RetryPolicy(Limits(backoff_s=1.0), _Highest())
    assert policy.delay_s(OverloadError("429", 2.0), 5, 0.0) == pytest.approx(2.2)
    assert policy.delay_s(OverloadError("429", 300.0), 5, 0.0) == 301


def test_delays_are_spread_over_the_whole_range_and_repeatable() -> None:
    policy = RetryPolicy(LIMITS, random.Random(7))
    delays = [policy.delay_s(TransientError("500"), 3, 0.0) for _ in range(200)]
    assert all(delay is not None and 0 <= delay <= 4 for delay in delays)
    assert min(d for d in delays if d is not None) < 0.3
    assert max(d for d in delays if d is not None) > 3.7
    again = RetryPolicy(LIMITS, random.Random(7))
    assert delays == [again.delay_s(TransientError("500"), 3, 0.0) for _ in range(200)]


def test_the_global_generator_is_left_alone() -> None:
    random.seed(1)
    before = random.getstate()
    RetryPolicy(LIMITS).delay_s(TransientError("500"), 1, 0.0)
    assert random.getstate() == before


@pytest.mark.parametrize("reason", ["server_error", "timeout", "malformed"])
def test_attempts_end_what_the_request_may_be_to_blame_for(reason: str) -> None:
    policy = RetryPolicy(LIMITS)
    assert policy.delay_s(TransientError("", reason), 3, 0.0) is not None
    assert policy.delay_s(TransientError("", reason), 4, 0.0) is None


@pytest.mark.parametrize(
    ("error", "patience_s"), [(OverloadError(""), 80), (TransientError("", "connection"), 80)]
)
def test_overload_and_lost_connections_are_outwaited(error: TransientError, patience_s: float) -> None:
    policy = RetryPolicy(LIMITS)
    assert policy.delay_s(error, 50, patience_s - 20.1) is not None
    assert policy.delay_s(error, 50, patience_s) is None
    assert policy.delay_s(error, 3, 1e6) is not None


def test_a_lost_connection_is_outwaited_for_ninety_seconds_at_most() -> None:
    policy = RetryPolicy(Limits())
    assert policy.delay_s(TransientError("", "connection"), 6, 91.0) is None
    assert policy.delay_s(OverloadError(""), 6, 91.0) is not None


@given(st.floats(0, 600), st.integers(1, 5), st.integers(0, 2**32))
def test_retry_after_is_a_lower_bound(retry_after_s: float, attempts: int, seed: int) -> None:
    policy = RetryPolicy(Limits(), random.Random(seed))
    delay_s = policy.delay_s(OverloadError("429", retry_after_s), attempts, 0.0)
    assert delay_s is not None
    assert delay_s >= retry_after_s


def test_a_retry_after_of_hours_is_not_waited_for() -> None:
    assert RetryPolicy(Limits()).delay_s(OverloadError("429", 3600.0), 1, 0.0) is None
