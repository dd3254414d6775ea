from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.engine.limiter import AdaptiveLimit, Limiter, Slot, TokenBucket
from evalkit.models.deployment import Limits

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_slow_start_doubles_per_round_trip_up_to_the_maximum() -> None:
    limit = AdaptiveLimit(4, 30)
    trace = []
    for round_trip in range(4):
        in_flight = int(limit)
        for _ in range(in_flight):
            limit.grow(int(limit), now=float(round_trip))
        trace.append(int(limit))
    assert trace == [8, 16, 30, 30]


def test_no_growth_while_the_limit_is_not_used() -> None:
    limit = AdaptiveLimit(10, 64)
    for _ in range(100):
        limit.grow(7, now=0.0)
    assert int(limit) == 10
    limit.grow(8, now=0.0)
    assert int(limit) == 11


def test_one_round_trip_shrinks_the_limit_once() -> None:
    limit = AdaptiveLimit(20, 64)
    assert limit.shrink(sent_at=0.0, now=1.0, cooldown_s=0.0)
    # These were sent before the limit shrank, so they say nothing about the new limit.
    assert not any(limit.shrink(sent_at=0.0, now=1.1, cooldown_s=0.0) for _ in range(19))
    assert limit.value == pytest.approx(14.0)
    assert limit.shrink(sent_at=1.2, now=2.0, cooldown_s=0.0)
    assert limit.value == pytest.approx(9.8)


def test_retry_after_extends_the_cooldown() -> None:
    limit = AdaptiveLimit(20, 64)
    limit.shrink(sent_at=0.0, now=1.0, cooldown_s=5.0)
    assert not limit.shrink(sent_at=2.0, now=3.0, cooldown_s=0.0)
    limit.grow(20, now=5.9)
    assert limit.value == pytest.approx(14.0)
    assert limit.shrink(sent_at=6.0, now=6.0, cooldown_s=0.0)


def test_growth_is_additive_after_the_first_overload() -> None:
    limit = AdaptiveLimit(20, 64)
    limit.shrink(sent_at=0.0, now=1.0, cooldown_s=0.0)
    for _ in range(14):
        limit.grow(20, now=2.0)
    assert 14.9 < limit.value <= 15.0


@given(st.lists(st.booleans(), max_size=300), st.integers(1, 99), st.integers(1, 99))
def test_the_limit_stays_between_one_and_the_maximum(
    outcomes: list[bool], initial: int, maximum: int
) -> None:
    limit = AdaptiveLimit(initial, maximum)
    for now, success in enumerate(outcomes):
        if success:
            limit.grow(int(limit), now)
        else:
            limit.shrink(now, now, 0.0)
        assert 1 <= int(limit) <= maximum


def test_a_bucket_lets_large_requests_through_and_waits_off_the_debt() -> None:
    bucket = TokenBucket(600)  # 10 per second, 10 at most at once
    assert bucket.wait_s(500, now=0.0) == 0
    bucket.take(500)
    assert bucket.wait_s(1, now=0.0) == pytest.approx(49.1)
    bucket.take(-400)  # it was really 100
    assert bucket.wait_s(1, now=0.0) == pytest.approx(9.1)
    assert bucket.wait_s(1, now=9.1) == 0


def test_slots_go_out_in_order_and_only_as_many_as_allowed(run: Run) -> None:
    async def main() -> None:
        limiter = Limiter(Limits(max_concurrency=2, initial_concurrency=2))
        order: list[int] = []

        async def one(number: int) -> None:
            slot = await limiter.acquire()
            assert limiter.in_use <= 2
            order.append(number)
            await asyncio.sleep(1)
            limiter.succeeded(slot, 0)

        await asyncio.gather(*(one(n) for n in range(7)))
        assert order == list(range(7))
        assert limiter.in_use == 0
        assert asyncio.get_running_loop().time() == pytest.approx(4)

    run(main())


def test_a_cancelled_waiter_gives_its_place_back(run: Run) -> None:
    async def main() -> None:
        limiter = Limiter(Limits(initial_concurrency=1, max_concurrency=1))
        slot = await limiter.acquire()
        tasks = [asyncio.create_task(limiter.acquire()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()  # while it waits
        limiter.failed(slot)  # the slot goes to tasks[1] ...
        await asyncio.sleep(0)
        assert tasks[0].cancelled()
        limiter.failed(await tasks[1])
        tasks[2].cancel()  # ... and on to tasks[2], which is cancelled before it learns of it
        await asyncio.wait(tasks)
        assert tasks[2].cancelled()
        assert limiter.in_use == 0
        assert (await limiter.acquire()).tokens == 0

    run(main())


async def _send_times(limiter: Limiter, count: int, tokens: float, actual: float) -> list[float]:
    times: list[float] = []

    async def one() -> None:
        slot = await limiter.acquire(tokens)
        times.append(slot.sent_at)
        limiter.succeeded(slot, actual)

    await asyncio.gather(*(one() for _ in range(count)))
    return times


def test_requests_per_minute_hold_in_every_minute(run: Run) -> None:
    times = run(_send_times(Limiter(Limits(requests_per_minute=120)), 500, 0, 0))
    assert times == sorted(times)
    for start in times:
        assert sum(start <= t < start + 60 for t in times) <= 122
    assert times[-1] == pytest.approx(249, abs=1)


def test_tokens_per_minute_count_what_was_really_used(run: Run) -> None:
    limits = Limits(tokens_per_minute=6000)
    reserved = run(_send_times(Limiter(limits), 61, 200, 200))
    corrected = run(_send_times(Limiter(limits), 61, 200, 100))
    assert reserved[-1] == pytest.approx(120, abs=2)
    assert corrected[-1] == pytest.approx(60, abs=2)


def test_several_overloads_in_a_row_pause_all_sending_until_retry_after_is_over(run: Run) -> None:
    async def main() -> None:
        limiter = Limiter(Limits(initial_concurrency=8))
        slots = [await limiter.acquire() for _ in range(3)]
        for slot in slots[:2]:
            limiter.overloaded(slot, 30.0)
        free = await limiter.acquire()
        assert free.sent_at == 0
        limiter.overloaded(slots[2], 30.0)
        assert (await limiter.acquire()).sent_at == pytest.approx(30)
        limiter.succeeded(free, 0)
        limiter.overloaded(await limiter.acquire(), 30.0)
        assert (await limiter.acquire()).sent_at == pytest.approx(30)
        assert limiter.overloads == 4

    run(main())


def test_overloads_without_retry_after_pause_longer_and_longer(run: Run) -> None:
    async def main() -> list[float]:
        limiter = Limiter(Limits(initial_concurrency=8, backoff_s=1.0, max_backoff_s=3.0))
        times = []
        for _ in range(8):
            slot: Slot = await limiter.acquire()
            times.append(slot.sent_at)
            limiter.overloaded(slot)
        assert limiter.limit == 1
        return times

    assert run(main()) == [0, 0, 0, 1, 3, 6, 9, 12]
