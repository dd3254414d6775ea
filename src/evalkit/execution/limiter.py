"""How many requests may be in flight at once, and how fast they may go out, for one deployment.

The concurrency limit adapts: it grows while the server keeps up and shrinks where sending less lowers the
share of rejections. All times are those of the running event loop, in seconds.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalkit.execution.adaptive_limit import AdaptiveLimit

if TYPE_CHECKING:
    from evalkit.models.deployment import Limits

_LONGEST_PAUSE_S = 600.0
# This many rejections in a row, with nothing answered between, pause all sending; more where they are
# frequent, since then they come in a row by chance.
_REJECTIONS_IN_A_ROW = 5
_BY_CHANCE = 1e-5
_SMOOTHING = 0.1


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
class Permit:
    """Leave to send one request, from `Limiter.acquire` to one of `succeeded`, `overloaded`, `failed`."""

    sent_at: float
    tokens: float
    round_number: int = 0


class Limiter:
    """Grants permits in the order of the calls, within the adaptive limit and the rates.

    Attributes:
        in_use: Permits granted and not yet released.
        overloads: How often the server asked for less.
    """

    def __init__(self, limits: Limits) -> None:
        self.in_use = 0
        self.overloads = 0
        self._limits = limits
        self._adaptive = AdaptiveLimit(limits.initial_concurrency, limits.max_concurrency)
        self._requests = _bucket(limits.requests_per_minute)
        self._tokens = _bucket(limits.tokens_per_minute)
        self._ahead: deque[tuple[asyncio.Future[Permit], float]] = deque()
        self._waiters: deque[tuple[asyncio.Future[Permit], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._paused_until = float("-inf")
        self._rejections_in_a_row = self._pauses = 0
        self._share_rejected = 0.0
        self._usual_s = 0.0

    @property
    def limit(self) -> int:
        """How many requests may be in flight now."""
        return self._adaptive.whole

    async def acquire(self, tokens: float = 0, *, ahead: bool = False) -> Permit:
        """Wait for leave to send a request of about this many tokens (prompt and completion).

        Args:
            tokens: How many.
            ahead: It goes before all that wait.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        if (
            not (self._ahead or (self._waiters and not ahead))
            and self.in_use < self.limit
            and self._wait_s(tokens, now) <= 0
        ):
            return self._grant(tokens, now)
        future: asyncio.Future[Permit] = loop.create_future()
        (self._ahead if ahead else self._waiters).append((future, tokens))
        self._admit()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.failed(future.result())
            else:
                self._admit()
            raise

    def succeeded(self, permit: Permit, tokens: float) -> None:
        """The permit's request was answered and used `tokens` tokens."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        took_s = now - permit.sent_at
        self._usual_s += (took_s - self._usual_s) * (_SMOOTHING if self._usual_s else 1.0)
        if self._rejections_in_a_row or self._share_rejected:
            # A run of rejections counts when it is over: it is judged by what was usual before it.
            others = (1 - self._share_rejected) * (1 - _SMOOTHING) ** self._rejections_in_a_row
            self._share_rejected = (1 - others) * (1 - _SMOOTHING)
            self._rejections_in_a_row = self._pauses = 0
        idle_s = took_s * self._adaptive.idle_share
        self._adaptive.back(permit.round_number, rejected=False)
        self._release(permit, tokens, idle_s)

    def overloaded(self, permit: Permit, retry_after_s: float | None = None) -> None:
        """The server asked for less; several times in a row, with no success between, pause all sending.

        One rejection delays its own request only, and leaves its place empty for as long as an answer takes:
        a server that rejects at once would be asked again at once.
        """
        now = asyncio.get_running_loop().time()
        self.overloads += 1
        self._rejections_in_a_row += 1
        if self._rejections_in_a_row >= self._most_by_chance():
            self._pause(permit.sent_at, now, retry_after_s)
        self._adaptive.back(permit.round_number, rejected=True)
        self._release(permit, 0, self._usual_s)

    def failed(self, permit: Permit) -> None:
        """The permit's request failed, or was never sent, for reasons that say nothing about the load."""
        self._adaptive.back(permit.round_number, rejected=None)
        self._release(permit, 0)

    def _most_by_chance(self) -> int:
        """How many rejections in a row are more than chance.

        Rejections may come back sooner than answers, so all of those in flight that are rejected do in a row.
        """
        most = max(_REJECTIONS_IN_A_ROW, self.limit)
        if self._share_rejected > 0:
            by_chance = math.log(_BY_CHANCE) / math.log(self._share_rejected)
            most = max(most, min(10 * _REJECTIONS_IN_A_ROW, math.ceil(by_chance)))
        return most

    def _pause(self, sent_at: float, now: float, retry_after_s: float | None) -> None:
        """Hold everything back: as long as the server says, else longer with each pause that did not help."""
        if retry_after_s is not None:
            pause_s = min(_LONGEST_PAUSE_S, retry_after_s)
        elif sent_at >= self._paused_until:
            pause_s = min(self._limits.max_backoff_s, self._limits.backoff_s * 2.0 ** min(self._pauses, 30))
            self._pauses += 1
        else:
            return  # it was on its way when the pause began
        self._paused_until = max(self._paused_until, now + pause_s)

    def _grant(self, tokens: float, now: float) -> Permit:
        self.in_use += 1
        if self._requests is not None:
            self._requests.take(1)
        if self._tokens is not None:
            self._tokens.take(tokens)
        return Permit(now, tokens, self._adaptive.sent(self.in_use))

    def _release(self, permit: Permit, tokens: float, idle_s: float = 0.0) -> None:
        if self._tokens is not None:
            self._tokens.take(tokens - permit.tokens)
        if idle_s > 0:
            asyncio.get_running_loop().call_later(idle_s, self._give_back)
        else:
            self._give_back()

    def _give_back(self) -> None:
        self.in_use -= 1
        if self._waiters or self._ahead:
            self._admit()

    def _wait_s(self, tokens: float, now: float) -> float:
        wait_s = self._paused_until - now
        if self._requests is not None:
            wait_s = max(wait_s, self._requests.wait_s(1, now))
        if self._tokens is not None:
            wait_s = max(wait_s, self._tokens.wait_s(tokens, now))
        return wait_s

    def _admit(self) -> None:
        """Grant what may be granted, in order; come back when time alone is in the way."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        while queue := self._ahead or self._waiters:
            future, tokens = queue[0]
            if not future.done():
                if self.in_use >= self.limit:
                    return
                if (wait_s := self._wait_s(tokens, now)) > 0:
                    self._come_back(loop, now + wait_s)
                    return
                future.set_result(self._grant(tokens, now))
            queue.popleft()

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
