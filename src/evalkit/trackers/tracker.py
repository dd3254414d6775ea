"""The base of trackers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.runs.events import Event


class Tracker:
    """Reports what happens in runs somewhere else: to a file, a database, a service.

    evalkit calls `open`, `track` and `close` on a thread that this tracker has for itself, so it may wait and
    be slow. What it raises switches it off; the runs go on, and evalkit reports it at the end. The
    constructor runs before anything is sent: it raises `UsageError` where its arguments can't be right.

    When a run ends, `event.run.path` is its whole directory: a tracker that wants tables reads them there,
    with `evalkit.load_run`, so that `evalkit track` can do the same later.

    Attributes:
        wants_requests: Whether it also hears of each single request (`RequestFinished`).
        remark: What evalkit adds where it ends without waiting for this tracker any longer: what it waits
            for, and how to make up for it. The tracker may change it at any time.
    """

    wants_requests: bool = False
    remark: str = ""

    def open(self, session: str) -> None:
        """Get ready; called once, before the first event.

        Args:
            session: A name that no other session has, for this start of evalkit.
        """

    def track(self, event: Event, at: float) -> None:
        """Report an event.

        Args:
            event: What happened.
            at: When, in Unix seconds.
        """

    def close(self, num_dropped: int) -> None:
        """Finish; called once, after the last event.

        Args:
            num_dropped: How many events about progress it did not get, since it was slower than the runs.
        """
