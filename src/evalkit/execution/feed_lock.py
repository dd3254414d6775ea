"""The order in which streams of requests begin."""

from __future__ import annotations

import asyncio


class FeedLock:
    """The right to submit requests to an executor. One stream at a time has it; the others wait in order."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock, self._is_held = lock, False

    async def __aenter__(self) -> FeedLock:
        await self.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    async def acquire(self) -> None:
        """Wait for it; returns at once if it is held already."""
        if not self._is_held:
            await self._lock.acquire()
            self._is_held = True

    def release(self) -> None:
        """Let the next stream begin; more calls do nothing."""
        if self._is_held:
            self._is_held = False
            self._lock.release()
