"""The first few requests go ahead alone for a moment, so that there is something to see, and to score, soon.

vLLM computes hundreds of sequences side by side, and none is finished before all of them are nearly so. A
wrong prompt, or a model that talks nonsense, would show only then.
"""

from __future__ import annotations

import asyncio


class WarmUpGate:
    """Lets some through at once, and everyone else when one of those is done, or when it takes too long.

    Args:
        size: How many go ahead.
        longest_s: The others wait no longer than this.
    """

    def __init__(self, size: int, longest_s: float) -> None:
        self._left, self._longest_s = size, longest_s
        self._open = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self) -> None:
        """Returns when one may go."""
        if self._open.is_set():
            return
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._longest_s, self._open.set)
        if self._left > 0:
            self._left -= 1
            return
        await self._open.wait()

    def open_for_all(self) -> None:
        """Something is done, in whatever way."""
        self._open.set()
        if self._timer is not None:
            self._timer.cancel()
