from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit.errors import SystemicError, UsageError
from evalkit.execution.budget import Budget, Cost, TokenEstimator
from evalkit.request import Message, Request
from evalkit.response import Usage

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@given(
    costs=st.lists(
        st.tuples(st.integers(0, 100), st.floats(0, 1), st.floats(0, 5), st.floats(0, 3)), max_size=40
    ),
    max_tokens=st.integers(0, 1500),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_never_exceeded_and_nobody_waits_for_nothing(
    run: Run, costs: list[tuple[int, float, float, float]], max_tokens: int
) -> None:
    async def main() -> None:
        budget = Budget(max_usd=max_tokens / 10, max_tokens=max_tokens)
        refused: list[int] = []

        def check() -> None:
            assert budget.spent.tokens + budget.reserved.tokens <= max_tokens
            assert budget.spent.usd + budget.reserved.usd <= max_tokens / 10 + 1e-6

        async def one(estimate: int, share: float, start_s: float, duration_s: float) -> None:
            await asyncio.sleep(start_s)
            reserved = Cost(estimate / 10, estimate)
            try:
                await budget.reserve(reserved)
            except SystemicError:
                refused.append(estimate)
                return
            check()
            await asyncio.sleep(duration_s)
            budget.settle(reserved, Cost(estimate * share / 10, int(estimate * share)))
            check()

        await asyncio.gather(*(one(*cost) for cost in costs))
        assert budget.reserved == Cost()
        if sum(estimate for estimate, *_ in costs) <= max_tokens:
            assert not [estimate for estimate in refused if estimate < max_tokens - 1e-6]

    run(main())


def test_waits_for_those_in_flight_to_turn_out_cheaper(run: Run) -> None:
    async def main() -> None:
        budget = Budget(max_tokens=100)
        await budget.reserve(Cost(0, 80))
        waiting = asyncio.create_task(budget.reserve(Cost(0, 50)))
        behind = asyncio.create_task(budget.reserve(Cost(0, 10)))
        await asyncio.sleep(1)
        assert not waiting.done()
        assert not behind.done()  # in turn, or a large request would wait for ever
        budget.settle(Cost(0, 80), Cost(0, 30))
        await waiting
        await behind
        assert budget.reserved == Cost(0, 60)

    run(main())


def test_says_what_is_spent_when_nothing_in_flight_can_make_room(run: Run) -> None:
    async def main() -> None:
        budget = Budget(max_usd=1.0, max_tokens=1000, spent=Cost(0.9, 10))
        await budget.reserve(Cost(0.05, 1))
        waiting = asyncio.create_task(budget.reserve(Cost(0.2, 1)))
        smaller = asyncio.create_task(budget.reserve(Cost(0.01, 1)))
        await asyncio.sleep(0)
        budget.settle(Cost(0.05, 1), Cost(0.05, 1))
        with pytest.raises(SystemicError, match=r"budget is spent: \$0\.9500 of \$1\.0000 spent.*\$0\.2000"):
            await waiting
        await smaller

    run(main())


def test_a_cancelled_reservation_holds_nothing_back(run: Run) -> None:
    async def main() -> None:
        budget = Budget(max_tokens=10)
        await budget.reserve(Cost(0, 10))
        first, second = (asyncio.create_task(budget.reserve(Cost(0, 10))) for _ in range(2))
        await asyncio.sleep(0)
        budget.settle(Cost(0, 10), Cost())  # goes to `first`, which is cancelled before it learns of it
        first.cancel()
        await second
        assert first.cancelled()
        budget.settle(Cost(0, 10), Cost(0, 10))
        assert budget.spent == Cost(0, 10)

    run(main())


def test_without_limits_it_only_counts(run: Run) -> None:
    async def main() -> None:
        budget = Budget()
        assert not budget.limited
        for _ in range(3):
            await budget.reserve(Cost())
            budget.settle(Cost(), Cost(0.5, 100))
        assert budget.spent == Cost(1.5, 300)

    run(main())


@pytest.mark.parametrize(("usd", "tokens"), [(-1.0, None), (float("nan"), None), (None, -1)])
def test_nonsense_limits_are_refused(usd: float | None, tokens: int | None) -> None:
    with pytest.raises(UsageError):
        Budget(usd, tokens)


def test_estimates_learn_the_largest_ratio_of_prompts_of_that_size() -> None:
    estimator = TokenEstimator()
    short, long = Request("x" * 10, max_tokens=7, num_completions=3), Request("x" * 1000, max_tokens=7)
    assert estimator.estimate(short) == Usage(20, 21)
    assert estimator.estimate(long) == Usage(416, 7)
    estimator.learn(short, Usage(30, 1))  # a chat template
    estimator.learn(short, Usage(20, 1))
    estimator.learn(short, Usage())  # not reported
    assert estimator.estimate(short).prompt_tokens == 46
    assert estimator.estimate(long).prompt_tokens == 416


def test_chats_are_measured_by_their_messages() -> None:
    chat = Request("", (Message("system", "x" * 40), Message("user", "é" * 30)), max_tokens=0)
    assert TokenEstimator().estimate(chat) == Usage(56, 0)
