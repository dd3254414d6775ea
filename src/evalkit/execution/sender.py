"""Sends single requests to one deployment: each until it is answered, has failed, or sending is ended.

A request ends in exactly one of three ways: a `Response`, a `Failure`, or, when the sender is stopped before
its verdict, nothing at all: then it is still owed, and the next start sends it again. All times are those of
the running event loop.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from evalkit.errors import (
    AuthenticationError,
    BadRequestError,
    ClientError,
    ContentFilterError,
    CutThinkingError,
    EvalkitError,
    OverloadError,
    SystemicError,
    TransientError,
    UsageError,
)
from evalkit.execution.breaker import Breaker
from evalkit.execution.budget import Budget, Cost, TokenEstimator
from evalkit.execution.client_lifecycle import ClientLifecycle
from evalkit.execution.limiter import Limiter
from evalkit.execution.retry import RetryPolicy
from evalkit.redaction import one_line, without_keys
from evalkit.request import Request, RequestState
from evalkit.response import Failure, Outcome, Response, Usage, after_waiting, sound, summed

if TYPE_CHECKING:
    import random

    from evalkit.clients.allowance import Allowance
    from evalkit.clients.client import Client
    from evalkit.models.deployment import Limits, Prices

_OUTAGE_GRACE_S = 30.0
_MESSAGE_CHARACTERS = 2000
_FREE = Cost()
_ABSURD_USAGE = "the server reports more tokens than a request can have; evalkit ignores those counts"
_QUOTA_ADVICE = "check the account's credit"


@dataclass(frozen=True, slots=True)
class SenderStats:
    """How a sender is doing now.

    Attributes:
        in_flight: Requests sent and not yet answered.
        limit: How many may be in flight.
        sent: Attempts so far.
        retries: Attempts that were not a request's first.
        overloads: How often the server asked for less.
    """

    in_flight: int
    limit: int
    sent: int
    retries: int
    overloads: int


class Sender:
    """All requests to one deployment go through one sender, in one event loop.

    Args:
        client: Makes the single attempts.
        name: The deployment, for messages.
        limits: How hard it may be pushed; a resident client is given as many requests as it wants.
        budget: Shared by all senders of an evaluation; None: unlimited.
        prices: What its tokens cost; needed if the budget limits money.
        rng: Draws the back-off jitter.
        lifecycle: Opens and closes the client; None: it waits for nothing else.
        count: Counts the tokens of a text as the model does; None: they are judged by bytes.
        allowance: What a request allows the server to bill; None: what the client's class says of it.

    Attributes:
        name: As given.
        budget: As given.
        last_failure: The failure after which the sending was ended, if a failure ended it.

    Raises:
        UsageError: The budget limits money and there are no prices.
    """

    def __init__(  # noqa: PLR0913 - what a sender brings together
        self,
        client: Client,
        *,
        name: str,
        limits: Limits,
        budget: Budget | None = None,
        prices: Prices | None = None,
        rng: random.Random | None = None,
        lifecycle: ClientLifecycle | None = None,
        count: Callable[[str], int] | None = None,
        allowance: Callable[[Request], Allowance] | None = None,
    ) -> None:
        self.name = name
        self.budget = budget or Budget()
        if self.budget.max_usd is not None and prices is None and not (client.is_free or client.resident):
            raise UsageError(
                f"{name} has no prices, so evalkit can't keep a budget in USD; add prices, or drop the budget"
            )
        self._client = client
        self._lifecycle = lifecycle or ClientLifecycle(client)
        if client.resident:
            # It is given all it can order and batch; how many it computes at once is its own affair.
            update = {"max_concurrency": client.window, "initial_concurrency": client.window}
            limits = limits.model_copy(update=update)
        # What a resident client was given may wait inside it for hours, and be answered all the same.
        self._keeps_time = client.resident or client.keeps_time
        self._limits = limits
        self._prices = prices
        self._limiter = Limiter(limits)
        self._retry = RetryPolicy(limits, rng)
        self._breaker = Breaker(name)
        self._estimator = TokenEstimator(count, allowance or functools.partial(type(client).allowance, {}))
        self._estimates = self.budget.limited or limits.tokens_per_minute is not None
        self._asking: set[asyncio.Task[Any]] = set()
        self._sending: set[asyncio.Task[Any]] = set()
        self._sent = self._retries = 0
        self._money_notes: dict[str, None] = {}
        self._halted_by: Literal["user"] | SystemicError | None = None
        self.last_failure: Failure | None = None
        self._on_halt: list[Callable[[], None]] = []
        self._never_admitted = False
        self._grace_timer: asyncio.TimerHandle | None = None

    @property
    def interrupted(self) -> bool:
        """Whether `stop` ended the sending: somebody asked for it, and nothing had ended it before."""
        return self._halted_by == "user"

    @property
    def stopped(self) -> bool:
        """Whether the sending has ended for good, by `stop` or by a systemic error."""
        return self._halted_by is not None

    @property
    def resident(self) -> bool:
        """Whether the client holds a model."""
        return self._client.resident

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the model or its server, as far as it has been found out."""
        return (*self._client.notes, *self._money_notes)

    @property
    def stats(self) -> SenderStats:
        """A snapshot for progress displays."""
        return SenderStats(
            in_flight=len(self._sending),
            limit=self._limiter.limit,
            sent=self._sent,
            retries=self._retries,
            overloads=self._limiter.overloads,
        )

    @property
    def limit(self) -> int:
        """How many requests may be in flight now."""
        return self._limiter.limit

    @property
    def halted_by(self) -> SystemicError | None:
        """The error that ended the sending for good, if one did."""
        return self._halted_by if isinstance(self._halted_by, SystemicError) else None

    def on_halt(self, callback: Callable[[], None]) -> None:
        """Have this called when the sending ends, and each time its grace gets shorter."""
        self._on_halt.append(callback)

    async def ask(
        self,
        state: RequestState,
        *,
        ahead: bool = False,
        on_unknown_bill: Callable[[], None] | None = None,
    ) -> Outcome | None:
        """Send a request until there is a verdict; None if sending was ended first.

        Args:
            state: The request.
            ahead: It goes before all that wait for leave to be sent.
            on_unknown_bill: Called for each attempt that failed and may cost money all the same: how much is
                not known. Not called where there are no prices.

        Raises:
            CancelledError: Sending was ended while the request waited, or was in flight for too long.
        """
        task: asyncio.Task[Any] | None = asyncio.current_task()
        assert task is not None
        self._asking.add(task)
        try:
            return await self._until_verdict(state.request, ahead, on_unknown_bill)
        finally:
            self._asking.discard(task)

    async def _until_verdict(
        self, request: Request, ahead: bool, on_unknown_bill: Callable[[], None] | None
    ) -> Outcome | None:
        loop = asyncio.get_running_loop()
        started = asked_s = loop.time()
        attempts = 0
        cut: Usage | None = None
        while not self.stopped:
            attempts += 1
            try:
                if not self._lifecycle.is_open:
                    await self._open()
                    asked_s = loop.time()  # loading is not waiting
                response = await self._attempt(request, asked_s, ahead, on_unknown_bill)
            except CutThinkingError as error:
                if cut is not None:
                    return _failure(error.reason, str(error), attempts)
                # The server is well, and the next attempt is another request: it need not wait.
                cut = error.usage
                self._breaker.succeeded()
                asked_s = loop.time()
                self._retries += 1
                continue
            except TransientError as error:
                if (fatal := self._breaker.failed(error, loop.time())) is not None:
                    self._halt(_OUTAGE_GRACE_S, fatal)
                if self.stopped:
                    return None
                elapsed_s = loop.time() - started
                failures = attempts - (cut is not None)
                delay_s = self._retry.delay_s(error, failures, elapsed_s, self._breaker.failures_in_a_row)
                if delay_s is None:
                    return _failure(error.reason, str(error), attempts)
                await asyncio.sleep(delay_s)
                asked_s = loop.time()
                self._retries += 1
                continue
            except Exception as error:  # noqa: BLE001 - a client's bug must not lose the request
                return self._give_up(error, attempts)
            self._breaker.succeeded()
            if attempts != 1:
                usage = response.usage if cut is None else summed((cut, response.usage))
                response = replace(response, attempts=attempts, usage=usage)
            return response
        return None

    async def wait_turn(self) -> None:
        """Wait until there is room for what the client holds; nothing is loaded yet."""
        await self._lifecycle.wait_turn()

    async def close(self) -> None:
        """Release what the client holds, and its place for another; more calls do nothing."""
        await self._lifecycle.close()

    def stop(self, grace_s: float = 30.0) -> None:
        """Send nothing more; what is in flight has `grace_s` to finish, then it is cancelled and stays owed.

        May be called again with a shorter grace; call it from the event loop's thread.
        """
        self._halt(grace_s, "user")

    async def _open(self) -> None:
        """Wait until the client is open.

        Raises:
            SystemicError: It can't be opened.
        """
        try:
            await self._lifecycle.wait()
        except SystemicError:
            raise
        except Exception as error:
            told = str(error) if isinstance(error, EvalkitError) else f"{type(error).__name__}: {error}"
            raise SystemicError(f"{self.name} can't be opened: {without_keys(told)}") from error

    def _give_up(self, error: Exception, attempts: int) -> Failure | None:
        """The verdict on an error that another attempt would not mend; None if it ends all sending."""
        if isinstance(error, AuthenticationError):
            self._never_admitted = not self._breaker.ever_succeeded
            advice = _QUOTA_ADVICE if error.reason == "quota" else self._client.key_advice
            self._halt(0.0, SystemicError(f"{self.name} is stopped ({error.reason}): {error}; {advice}"))
            return None
        if isinstance(error, SystemicError):
            # The budget is spent, mostly: what is in flight is paid for and worth waiting for.
            self._halt(self._limits.timeout_s, error)
            return None
        if isinstance(error, ContentFilterError):
            self._breaker.succeeded()  # the server is well; it is this prompt that it does not like
            return _failure(error.reason, str(error), attempts, error.text)
        if isinstance(error, BadRequestError):
            failure = _failure(error.reason, str(error), attempts)
            if (fatal := self._breaker.refused(error)) is not None:
                self._halt(_OUTAGE_GRACE_S, fatal)
                self.last_failure = failure
            return failure
        return _failure("client_error", f"{type(error).__name__}: {error}", attempts)

    async def _attempt(
        self, request: Request, asked_s: float, ahead: bool, on_unknown_bill: Callable[[], None] | None
    ) -> Response:
        """Wait for leave, send once, and tell limiter and budget how it went."""
        if request.embedding and not self._client.embeds:
            raise BadRequestError(f"{self.name} gives no embeddings")
        expected = self._estimator.estimate(request).total_tokens if self._estimates else 0
        permit = await self._limiter.acquire(expected, ahead=ahead)
        try:
            if self.budget.limited:
                response = await self._send_within_budget(request, on_unknown_bill)
            else:
                response = await self._send(request)
        except OverloadError as error:
            self._limiter.overloaded(permit, error.retry_after_s)
            if not self.budget.limited:
                self._note_bill(request, error, on_unknown_bill)
            raise
        except CutThinkingError as error:
            self._limiter.succeeded(permit, error.usage.total_tokens or expected)
            if self._estimates:
                self._estimator.learn(request, error.usage)
            raise
        except BaseException as error:
            self._limiter.failed(permit)
            if not self.budget.limited:
                self._note_bill(request, error, on_unknown_bill)
            raise
        if self._estimates:
            self._limiter.succeeded(permit, response.usage.total_tokens or expected)
            self._estimator.learn(request, response.usage)
        else:
            self._limiter.succeeded(permit, 0)
        return after_waiting(response, permit.sent_at - asked_s)

    async def _send_within_budget(
        self, request: Request, on_unknown_bill: Callable[[], None] | None
    ) -> Response:
        """Send once what it may cost is set aside; what it did cost takes the place of that."""
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        bound = self._estimator.bound(request)
        reserved = self._cost(bound)
        # Whatever happens from here on counts in full, but for what is known to cost less.
        actual: Cost | None = None
        await self.budget.reserve(reserved)
        waited_s = loop.time() - asked_s
        try:
            response = await self._send(request)
            actual = self._cost(response.usage) if response.usage.is_reported else None
        except CutThinkingError as error:
            actual = self._cost(error.usage) if error.usage.is_reported else None
            raise
        except BaseException as error:
            actual = None if self._note_bill(request, error, on_unknown_bill) else _FREE
            raise
        finally:
            self.budget.settle(reserved, actual)
        return after_waiting(response, waited_s)

    def _note_bill(
        self, request: Request, error: BaseException, on_unknown_bill: Callable[[], None] | None
    ) -> bool:
        """Whether the server may bill an attempt that failed; if so, lets the caller know."""
        may_be_billed = self._may_be_billed(request, error)
        if may_be_billed and self._prices is not None and on_unknown_bill is not None:
            on_unknown_bill()
        return may_be_billed

    def _may_be_billed(self, request: Request, error: BaseException) -> bool:
        """Whether the server may bill an attempt that failed, as far as is known: any bug of a client's, say.

        Of several sends for one request that fails, others may have been answered. Where the key or the
        account was refused before anything was answered, it is refused for all that was in flight.
        """
        if isinstance(error, AuthenticationError) and not self._breaker.ever_succeeded:
            return False
        if isinstance(error, asyncio.CancelledError) and self._never_admitted:
            return False
        if not isinstance(error, ClientError) or self._estimator.sends(request) > 1:
            return True
        cut_off_by_a_filter = isinstance(error, ContentFilterError) and bool(error.text)
        return error.may_be_billed or cut_off_by_a_filter

    async def _send(self, request: Request) -> Response:
        """One attempt of the client within the time limit."""
        task: asyncio.Task[Any] | None = asyncio.current_task()
        assert task is not None
        self._sent += 1
        self._sending.add(task)
        try:
            if self._keeps_time:
                response = await self._client.send(request)
            else:
                async with asyncio.timeout(self._limits.timeout_s):
                    response = await self._client.send(request)
        except TimeoutError as error:
            message = str(error) or f"no answer within {self._limits.timeout_s:g} s"
            raise TransientError(message, "timeout") from error
        except asyncio.CancelledError:
            if task.cancelling():
                raise
            # This request was not cancelled: the client cancelled a task inside.
            raise RuntimeError("the client was cancelled from within") from None
        finally:
            self._sending.discard(task)
        if not isinstance(response, Response):
            raise TypeError(f"the client returned {type(response).__name__}, not a Response")
        response = sound(response)
        if not self._estimator.is_credible(request, response.usage):
            self._money_notes[_ABSURD_USAGE] = None
            response = replace(response, usage=Usage())
        return response

    def _cost(self, usage: Usage) -> Cost:
        usd = 0.0 if self._prices is None else self._prices.cost_usd(usage)
        return Cost(usd, usage.total_tokens)

    def _halt(self, grace_s: float, by: Literal["user"] | SystemicError) -> None:
        """End all sending: drop what waits at once, and what is in flight after `grace_s`.

        The first to halt has halted it: a key pressed later changes no reason, nor does a later error.
        """
        if self._halted_by is None:
            self._halted_by = by
        current = asyncio.current_task()
        for task in self._asking - self._sending:
            if task is not current:
                task.cancel()
        for on_halt in self._on_halt:
            on_halt()
        if grace_s <= 0:
            self._cancel_sending()
            return
        loop = asyncio.get_running_loop()
        if self._grace_timer is not None:
            if self._grace_timer.when() <= loop.time() + grace_s:
                return
            self._grace_timer.cancel()
        self._grace_timer = loop.call_later(grace_s, self._cancel_sending)

    def _cancel_sending(self) -> None:
        for task in self._sending:
            task.cancel()


def _failure(reason: str, message: str, attempts: int, text: str = "") -> Failure:
    # Cleaned here too: a client of one's own raises what it likes.
    return Failure(reason, one_line(message)[:_MESSAGE_CHARACTERS], attempts, text)
