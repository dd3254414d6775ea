"""How many requests may be in flight at once, and how fast they may go out, for one deployment.

The concurrency limit adapts: it grows while the server keeps up and shrinks when the server asks for less.
All times are those of the running event loop, in seconds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.models.deployment import Limits

_SHRINK = 0.7
_SATURATED = 0.8
_OVERLOADS_IN_A_ROW = 3
_LONGEST_PAUSE_S = 600.0


class AdaptiveLimit:
    """A concurrency limit: slow start, then additive growth, multiplicative decrease.

    Attributes:
        value: The limit as a real number; `int(limit)` requests may be in flight.
    """

    def __init__(self, initial: int, maximum: int) -> None:
        self.value = float(min(initial, maximum))
        self._maximum = float(maximum)
        self._slow_start = True
        self._shrunk_at = float("-inf")
        self._cooldown_until = float("-inf")

    def __int__(self) -> int:
        return int(self.value)

    def grow(self, in_use: int, now: float) -> None:
        """A request succeeded while `in_use` were in flight, itself included."""
        if now < self._cooldown_until or in_use < _SATURATED * int(self.value):
            return
        step = 1.0 if self._slow_start else 1.0 / self.value
        self.value = min(self._maximum, self.value + step)

    def shrink(self, sent_at: float, now: float, cooldown_s: float) -> bool:
        """A request sent at `sent_at` was answered with "less, please".

        Returns:
            Whether the limit shrank: it does so once per round trip, and not again within `cooldown_s`.
        """
        counts = sent_at >= self._shrunk_at and now >= self._cooldown_until
        self._cooldown_until = max(self._cooldown_until, now + cooldown_s)
        if counts:
            self._slow_start = False
            self._shrunk_at = now
            self.value = max(1.0, self.value * _SHRINK)
        return counts


class TokenBucket:
    """A rate per minute, with one second's worth of slack. A debt (negative balance) is waited off."""

    def __init__(self, per_minute: float) -> None:
        self._per_s = per_minute / 60
        self._capacity = max(1.0, self._per_s)
        self._balance = self._capacity
        self._refilled_at: float | None = None

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; what exceeds the bucket goes when the bucket is full."""
        elapsed_s = now - (now if self._refilled_at is None else self._refilled_at)
        self._balance = min(self._capacity, self._balance + elapsed_s * self._per_s)
        self._refilled_at = now
        missing = min(amount, self._capacity) - self._balance
        # Rounding must not cost another turn of waiting.
        return missing / self._per_s if missing > 1e-6 else 0.0

    def take(self, amount: float) -> None:
        """Take `amount`, or give back if it is negative."""
        self._balance = min(self._capacity, self._balance - amount)


@dataclass(slots=True)
class Slot:
    """Leave to send one request, from `Limiter.acquire` to one of `succeeded`, `overloaded`, `failed`."""

    sent_at: float
    tokens: float


class Limiter:
    """Hands out slots in the order asked for, within the adaptive limit and the rates.

    Attributes:
        in_use: Slots handed out and not yet back.
        overloads: How often the server asked for less.
    """

    def __init__(self, limits: Limits) -> None:
        self.in_use = 0
        self.overloads = 0
        self._limits = limits
        self._adaptive = AdaptiveLimit(limits.initial_concurrency, limits.max_concurrency)
        self._requests = _bucket(limits.requests_per_minute)
        self._tokens = _bucket(limits.tokens_per_minute)
        self._waiters: deque[tuple[asyncio.Future[Slot], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._paused_until = float("-inf")
        self._overloads_in_a_row = 0
        self._shrinks_in_a_row = 0

    @property
    def limit(self) -> int:
        """How many requests may be in flight now."""
        return int(self._adaptive)

    async def acquire(self, tokens: float = 0) -> Slot:
        """Wait for leave to send a request of about so many tokens (prompt and completion)."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not self._waiters and self.in_use < self.limit and self._wait_s(tokens, now) <= 0:
            return self._grant(tokens, now)
        future: asyncio.Future[Slot] = loop.create_future()
        self._waiters.append((future, tokens))
        self._admit()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.failed(future.result())
            else:
                self._admit()
            raise

    def succeeded(self, slot: Slot, tokens: float) -> None:
        """The slot's request was answered and really used so many tokens."""
        self._overloads_in_a_row = self._shrinks_in_a_row = 0
        self._adaptive.grow(self.in_use, asyncio.get_running_loop().time())
        self._release(slot, tokens)

    def overloaded(self, slot: Slot, retry_after_s: float | None = None) -> None:
        """The server asked for less; several times in a row, with no success between, pause all sending."""
        now = asyncio.get_running_loop().time()
        self.overloads += 1
        self._overloads_in_a_row += 1
        if self._adaptive.shrink(slot.sent_at, now, retry_after_s or 0.0):
            self._shrinks_in_a_row += 1
        if retry_after_s is None:
            excess = self._shrinks_in_a_row - _OVERLOADS_IN_A_ROW
            pause_s = min(self._limits.max_backoff_s, self._limits.backoff_s * 2.0 ** min(excess, 30))
        else:
            excess = self._overloads_in_a_row - _OVERLOADS_IN_A_ROW
            pause_s = min(_LONGEST_PAUSE_S, retry_after_s)
        if excess >= 0:
            self._paused_until = max(self._paused_until, now + pause_s)
        self._release(slot, 0)

    def failed(self, slot: Slot) -> None:
        """The slot's request failed, or was never sent, for reasons that say nothing about the load."""
        self._release(slot, 0)

    def _grant(self, tokens: float, now: float) -> Slot:
        self.in_use += 1
        if self._requests is not None:
            self._requests.take(1)
        if self._tokens is not None:
            self._tokens.take(tokens)
        return Slot(now, tokens)

    def _release(self, slot: Slot, tokens: float) -> None:
        self.in_use -= 1
        if self._tokens is not None:
            self._tokens.take(tokens - slot.tokens)
        if self._waiters:
            self._admit()

    def _wait_s(self, tokens: float, now: float) -> float:
        wait_s = self._paused_until - now
        if self._requests is not None:
            wait_s = max(wait_s, self._requests.wait_s(1, now))
        if self._tokens is not None:
            wait_s = max(wait_s, self._tokens.wait_s(tokens, now))
        return wait_s

    def _admit(self) -> None:
        """Let those at the head of the queue go who may; come back when time alone is in the way."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._waiters:
            future, tokens = self._waiters[0]
            if not future.done():
                if self.in_use >= self.limit:
                    return
                if (wait_s := self._wait_s(tokens, now)) > 0:
                    self._come_back(loop, now + wait_s)
                    return
                future.set_result(self._grant(tokens, now))
            self._waiters.popleft()

    def _come_back(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = loop.call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._admit()


def _bucket(per_minute: float | None) -> TokenBucket | None:
    return None if per_minute is None else TokenBucket(per_minute)
