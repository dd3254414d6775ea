"""Servers, in made-up time, that reject requests for one reason each; and what an ideal client would need."""

from __future__ import annotations

import asyncio
import heapq
import random
from dataclasses import dataclass, field

from evalkit.clients.client import Client
from evalkit.errors import OverloadError, TransientError
from evalkit.request import Request
from evalkit.response import Completion, Response, Usage

FAULTS = (("429", 0.10), ("500", 0.05), ("drop", 0.02))


def fate(seed: int, name: str, attempt: int) -> str:
    """What becomes of an attempt of a request: the same in whatever order requests come."""
    drawn = random.Random(f"{seed}/{name}/{attempt}").random()
    for what, share in FAULTS:
        if drawn < share:
            return what
        drawn -= share
    return "ok"


@dataclass(eq=False)
class Rejecting(Client):
    """Answers after `latency_s`, give or take a tenth; rejections come back after `rejects_after_s`.

    Attributes:
        log: When an attempt ended, and how (`ok`, `429`, …).
    """

    seed: int = 0
    latency_s: float = 0.05
    rejects_after_s: float = 0.001
    retry_after_s: float | None = 1.0
    log: list[tuple[float, str]] = field(default_factory=list)
    in_work: int = 0

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    def verdict(self, request: Request) -> str:
        """What becomes of this attempt."""
        raise NotImplementedError

    async def send(self, request: Request) -> Response:
        """One attempt."""
        what = self.verdict(request)
        if what == "ok":
            self.in_work += 1
            await asyncio.sleep(self.latency_s * self._rng.uniform(0.9, 1.1))
            self.in_work -= 1
        else:
            await asyncio.sleep(self.rejects_after_s)
        self.log.append((asyncio.get_running_loop().time(), what))
        if what == "429":
            raise OverloadError("429", self.retry_after_s)
        if what != "ok":
            raise TransientError(what, "connection" if what == "drop" else "server_error")
        return Response((Completion("x"),), Usage(3, 2))


@dataclass(eq=False)
class ByChance(Rejecting):
    """Rejects and fails at random, however little is sent."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._attempts: dict[str, int] = {}

    def verdict(self, request: Request) -> str:
        """The request's own draw."""
        attempt = self._attempts[request.prompt] = self._attempts.get(request.prompt, 0) + 1
        return fate(self.seed, request.prompt, attempt)


@dataclass(eq=False)
class Capped(Rejecting):
    """Works on so many requests at once and rejects the others."""

    cap: int = 8

    @property
    def per_s(self) -> float:
        """What it can answer."""
        return self.cap / self.latency_s

    def verdict(self, request: Request) -> str:
        """Whether there is room."""
        return "ok" if self.in_work < self.cap else "429"


@dataclass(eq=False)
class Bucketed(Rejecting):
    """Takes so many requests per second, and a few at once after a quiet time."""

    per_s: float = 400.0
    burst: float = 40.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._left, self._at = self.burst, 0.0

    def verdict(self, request: Request) -> str:
        """Whether one is left."""
        now = asyncio.get_running_loop().time()
        self._left = min(self.burst, self._left + (now - self._at) * self.per_s)
        self._at = now
        if self._left < 1:
            return "429"
        self._left -= 1
        return "ok"


def ideal_s(seed: int, names: list[str], in_flight: int, latency_s: float, retry_after_s: float) -> float:
    """What a client needs that always has `in_flight` requests out and waits only where it is told to."""
    free = [0.0] * in_flight
    ready = [(0.0, order, name, 1) for order, name in enumerate(names)]
    heapq.heapify(ready)
    end_s = 0.0
    while ready:
        ready_s, order, name, attempt = heapq.heappop(ready)
        back_s = max(ready_s, heapq.heappop(free)) + latency_s
        heapq.heappush(free, back_s)
        end_s = max(end_s, back_s)
        if (what := fate(seed, name, attempt)) != "ok":
            wait_s = retry_after_s if what == "429" else 0.0
            heapq.heappush(ready, (back_s + wait_s, order, name, attempt + 1))
    return end_s
