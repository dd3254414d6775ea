"""The concurrency limit against servers that reject for different reasons; all in made-up time, so exact."""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.execution.adaptive_limit import AdaptiveLimit
from evalkit.execution.executor import Executor
from evalkit.execution.sender import Sender
from evalkit.models.deployment import Limits
from evalkit.request import Request, RequestState
from evalkit.response import Response
from tests.execution.rejecting import Bucketed, ByChance, Capped, Rejecting, ideal_s

Run = Callable[[Coroutine[Any, Any, Any]], Any]
WARM_UP_S = 3.0


async def _send_all(server: Rejecting, count: int, concurrency: int) -> tuple[float, Executor]:
    limits = Limits(max_concurrency=concurrency, initial_concurrency=concurrency, max_attempts=12)
    executor = Executor(Sender(server, name="s", limits=limits, rng=random.Random(1)))
    states = (RequestState(f"q{n}", f"q{n}", 0, Request(f"q{n}", max_tokens=2)) for n in range(count))
    async for _, outcome in executor.stream(states):
        assert isinstance(outcome, Response)
    return asyncio.get_running_loop().time(), executor


@pytest.mark.parametrize("rejects_after_s", [0.001, 0.05])
@pytest.mark.parametrize("retry_after_s", [None, 1.0])
@pytest.mark.parametrize("limit", ["cap 8", "cap 32", "cap 200", "bucket"])
def test_a_capacity_is_found_used_and_hardly_exceeded(
    run: Run, limit: str, retry_after_s: float | None, rejects_after_s: float
) -> None:
    told: dict[str, Any] = {"retry_after_s": retry_after_s, "rejects_after_s": rejects_after_s}
    server: Any = Bucketed(**told) if limit == "bucket" else Capped(cap=int(limit.split()[1]), **told)
    concurrency = 512 if limit == "cap 200" else 64
    count = int(server.per_s * WARM_UP_S) + 4000

    run(_send_all(server, count, concurrency))

    seen = [(at, what) for at, what in server.log if at >= WARM_UP_S]
    seen = seen[: min(3000, int(0.8 * len(seen)))]
    assert len(seen) > 1500
    answered = sum(what == "ok" for _, what in seen)
    assert answered / (seen[-1][0] - WARM_UP_S) >= 0.9 * server.per_s
    assert 1 - answered / len(seen) <= 0.05


def test_rejections_by_chance_cost_hardly_more_than_they_must(run: Run) -> None:
    ratios = []
    for seed in range(5):
        server = ByChance(seed=seed, rejects_after_s=0.05)
        took_s, executor = run(_send_all(server, 1319, 64))
        least_s = ideal_s(seed, [f"q{n}" for n in range(1319)], 64, server.latency_s, 1.0)
        ratios.append(took_s / least_s)
        assert executor.sender.stats.limit > 16
    assert statistics.median(ratios) <= 1.3
    assert max(ratios) <= 1.6


def test_capacity_that_comes_back_is_used_again(run: Run) -> None:
    server = Capped(cap=4)

    async def main() -> None:
        asyncio.get_running_loop().call_later(10, setattr, server, "cap", 64)
        await _send_all(server, 12_000, 64)

    run(main())
    late = [what for at, what in server.log if 20 <= at < 21]
    assert late.count("ok") > 0.9 * 64 / server.latency_s


def _round(limit: AdaptiveLimit, rejected: Callable[[int], bool], in_use: int | None = None) -> None:
    """One round at the limit."""
    numbers = []
    while number := limit.sent(int(limit) if in_use is None else in_use):
        numbers.append(number)
    for index, number in enumerate(numbers):
        limit.back(number, rejected=rejected(index))


def test_it_doubles_up_to_the_maximum_while_nothing_is_rejected() -> None:
    limit = AdaptiveLimit(16, 100)
    trace = []
    for _ in range(4):
        _round(limit, lambda _: False)
        trace.append(int(limit))
    assert trace == [32, 64, 100, 100]


def test_it_does_not_grow_while_it_is_not_used() -> None:
    limit = AdaptiveLimit(16, 100)
    for _ in range(5):
        _round(limit, lambda _: False, in_use=12)
    assert int(limit) == 16


def test_a_round_ends_only_when_all_of_it_is_back() -> None:
    """Rejections may be back first: on their own they say nothing of the share."""
    limit = AdaptiveLimit(20, 20)
    numbers = [limit.sent(20) for _ in range(40)]
    assert limit.sent(20) == 0
    for number in numbers[:20]:
        limit.back(number, rejected=True)
    assert int(limit) == 20
    for number in numbers[20:]:
        limit.back(number, rejected=False)
    assert int(limit) == 9  # half of it, and a little less
    limit.back(numbers[0], rejected=True)  # of a round that is over
    _round(limit, lambda _: False)
    assert limit.baseline == 0


def test_a_share_that_stays_is_a_baseline_and_the_limit_comes_back() -> None:
    limit = AdaptiveLimit(64, 64)
    for _ in range(4):
        _round(limit, lambda index: index % 6 == 0)
    assert int(limit) == 64
    assert limit.baseline == pytest.approx(1 / 6, abs=0.02)


def test_what_fails_for_other_reasons_says_nothing() -> None:
    limit = AdaptiveLimit(64, 64)
    for _ in range(200):
        if number := limit.sent(64):
            limit.back(number, rejected=None)
    assert int(limit) == 64
    assert limit.baseline == 0


@given(st.lists(st.sampled_from([True, False, None]), max_size=400), st.integers(1, 99), st.integers(1, 99))
def test_it_stays_between_one_and_the_maximum(
    outcomes: list[bool | None], initial: int, maximum: int
) -> None:
    limit = AdaptiveLimit(initial, maximum)
    for rejected in outcomes:
        if number := limit.sent(int(limit)):
            limit.back(number, rejected=rejected)
        assert 1 <= int(limit) <= maximum
        assert limit.idle_share >= 0
