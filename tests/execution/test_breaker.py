from __future__ import annotations

from evalkit.errors import BadRequestError, OverloadError, SystemicError, TransientError
from evalkit.execution.breaker import Breaker

REFUSED = TransientError("connection refused", "connection")


def test_a_server_that_was_never_there_opens_it_at_the_tenth_failure() -> None:
    breaker = Breaker("acme/text")
    assert all(breaker.failed(REFUSED, float(n)) is None for n in range(9))
    opened = breaker.failed(REFUSED, 9.0)
    assert isinstance(opened, SystemicError)
    assert str(opened) == (
        "acme/text is stopped: its first 10 attempts all failed; last error (connection): connection refused"
    )


def test_after_an_answer_it_takes_twenty_failures_and_a_minute() -> None:
    breaker = Breaker("acme/text")
    breaker.succeeded()
    assert all(breaker.failed(REFUSED, 100.0 + n) is None for n in range(60))
    assert "61 attempts in a row failed over 60 s" in str(breaker.failed(REFUSED, 160.0))

    breaker = Breaker("acme/text")
    breaker.succeeded()
    assert all(breaker.failed(REFUSED, 100.0 + 10 * n) is None for n in range(19))
    assert breaker.failed(REFUSED, 290.0) is not None


def test_any_answer_starts_the_count_again() -> None:
    breaker = Breaker("acme/text")
    for _ in range(5):
        assert all(breaker.failed(REFUSED, float(n)) is None for n in range(9))
        breaker.refused(BadRequestError("no"))
    for _ in range(5):
        breaker.succeeded()
        assert all(breaker.failed(REFUSED, 10.0 * n) is None for n in range(19))


def test_overload_is_outwaited_for_ten_minutes() -> None:
    breaker = Breaker("acme/text")
    assert all(breaker.failed(OverloadError("429"), float(n)) is None for n in range(600))
    assert "overloaded 601 times in a row over 600 s" in str(breaker.failed(OverloadError("429"), 600.0))


def test_a_retry_after_beyond_ten_minutes_opens_it_once_it_repeats() -> None:
    breaker = Breaker("acme/text")
    quota = OverloadError("daily limit", 7200.0)
    assert breaker.failed(quota, 0.0) is None
    assert breaker.failed(quota, 0.1) is None
    assert breaker.failed(quota, 0.2) is not None


def test_a_server_that_refuses_everything_opens_it_but_one_answer_shows_it_is_fine() -> None:
    no_model = BadRequestError("no such model")
    breaker = Breaker("acme/text")
    assert all(breaker.refused(no_model) is None for _ in range(19))
    assert "refused its first 20 requests" in str(breaker.refused(no_model))
    breaker = Breaker("acme/text")
    breaker.succeeded()
    assert all(breaker.refused(no_model) is None for _ in range(100))


def test_an_engine_that_died_is_its_clients_affair() -> None:
    breaker = Breaker("test/engine")
    for n in range(1000):
        assert breaker.failed(TransientError("it died", "engine_died"), float(n)) is None
