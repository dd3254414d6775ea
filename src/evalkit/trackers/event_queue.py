"""A bounded queue of events between the thread of the runs and that of a tracker."""

from __future__ import annotations

import threading
from collections import deque

from evalkit.runs.events import Event, Note, RequestFinished, RunFinished, Scored, StageFinished

Timed = tuple[Event, float]
"""An event, and when it happened in Unix seconds."""
CAPACITY = 1000
"""Events that wait at most, apart from those that are always kept."""


class EventQueue:
    """Takes events without ever waiting.

    When it is full, events about progress (single requests, scores so far, notes) are dropped; of scores so
    far the latest of each run is kept, in place of those before it. All other events are kept: a run has a
    handful of them.

    Args:
        capacity: How many events may wait before progress is dropped.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._events: deque[Timed] = deque()
        self._latest: dict[str, Timed] = {}
        self._changed = threading.Condition()
        self._is_closed = False
        self._num_dropped = 0

    @property
    def num_dropped(self) -> int:
        """Events about progress that were dropped, or replaced by later ones."""
        return self._num_dropped

    def put(self, event: Event, at: float) -> None:
        """Add an event, or drop it."""
        with self._changed:
            if self._is_closed:
                return
            if len(self._events) < self._capacity:
                # Scores that waited for room came before this event.
                self._events.extend(self._latest.values())
                self._latest.clear()
                self._events.append((event, at))
            elif isinstance(event, Scored):
                self._num_dropped += event.run.name in self._latest
                self._latest[event.run.name] = event, at
            elif isinstance(event, RequestFinished | Note):
                self._num_dropped += 1
            else:
                self._keep(event, at)
            self._changed.notify()

    def take(self) -> Timed | None:
        """The next event, waited for; None when the queue is closed and empty."""
        with self._changed:
            while not self._events and not self._latest and not self._is_closed:
                self._changed.wait()
            if self._events:
                return self._events.popleft()
            if self._latest:
                return self._latest.pop(next(iter(self._latest)))
            return None

    def close(self) -> None:
        """Take no more events; those that wait can still be taken."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def drop_progress(self) -> None:
        """Drop what waits and is about progress."""
        with self._changed:
            kept = [timed for timed in self._events if not _is_progress(timed[0])]
            self._num_dropped += len(self._events) - len(kept) + len(self._latest)
            self._events = deque(kept)
            self._latest.clear()

    def clear(self) -> int:
        """Drop everything and close; returns how many events waited."""
        with self._changed:
            num_waiting = len(self._events) + len(self._latest)
            self._events.clear()
            self._latest.clear()
            self._is_closed = True
            self._changed.notify()
            return num_waiting

    def _keep(self, event: Event, at: float) -> None:
        """Add an event that is never dropped; the scores of its run come before its end."""
        if isinstance(event, StageFinished | RunFinished):
            latest = self._latest.pop(event.run.name, None)
            if latest is not None:
                self._events.append(latest)
        self._events.append((event, at))


def _is_progress(event: Event) -> bool:
    return isinstance(event, RequestFinished | Scored | Note)
