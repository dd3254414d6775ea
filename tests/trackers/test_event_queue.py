"""The queue between runs and a tracker never waits, is bounded, and never loses a beginning or an end."""

from __future__ import annotations

import threading
from random import Random

import pytest

from evalkit.response import Completion, Response
from evalkit.results.run_result import RunResult, StageReport
from evalkit.runs.events import (
    Event,
    Note,
    RequestFinished,
    RunFinished,
    RunHandle,
    RunStarted,
    Scored,
    StageFinished,
    StageStarted,
)
from evalkit.trackers.event_queue import EventQueue
from tests.run_events import handle

ANSWER = Response((Completion("yes"),))
PROGRESS = (RequestFinished, Scored, Note)


def request(run: RunHandle, number: int) -> RequestFinished:
    return RequestFinished(run, "answers", f"t0/id{number}", ANSWER, None)


def story(name: str, num_requests: int) -> list[Event]:
    """All events of a run in which scores come after every third request."""
    run = handle(name)
    events: list[Event] = [RunStarted(run), StageStarted(run, "answers", num_requests, 0)]
    for number in range(num_requests):
        events.append(request(run, number))
        if number % 3 == 0:
            events.append(Scored(run, number + 1, {"exact_match": 0.5}))
    events.append(StageFinished(run, StageReport("answers", "complete", num_requests, num_requests, 0)))
    events.append(Scored(run, num_requests, {"exact_match": 1.0}))
    events.append(RunFinished(run, RunResult(name, "complete")))
    return events


def taken(queue: EventQueue) -> list[Event]:
    """What is left in a closed queue."""
    found = []
    while (timed := queue.take()) is not None:
        found.append(timed[0])
    return found


def test_with_room_everything_comes_in_order() -> None:
    queue, events = EventQueue(), story("a", 50)
    for at, event in enumerate(events):
        queue.put(event, float(at))
    queue.close()
    assert queue.take() == (events[0], 0.0)
    assert taken(queue) == events[1:]
    assert queue.num_dropped == 0


def test_a_full_queue_keeps_beginnings_ends_and_the_latest_scores() -> None:
    queue = EventQueue(capacity=10)
    events = story("a", 200)
    for event in events:
        queue.put(event, 0.0)
    queue.close()
    found = taken(queue)
    assert [e for e in found if not isinstance(e, PROGRESS)] == [
        e for e in events if not isinstance(e, PROGRESS)
    ]
    # The score that came last before each end stands before it.
    scored = [event.num_scored for event in found if isinstance(event, Scored)]
    assert scored[-2:] == [199, 200]
    assert isinstance(found[-1], RunFinished)
    assert isinstance(found[-2], Scored)
    assert len(found) <= 10 + 5
    assert queue.num_dropped == len(events) - len(found)


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_puts_and_takes_loses_only_progress(seed: int) -> None:
    rng = Random(seed)
    stories = [story(f"run {number}", rng.randrange(60)) for number in range(5)]
    left = [list(events) for events in stories]
    queue, largest = EventQueue(capacity=rng.choice([1, 5, 30])), 0
    found: list[tuple[Event, float] | None] = []
    num_put = 0
    while any(left):
        if rng.random() < 0.7:
            queue.put(rng.choice([events for events in left if events]).pop(0), 0.0)
            num_put += 1
            largest = max(largest, num_put - len(found) - queue.num_dropped)
        elif num_put - len(found) - queue.num_dropped:
            found.append(queue.take())
    queue.close()
    every = [timed[0] for timed in found if timed is not None] + taken(queue)
    assert len(every) + queue.num_dropped == num_put
    # The bound: capacity, one score for each run, and what is never dropped.
    assert largest <= 30 + 5 * 6
    for events in stories:
        own = [event for event in every if event.run == events[0].run]  # type: ignore[union-attr]
        positions = [next(i for i, e in enumerate(events) if e is event) for event in own]
        assert positions == sorted(positions)
        kept = [type(event) for event in own if not isinstance(event, PROGRESS)]
        assert kept == [RunStarted, StageStarted, StageFinished, RunFinished]


def test_progress_that_waits_can_be_left_out() -> None:
    queue = EventQueue(capacity=8)
    events = story("a", 30)
    for event in events:
        queue.put(event, 0.0)
    queue.close()
    queue.drop_progress()
    found = taken(queue)
    assert not any(isinstance(event, PROGRESS) for event in found)
    assert queue.num_dropped == len(events) - len(found)


def test_a_closed_queue_takes_nothing_more_and_wakes_who_waits() -> None:
    queue = EventQueue()
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.append(queue.take()))
    waiting.start()
    queue.close()
    waiting.join()
    assert found == [None]
    queue.put(Note("too late"), 0.0)
    assert queue.take() is None
    assert not taken(queue)
