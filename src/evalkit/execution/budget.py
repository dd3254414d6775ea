"""How much a whole evaluation may cost: a hard limit on money and tokens, shared by all deployments."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from evalkit.clients.allowance import Allowance
from evalkit.errors import SystemicError, UsageError
from evalkit.request import Request
from evalkit.response import Usage

_TOKENS_PER_BYTE = 0.4
_TEMPLATE_TOKENS = 16
# Room for what a chat template adds to each message, and to a prompt. Where texts are counted exactly, it
# is more, for a system prompt that the template brings; bytes leave room to spare.
_MESSAGE_ROOM = 8
_TEMPLATE_ROOM_BESIDE_BYTES = 8
_TEMPLATE_ROOM_BESIDE_TOKENS = 56
# A count that exceeds what a request can take by more than this is the server's mistake.
_MOST_UNEXPLAINED_TOKENS = 1_000_000


class Cost(NamedTuple):
    """Money and tokens of a request."""

    usd: float = 0.0
    tokens: int = 0


class Budget:
    """What may be spent. `reserve` before sending, `settle` after: both together never exceed it.

    That holds exactly as long as no request costs more than was reserved for it.

    Args:
        max_usd: Most that may be spent, in US dollars; None: no limit.
        max_tokens: Most tokens, prompt and completion together; None: no limit.
        spent: What earlier starts of the same evaluation have spent already.

    Attributes:
        spent: All that was spent so far.
        estimated: What of that no server has reported: requests that count with what was set aside for them.
    """

    def __init__(
        self, max_usd: float | None = None, max_tokens: int | None = None, spent: Cost | None = None
    ) -> None:
        if (max_usd is not None and not max_usd >= 0) or (max_tokens is not None and max_tokens < 0):
            raise UsageError(f"a budget can't be negative: {max_usd} USD, {max_tokens} tokens")
        self.max_usd = max_usd
        self.max_tokens = max_tokens
        self.spent = spent or Cost()
        self.estimated = Cost()
        self._reserved = Cost()
        self._in_flight = 0
        self._waiters: deque[tuple[asyncio.Future[None], Cost]] = deque()

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self.max_usd is not None or self.max_tokens is not None

    @property
    def reserved(self) -> Cost:
        """What requests in flight may still come to cost."""
        return self._reserved

    async def reserve(self, estimate: Cost) -> None:
        """Set aside what a request may cost at most; waits while requests in flight may turn out cheaper.

        Raises:
            SystemicError: It doesn't fit and nothing is in flight that could make room.
        """
        if not self._waiters and self._fits(estimate):
            self._take(estimate)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((future, estimate))
        self._admit()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.settle(estimate, Cost())
            else:
                self._admit()
            raise

    def settle(self, reserved: Cost, actual: Cost | None) -> None:
        """A request for which `reserved` was set aside is over and has cost `actual`.

        None: it is not known what, so that it counts with all that was set aside. Nothing is ever paid back.
        """
        self._in_flight -= 1
        if actual is None:
            actual = reserved
            self.estimated = _sum(self.estimated, reserved)
        self.spent = _sum(self.spent, Cost(max(0.0, actual.usd), max(0, actual.tokens)))
        if self._in_flight == 0:
            self._reserved = Cost()  # no rounding errors are carried along
        else:
            usd, tokens = self._reserved
            self._reserved = Cost(max(0.0, usd - reserved.usd), tokens - reserved.tokens)
        if self._waiters:
            self._admit()

    def _fits(self, estimate: Cost) -> bool:
        usd = self.spent.usd + self._reserved.usd + estimate.usd
        tokens = self.spent.tokens + self._reserved.tokens + estimate.tokens
        return (self.max_usd is None or usd <= self.max_usd) and (
            self.max_tokens is None or tokens <= self.max_tokens
        )

    def _take(self, estimate: Cost) -> None:
        self._in_flight += 1
        self._reserved = Cost(self._reserved.usd + estimate.usd, self._reserved.tokens + estimate.tokens)

    def _admit(self) -> None:
        while self._waiters:
            future, estimate = self._waiters[0]
            if not future.done():
                if self._fits(estimate):
                    self._take(estimate)
                    future.set_result(None)
                elif self._in_flight:
                    return
                else:
                    future.set_exception(SystemicError(self._spent_message(estimate)))
            self._waiters.popleft()

    def _spent_message(self, estimate: Cost) -> str:
        parts = []
        if self.max_usd is not None:
            parts.append(
                f"${_dollars(self.spent.usd)} of ${_dollars(self.max_usd)} spent, "
                f"the next request may cost ${_dollars(estimate.usd)}"
            )
        if self.max_tokens is not None:
            parts.append(
                f"{self.spent.tokens:,} of {self.max_tokens:,} tokens used, "
                f"the next request may take {estimate.tokens:,}"
            )
        message = f"the budget is spent: {'; '.join(parts)}"
        if self.estimated.tokens:
            part = f"{self.estimated.tokens:,} tokens"
            if self.max_usd is not None:
                part = f"${_dollars(self.estimated.usd)}"
            message += f"; {part} of what is spent is an estimate: the server did not report what it bills"
        return message


def _sum(first: Cost, second: Cost) -> Cost:
    return Cost(first.usd + second.usd, first.tokens + second.tokens)


def _dollars(amount_usd: float) -> str:
    """Four decimals; for less than a cent two digits that say something."""
    if amount_usd == 0:
        return "0"
    return f"{amount_usd:.4f}" if amount_usd >= 0.01 else f"{amount_usd:.2g}"


class TokenEstimator:
    """How many tokens a request takes: about, for rates, and at most, for budgets; by what was seen so far.

    The tokens per byte of prompt are learned as the largest ratio seen among prompts of similar size: in
    short prompts a chat template weighs more than the text. With a tokenizer, prompts are measured in its
    tokens instead of bytes, and what is learned is what a server adds to them.

    Args:
        count: Counts the tokens of a text as the model does; None: tokens are judged by bytes.
        allowance: What a request allows the server to bill; None: its own `max_tokens`.
    """

    def __init__(
        self,
        count: Callable[[str], int] | None = None,
        allowance: Callable[[Request], Allowance] | None = None,
    ) -> None:
        self._measure = count or _num_bytes
        self._template_room = _TEMPLATE_ROOM_BESIDE_BYTES if count is None else _TEMPLATE_ROOM_BESIDE_TOKENS
        self._allowance = allowance or _own_limit
        self._first_ratio = _TOKENS_PER_BYTE if count is None else 1.0
        self._ratios: dict[int, float] = {}
        self._prompt_excess = self._completion_excess = 0

    def estimate(self, request: Request) -> Usage:
        """Prompt tokens that the request is expected not to exceed, and the completion tokens it asks for."""
        size = self._size(request)
        ratio = self._ratios.get(size.bit_length(), self._first_ratio)
        return Usage(int(size * ratio) + _TEMPLATE_TOKENS, request.max_tokens * request.num_completions)

    def bound(self, request: Request) -> Usage:
        """The most that the server can bill for the request.

        No tokenizer makes more tokens of a text than it has bytes. What a chat template adds is not known
        before the first answer: there is room for an ordinary one. A server that bills more than its bound
        raises all bounds after it.

        Raises:
            SystemicError: The request limits neither its length nor is the model's window known.
        """
        allowed = self._allowance(request)
        if allowed.completion_tokens is None:
            raise SystemicError(
                "evalkit can't keep a budget without a length limit; set max_sequence_length, or don't "
                "omit the limit"
            )
        completion_tokens = allowed.completion_tokens + self._completion_excess
        return Usage(self.most_prompt_tokens(request), completion_tokens)

    def most_prompt_tokens(self, request: Request) -> int:
        """The most prompt tokens that the server can bill for the request, over all sends."""
        allowed = self._allowance(request)
        return (self._most_in_one_prompt(request, allowed) + self._prompt_excess) * allowed.sends

    def is_credible(self, request: Request, usage: Usage) -> bool:
        """Whether a request may have taken this: of either kind at most a million tokens more than it can."""
        if usage.total_tokens <= _MOST_UNEXPLAINED_TOKENS:
            return True
        allowed = self._allowance(request).completion_tokens
        excess = usage.completion_tokens - (allowed if allowed is not None else usage.completion_tokens)
        return max(excess, usage.prompt_tokens - self.most_prompt_tokens(request)) <= _MOST_UNEXPLAINED_TOKENS

    def learn(self, request: Request, usage: Usage) -> None:
        """Take in what a request really took; counts of zero are taken as not reported."""
        if usage.prompt_tokens <= 0 or (size := self._size(request)) == 0:
            return
        size_class = size.bit_length()
        ratio = usage.prompt_tokens / size
        self._ratios[size_class] = max(ratio, self._ratios.get(size_class, self._first_ratio))
        allowed = self._allowance(request)
        excess = -(-usage.prompt_tokens // allowed.sends) - self._most_in_one_prompt(request, allowed)
        self._prompt_excess = max(self._prompt_excess, excess)
        if allowed.completion_tokens is not None:
            excess = usage.completion_tokens - allowed.completion_tokens
            self._completion_excess = max(self._completion_excess, excess)

    def sends(self, request: Request) -> int:
        """How many sends one attempt of the request makes."""
        return self._allowance(request).sends

    def _most_in_one_prompt(self, request: Request, allowed: Allowance) -> int:
        num_messages = 1 if request.messages is None else len(request.messages)
        template = self._template_room + _MESSAGE_ROOM * num_messages
        return self._size(request) + template + allowed.added_prompt_tokens

    def _size(self, request: Request) -> int:
        """The length of a prompt, in bytes or in tokens."""
        if request.messages is None:
            return self._measure(request.prompt)
        return sum(self._measure(message.content) for message in request.messages)


def _own_limit(request: Request) -> Allowance:
    return Allowance(request.max_tokens * request.num_completions)


def _num_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
