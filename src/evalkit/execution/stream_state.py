"""What belongs to one stream of requests through an executor, and the order in which streams begin."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from evalkit.request import RequestState
    from evalkit.response import Outcome


class StreamState:
    """One stream's part of an executor: its tasks, and what has finished but was not yielded.

    Not `complete` once a request was left without a verdict, pulled or not. `on_unknown_bill` is called for
    each attempt that failed and that the server may bill.
    """

    def __init__(self, on_unknown_bill: Callable[[], None] | None = None) -> None:
        self.on_unknown_bill = on_unknown_bill
        self.tasks: set[asyncio.Task[Outcome | None]] = set()
        self.finished: list[tuple[RequestState, Outcome]] = []
        self.news = asyncio.Event()
        self.error: Exception | None = None
        self.complete = True

    def take(self) -> list[tuple[RequestState, Outcome]]:
        """What has finished since the last time."""
        taken, self.finished = self.finished, []
        return taken


class FeedLock:
    """The right to hand over requests to an executor. One at a time has it; the others wait in order."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock, self._held = lock, False

    async def __aenter__(self) -> FeedLock:
        await self.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    async def acquire(self) -> None:
        """Wait for the turn; returns at once if it is had already."""
        if not self._held:
            await self._lock.acquire()
            self._held = True

    def release(self) -> None:
        """Let the next one begin; more calls do nothing."""
        if self._held:
            self._held = False
            self._lock.release()
