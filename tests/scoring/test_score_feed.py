"""Scoring while answers come in: at once, in batches, and told to whoever watches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from evalkit.instance import Instance
from evalkit.request import Request, RequestState, request_key
from evalkit.response import Completion, Response
from evalkit.scoring import score_feed as feed_module
from evalkit.scoring.metric import Metric
from evalkit.scoring.score_feed import ScoreFeed
from evalkit.scoring.scorer import Scorer
from evalkit.scoring.unit import Unit


class Slow(Metric):
    """Gives 1, once it may."""

    name, names = "one", ("one",)

    def __init__(self) -> None:
        self.may = Event()
        self.may.set()

    def score(self, unit: Unit) -> dict[str, float]:
        assert self.may.wait(20)
        return {"one": 1.0}


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=1) as made:
        yield made


def make_scorer(num_instances: int, metric: Metric | None = None) -> Scorer:
    made = [Instance("?", (), "test", id=f"id{i}") for i in range(num_instances)]
    return Scorer([metric or Slow()], made)


async def add(feed: ScoreFeed, index: int) -> None:
    state = RequestState(request_key(f"id{index}", 0, 0), f"id{index}", 0, Request("?"))
    await feed.add(state, Response((Completion("1"),)))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(300):
        while not condition():
            await asyncio.sleep(0.001)


def test_the_first_outcome_is_scored_at_once(
    thread: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "SUBMIT_EVERY_S", 3600.0)
    told: list[tuple[int, dict[str, float]]] = []

    async def main() -> None:
        scorer = make_scorer(3)
        feed = ScoreFeed(scorer, thread, lambda s: told.append((s.n_scored, s.progress)))
        await add(feed, 0)
        await until(lambda: bool(told))
        assert told == [(1, {"one": 1.0})]
        # The others wait for the pause to end, which here is at the end of the run.
        await add(feed, 1)
        await add(feed, 2)
        await feed.finish()
        assert told == [(1, {"one": 1.0}), (3, {"one": 1.0})]

    asyncio.run(main())


def test_what_waits_is_scored_though_no_other_outcome_comes(thread: ThreadPoolExecutor) -> None:
    async def main() -> None:
        scorer = make_scorer(3)
        feed = ScoreFeed(scorer, thread)
        await add(feed, 0)
        await add(feed, 1)
        await add(feed, 2)
        await until(lambda: scorer.n_scored == 3)
        await feed.finish()

    asyncio.run(main())


def test_a_full_batch_does_not_wait(thread: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "SUBMIT_EVERY_S", 3600.0)
    monkeypatch.setattr(feed_module, "BATCH_SIZE", 4)

    async def main() -> None:
        scorer = make_scorer(7)
        feed = ScoreFeed(scorer, thread)
        for index in range(7):
            await add(feed, index)
        await until(lambda: scorer.n_scored == 5)
        await feed.finish()
        assert scorer.n_scored == 7

    asyncio.run(main())


def test_the_sender_is_held_up_only_when_very_many_wait(
    thread: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "BATCH_SIZE", 2)
    monkeypatch.setattr(feed_module, "MAX_WAITING", 6)
    metric = Slow()
    metric.may.clear()

    async def main() -> None:
        scorer = make_scorer(20, metric)
        feed = ScoreFeed(scorer, thread)
        added: list[int] = []

        async def send() -> None:
            for index in range(20):
                await add(feed, index)
                added.append(index)

        sending = asyncio.create_task(send())
        await until(lambda: len(added) >= 6)
        for _ in range(50):
            await asyncio.sleep(0)
        assert 6 <= len(added) < 10
        metric.may.set()
        await sending
        await feed.finish()
        assert scorer.n_scored == 20

    asyncio.run(main())


def test_an_error_reaches_whoever_adds_or_waits(thread: ThreadPoolExecutor) -> None:
    def refuse(scorer: Scorer) -> None:
        raise KeyError("the watcher's own")

    async def add_forever(feed: ScoreFeed) -> None:
        async with asyncio.timeout(300):
            while True:
                await add(feed, 0)
                await asyncio.sleep(0.001)

    async def adds() -> None:
        feed = ScoreFeed(make_scorer(9), thread, refuse)
        with pytest.raises(KeyError, match="the watcher's own"):
            await add_forever(feed)
        feed.close()

    async def waits() -> None:
        feed = ScoreFeed(make_scorer(1), thread)
        # Not of this run: the scorer refuses it.
        await add(feed, 5)
        with pytest.raises(Exception, match="not part of this run"):
            await feed.finish()

    asyncio.run(adds())
    asyncio.run(waits())


def test_a_feed_that_is_left_behind_does_no_harm(thread: ThreadPoolExecutor) -> None:
    metric = Slow()
    metric.may.clear()

    async def main() -> None:
        feed = ScoreFeed(make_scorer(2, metric), thread, lambda _: None)
        await add(feed, 0)
        await add(feed, 1)
        feed.close()

    asyncio.run(main())
    # The event loop is gone when the scoring thread is done.
    metric.may.set()
    thread.submit(time.monotonic).result(300)
