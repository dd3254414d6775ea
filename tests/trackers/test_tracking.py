"""A tracker never holds a run up and never harms it: one that raises, one that hangs, one that is slow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import evalkit
from evalkit import RunResult, Tracker, UsageError
from evalkit.registry import isolated_registries
from evalkit.runs.events import (
    Event,
    ModelLoaded,
    ModelLoading,
    Note,
    RequestFinished,
    RunFinished,
    RunsPlanned,
    RunStarted,
    Scored,
    StageFinished,
    StageStarted,
)
from evalkit.trackers import tracking as module
from evalkit.trackers.event_queue import CAPACITY

NUM_REQUESTS = 1500
ENTRY = f"arithmetic:num_test={NUM_REQUESTS},model=evalkit/majority"
FINAL = (RunsPlanned, RunStarted, StageStarted, ModelLoading, ModelLoaded, StageFinished, RunFinished)


@pytest.fixture(autouse=True)
def registries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with isolated_registries():
        yield


class Recorder(Tracker):
    """Keeps what it is given."""

    wants_requests = True

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.times: list[float] = []
        self.threads: set[str] = set()
        self.sessions: list[str] = []
        self.num_dropped: list[int] = []

    def open(self, session: str) -> None:
        self.threads.add(threading.current_thread().name)
        self.sessions.append(session)

    def track(self, event: Event, at: float) -> None:
        self.threads.add(threading.current_thread().name)
        self.events.append(event)
        self.times.append(at)

    def close(self, num_dropped: int) -> None:
        self.num_dropped.append(num_dropped)


def register(name: str, made: Callable[[], Tracker]) -> str:
    """Register a tracker that hands out what the test has made."""

    def make() -> Tracker:
        return made()

    evalkit.tracker(name)(make)
    return name


def run(
    *trackers: str, entry: str | list[str] = ENTRY, suite: str = "default", heard: list[Event] | None = None
) -> tuple[RunResult, list[str]]:
    """A run, and the notes about trackers."""
    events = [] if heard is None else heard
    (result,) = evalkit.run(entry, observer=events.append, trackers=trackers, suite=suite)
    return result, [e.text for e in events if isinstance(e, Note) and e.text.startswith("tracker ")]


def test_a_tracker_gets_the_events_in_order_on_one_thread_of_its_own() -> None:
    recorder, heard = Recorder(), list[Event]()
    register("recorder", lambda: recorder)
    began = time.time()
    twice = ["arithmetic:num_test=100,model=evalkit/majority"] * 2
    result, notes = run("recorder", entry=twice, heard=heard)
    # What the plan has to say is among it.
    assert isinstance(heard[0], Note)
    assert result.status == "complete"
    assert notes == []
    assert recorder.events == heard
    assert recorder.threads == {"tracker recorder"}
    assert recorder.num_dropped == [0]
    assert recorder.times == sorted(recorder.times)
    assert began <= recorder.times[0] <= recorder.times[-1] <= time.time()
    assert len(recorder.sessions) == 1


class Raises(Recorder):
    def __init__(self, where: str, error: BaseException) -> None:
        super().__init__()
        self.where, self.error = where, error

    def open(self, session: str) -> None:
        if self.where == "open":
            raise self.error

    def track(self, event: Event, at: float) -> None:
        super().track(event, at)
        if self.where == "track" and isinstance(event, RequestFinished):
            raise self.error

    def close(self, num_dropped: int) -> None:
        if self.where == "close":
            raise self.error


@pytest.mark.parametrize("where", ["open", "track", "close"])
@pytest.mark.parametrize("error", [ValueError("no such table"), SystemExit(3)], ids=["error", "exit"])
def test_one_that_raises_is_switched_off_and_reported(where: str, error: BaseException) -> None:
    failing, healthy = Raises(where, error), Recorder()
    register("failing", lambda: failing)
    register("healthy", lambda: healthy)
    untracked, _ = run(suite="untracked")
    result, notes = run("failing", "healthy")
    assert result.status == "complete"
    assert timeless(result) == timeless(untracked)
    [note] = notes
    assert note.startswith("tracker 'failing' failed and was switched off: ")
    assert type(error).__name__ in note
    assert "`evalkit track` reports them later" in note
    # It hears of nothing after it has failed.
    assert sum(isinstance(event, RequestFinished) for event in failing.events) <= (
        NUM_REQUESTS if where == "close" else 1
    )
    # The other one is not touched.
    assert isinstance(healthy.events[-1], RunFinished)


def timeless(result: RunResult) -> dict[str, float | None]:
    return {stat.name: stat.mean for stat in result.stats if stat.kind == "score"}


class Held(Recorder):
    """Waits in one of its methods before it is released."""

    def __init__(self, where: str = "track") -> None:
        super().__init__()
        self.released = threading.Event()
        self.where = where

    def open(self, session: str) -> None:
        if self.where == "open":
            self.released.wait()
        super().open(session)

    def track(self, event: Event, at: float) -> None:
        if self.where == "track":
            self.released.wait()
        super().track(event, at)

    def close(self, num_dropped: int) -> None:
        if self.where == "close":
            self.released.wait()
        super().close(num_dropped)


@pytest.mark.parametrize("where", ["open", "track", "close"])
def test_one_that_hangs_keeps_no_run_from_ending(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROGRESS_WAIT_S", 1.0)
    monkeypatch.setattr(module, "END_WAIT_S", 2.0)
    held, healthy = Held(where), Recorder()
    register("held", lambda: held)
    register("healthy", lambda: healthy)
    try:
        result, notes = run("held", "healthy")
        assert result.status == "complete"
        [note] = notes
        assert note.startswith("tracker 'held' was not ready 2 s after the runs, with ")
        assert isinstance(healthy.events[-1], RunFinished)
        (thread,) = (thread for thread in threading.enumerate() if thread.name == "tracker held")
        assert thread.daemon
    finally:
        held.released.set()
    thread.join()
    # It got nothing more after it was given up.
    assert len(held.events) == {"open": 0, "track": 1}.get(where, len(held.events))


def test_a_slow_one_misses_progress_and_nothing_else() -> None:
    held, heard = Held(), list[Event]()
    register("held", lambda: held)

    def release_at_the_end(event: Event) -> None:
        heard.append(event)
        if isinstance(event, RunFinished):
            held.released.set()

    # If the run waited for the tracker, it would never end.
    (result,) = evalkit.run(ENTRY, observer=release_at_the_end, trackers="held")
    assert result.status == "complete"
    events = [event for event in heard if not isinstance(event, Note)]
    assert [e for e in held.events if isinstance(e, FINAL)] == [e for e in events if isinstance(e, FINAL)]
    scored = [event for event in events if isinstance(event, Scored)]
    assert [event for event in held.events if isinstance(event, Scored)][-1] == scored[-1]
    num_dropped = len(events) - len(held.events)
    assert num_dropped >= NUM_REQUESTS - CAPACITY
    assert held.num_dropped == [num_dropped]
    (note,) = (event.text for event in heard if isinstance(event, Note))
    assert f"it did not get {num_dropped} of the events about progress" in note


class Sleepy(Recorder):
    def track(self, event: Event, at: float) -> None:
        super().track(event, at)
        if isinstance(event, RequestFinished):
            time.sleep(0.02)


def test_at_the_end_progress_is_left_out_before_ends_are(monkeypatch: pytest.MonkeyPatch) -> None:
    # Everything would take 20 s.
    monkeypatch.setattr(module, "PROGRESS_WAIT_S", 0.2)
    monkeypatch.setattr(module, "END_WAIT_S", 60.0)
    sleepy = Sleepy()
    register("sleepy", lambda: sleepy)
    began_s = time.monotonic()
    result, notes = run("sleepy")
    assert result.status == "complete"
    assert isinstance(sleepy.events[-1], RunFinished)
    assert sleepy.num_dropped[0] > NUM_REQUESTS - CAPACITY
    assert notes == [
        "tracker 'sleepy' was slower than the runs: it did not get "
        f"{sleepy.num_dropped[0]} of the events about progress (single requests, scores so far, notes)"
    ]
    assert time.monotonic() - began_s < 60.0


def test_one_that_can_not_be_made_is_an_error_before_anything_is_sent(tmp_path: Path) -> None:
    def broken() -> Tracker:
        raise KeyError("TRACKING_TOKEN")

    evalkit.tracker("broken")(broken)

    class Waits(Tracker):
        async def track(self, event: Event, at: float) -> None:  # type: ignore[override]
            raise AssertionError("never called")

    evalkit.tracker("other")(lambda: 3)
    evalkit.tracker("waits")(Waits)
    with pytest.raises(UsageError, match="tracker 'waits' has a coroutine as track"):
        run("waits")
    with pytest.raises(UsageError, match="tracker 'broken' can't be made: KeyError"):
        run("broken")
    with pytest.raises(UsageError, match="tracker 'other' makes int; it must derive from"):
        run("other")
    assert not (tmp_path / "benchmark_output").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jsnl:path=x", "unknown tracker 'jsnl'; did you mean 'jsonl'"),
        (":path=x", "this names no tracker; write name:key=value"),
        ("jsonl", "tracker 'jsonl' needs path"),
        ("jsonl:pth=x", "tracker 'jsonl' has no parameter 'pth'; did you mean 'path'"),
        ("jsonl:path=x,path=y", "'path' is given twice"),
        ("jsonl:path=x,requests=maybe", "requests: 'maybe' is not a bool"),
        ("jsonl:x", "expected key=value"),
        ("jsonl:path=.", "is a folder; name a file"),
    ],
)
def test_a_wrong_text_is_an_error_that_marks_the_place(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        run(text)
    assert text in str(caught.value) or "folder" in message
    assert not Path("benchmark_output").exists()


def test_plan_checks_trackers_and_makes_none() -> None:
    def never() -> Tracker:
        raise AssertionError("made for a plan")

    evalkit.tracker("never")(never)
    evalkit.plan(ENTRY, trackers="never")
    with pytest.raises(UsageError, match="needs path"):
        evalkit.plan(ENTRY, trackers=["jsonl"])
