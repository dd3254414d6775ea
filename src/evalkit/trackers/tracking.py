"""Runs trackers next to the runs: a thread and a bounded queue for each, and a bounded wait at the end."""

from __future__ import annotations

import inspect
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from evalkit.errors import EvalkitError, UsageError
from evalkit.plugins import described
from evalkit.redaction import one_line
from evalkit.runs.events import Event
from evalkit.specs.plugin_call import PluginCall
from evalkit.trackers.event_queue import EventQueue
from evalkit.trackers.tracker import Tracker

PROGRESS_WAIT_S = 5.0
"""After the runs, all trackers together get this long for everything they were given."""
END_WAIT_S = 10.0
"""After this, evalkit no longer waits for a tracker. Between the two, progress is left out."""


class TrackedRuns:
    """An observer that hands events to a tracker on the tracker's own thread; it never waits, never raises.

    Args:
        name: Of the tracker, for messages.
        tracker: Not open yet.

    Attributes:
        wants_requests: As the tracker's.
    """

    def __init__(self, name: str, tracker: Tracker) -> None:
        self.wants_requests = bool(tracker.wants_requests)
        self._name, self._tracker = name, tracker
        self._queue = EventQueue()
        self._failure = ""
        # A thread that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)

    def start(self, session: str) -> None:
        """Open the tracker, on its thread."""
        self._session = session
        self._thread.start()

    def on_event(self, event: Event) -> None:
        """Queue an event for the tracker."""
        self._queue.put(event, time.time())

    def no_more(self) -> None:
        """Let the tracker finish what it has."""
        self._queue.close()

    def wait(self, until_s: float) -> None:
        """Wait for the tracker's end, but not beyond this moment of the monotonic clock."""
        self._thread.join(max(0.0, until_s - time.monotonic()))

    def leave_out_progress(self) -> None:
        """Let the tracker finish with what must not be lost."""
        self._queue.drop_progress()

    def report(self) -> str:
        """What the user should know of how it went; empty where all is well."""
        if self._failure:
            return f"tracker '{self._name}' failed and was switched off: {self._failure}; {_MAKE_UP}"
        if self._thread.is_alive():
            num_left = self._queue.clear()
            remark = one_line(self._tracker.remark) or _MAKE_UP
            return (
                f"tracker '{self._name}' was not ready {END_WAIT_S:g} s after the runs, with {num_left} more "
                f"events to report; evalkit does not wait for it; {remark}"
            )
        if dropped := self._queue.num_dropped:
            return (
                f"tracker '{self._name}' was slower than the runs: it did not get {dropped} of the events "
                "about progress (single requests, scores so far, notes)"
            )
        return ""

    def _work(self) -> None:
        try:
            self._tracker.open(self._session)
            while (timed := self._queue.take()) is not None:
                self._tracker.track(*timed)
            self._tracker.close(self._queue.num_dropped)
        except BaseException as error:  # noqa: BLE001 - whatever it raises, the runs are not touched
            self._failure = described(error)
            self._queue.clear()


_MAKE_UP = "the runs are not affected, and `evalkit track` reports them later"


@contextmanager
def tracking(
    calls: Sequence[PluginCall], report: Callable[[str], object]
) -> Iterator[tuple[TrackedRuns, ...]]:
    """Trackers for some runs, as observers of these; on leaving, they finish.

    Args:
        calls: The trackers and their arguments.
        report: Called at the end with what the user should know of a tracker.

    Raises:
        UsageError: An argument of a tracker can't be right.
    """
    tracked = tuple(TrackedRuns(call.name, _made(call)) for call in calls)
    session = new_session()
    for each in tracked:
        each.start(session)
    try:
        yield tracked
    finally:
        _finish(tracked)
        for message in filter(None, (each.report() for each in tracked)):
            report(message)


def _made(call: PluginCall) -> Tracker:
    """The tracker, not open yet.

    Raises:
        UsageError: Its arguments can't be right, or the plugin is not a tracker.
    """
    try:
        made = call.make()
    except EvalkitError:
        raise
    except Exception as error:
        raise UsageError(f"tracker '{call.name}' can't be made: {described(error)}") from error
    if not isinstance(made, Tracker):
        raise UsageError(
            f"tracker '{call.name}' makes {type(made).__name__}; it must derive from evalkit.Tracker"
        )
    for method in (made.open, made.track, made.close):
        if inspect.iscoroutinefunction(method):
            problem = "evalkit does not await it; write def, not async def"
            raise UsageError(f"tracker '{call.name}' has a coroutine as {method.__name__}: {problem}")
    return made


def new_session() -> str:
    """A name for one start of evalkit that no other start has."""
    return secrets.token_hex(8)


def _finish(tracked: Sequence[TrackedRuns]) -> None:
    """Wait for all of them, together no longer than `END_WAIT_S`."""
    began_s = time.monotonic()
    for each in tracked:
        each.no_more()
    for each in tracked:
        each.wait(began_s + PROGRESS_WAIT_S)
    for each in tracked:
        each.leave_out_progress()
    for each in tracked:
        each.wait(began_s + END_WAIT_S)


@contextmanager
def open_trackers(calls: Sequence[PluginCall]) -> Iterator[Callable[[Event, float], None]]:
    """Trackers that are called directly and waited for: for events of runs that ended before.

    Raises:
        EvalkitError: A tracker has failed.
    """
    named = [(call.name, _made(call)) for call in calls]
    session = new_session()

    def track(event: Event, at: float) -> None:
        for name, tracker in named:
            with _failures_of(name):
                tracker.track(event, at)

    for name, tracker in named:
        with _failures_of(name):
            tracker.open(session)
    yield track
    for name, tracker in named:
        with _failures_of(name):
            tracker.close(0)


@contextmanager
def _failures_of(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise EvalkitError(f"tracker '{name}' failed: {described(error)}") from error
