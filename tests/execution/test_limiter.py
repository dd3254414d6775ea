from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from evalkit.execution.limiter import Limiter, Permit, TokenBucket
from evalkit.models.deployment import Limits

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_a_bucket_lets_large_requests_through_and_waits_off_the_debt() -> None:
    bucket = TokenBucket(600)  # 10 per second, 10 at most at once
    assert bucket.wait_s(500, now=0.0) == 0
    bucket.take(500)
    assert bucket.wait_s(1, now=0.0) == pytest.approx(49.1)
    bucket.take(-400)  # it was really 100
    assert bucket.wait_s(1, now=0.0) == pytest.approx(9.1)
    assert bucket.wait_s(1, now=9.1) == 0


def test_permits_go_out_in_order_and_only_as_many_as_allowed(run: Run) -> None:
    async def main() -> None:
        limiter = Limiter(Limits(max_concurrency=2, initial_concurrency=2))
        order: list[int] = []

        async def one(number: int) -> None:
            permit = await limiter.acquire()
            assert limiter.in_use <= 2
            order.append(number)
            await asyncio.sleep(1)
            limiter.succeeded(permit, 0)

        await asyncio.gather(*(one(n) for n in range(7)))
        assert order == list(range(7))
        assert limiter.in_use == 0
        assert asyncio.get_running_loop().time() == pytest.approx(4)

    run(main())


def test_a_cancelled_waiter_gives_its_place_back(run: Run) -> None:
    async def main() -> None:
        limiter = Limiter(Limits(initial_concurrency=1, max_concurrency=1))
        permit = await limiter.acquire()
        tasks = [asyncio.create_task(limiter.acquire()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()  # while it waits
        limiter.failed(permit)  # the permit goes to tasks[1] ...
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
        permit = await limiter.acquire(tokens)
        times.append(permit.sent_at)
        limiter.succeeded(permit, actual)

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


def test_rejections_in_a_row_pause_all_sending_until_retry_after_is_over(run: Run) -> None:
    async def main() -> None:
        limiter = Limiter(Limits(initial_concurrency=8))
        slots = [await limiter.acquire() for _ in range(8)]
        for permit in slots[:7]:
            limiter.overloaded(permit, 30.0)
        free = await limiter.acquire()
        assert free.sent_at == 0  # the last of those in flight may be answered yet
        limiter.overloaded(slots[7], 30.0)
        assert (await limiter.acquire()).sent_at == pytest.approx(30)
        limiter.succeeded(free, 0)
        limiter.overloaded(await limiter.acquire(), 30.0)
        assert (await limiter.acquire()).sent_at < 61
        assert limiter.overloads == 9

    run(main())


def test_rejections_that_are_frequent_come_in_a_row_by_chance(run: Run) -> None:
    async def main() -> float:
        limiter = Limiter(Limits(initial_concurrency=8, max_concurrency=8))
        for _ in range(30):
            for rejected in (True, False):
                permit = await limiter.acquire()
                limiter.overloaded(permit, 30.0) if rejected else limiter.succeeded(permit, 0)
        before_s = asyncio.get_running_loop().time()
        for _ in range(12):
            limiter.overloaded(await limiter.acquire(), 30.0)
        return asyncio.get_running_loop().time() - before_s

    assert run(main()) < 30


def test_pauses_without_retry_after_grow_while_nothing_is_answered(run: Run) -> None:
    async def main() -> list[float]:
        limiter = Limiter(Limits(initial_concurrency=8, backoff_s=1.0, max_backoff_s=3.0))
        times = []
        for _ in range(12):
            permit: Permit = await limiter.acquire()
            times.append(permit.sent_at)
            limiter.overloaded(permit)
        return times

    assert run(main()) == [0] * 8 + [1, 3, 6, 9]


def test_a_place_stays_empty_after_a_rejection_as_long_as_an_answer_takes(run: Run) -> None:
    async def main() -> None:
        limiter = Limiter(Limits(initial_concurrency=2, max_concurrency=2))
        permit = await limiter.acquire()
        await asyncio.sleep(2)
        limiter.succeeded(permit, 0)
        first, second = await limiter.acquire(), await limiter.acquire()
        limiter.overloaded(first, 9.0)
        assert (await limiter.acquire()).sent_at == pytest.approx(4)
        limiter.failed(second)
        assert (await limiter.acquire()).sent_at == pytest.approx(4)

    run(main())
