"""Sends the requests of one deployment: as many at once as it bears, each until it is answered or has failed.

A request ends in exactly one of three ways: a `Response`, a `Failure`, or, when the executor is stopped
before its verdict, nothing at all: then it is still owed, and the next start sends it again. All times are
those of the running event loop.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
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
from evalkit.execution.cache import cache_key, usable
from evalkit.execution.client_lifecycle import ClientLifecycle
from evalkit.execution.limiter import Limiter
from evalkit.execution.retry import RetryPolicy
from evalkit.execution.stream_state import FeedLock, StreamState
from evalkit.redaction import one_line, without_keys
from evalkit.request import Request, RequestState
from evalkit.response import Failure, Outcome, Response, Usage, sound, summed

if TYPE_CHECKING:
    import random

    from evalkit.clients.allowance import Allowance
    from evalkit.clients.client import Client
    from evalkit.execution.cache import ResponseCache
    from evalkit.models.deployment import Limits, Prices

_STARTS_PER_TURN = 16
_OUTAGE_GRACE_S = 30.0
_MESSAGE_CHARACTERS = 2000
_FREE = Cost()
_ABSURD_USAGE = "the server reports more tokens than a request can take; those counts are not reported"
_QUOTA_ADVICE = "check the account's credit"


@dataclass(frozen=True, slots=True)
class ExecutorStats:
    """How an executor is doing now.

    Attributes:
        in_flight: Requests sent and not yet answered.
        outstanding: Those, and the ones that wait for leave or for another attempt.
        limit: How many may be in flight.
        sent: Attempts so far.
        retries: Attempts that were not a request's first.
        overloads: How often the server asked for less.
    """

    in_flight: int
    outstanding: int
    limit: int
    sent: int
    retries: int
    overloads: int


class Executor:
    """All requests to one deployment go through one executor, in one event loop.

    Args:
        client: Makes the single attempts.
        name: The deployment, for messages.
        limits: How hard it may be pushed; a resident client is given as many requests as it wants.
        budget: Shared by all executors of an evaluation; None: unlimited.
        prices: What its tokens cost; needed if the budget limits money.
        cache: Answers of earlier runs; None: always ask.
        identity_digest: The deployment's identity, part of the cache keys.
        rng: Draws the back-off jitter.
        lifecycle: Opens and closes the client; None: it waits for nothing else.
        count: Counts the tokens of a text as the model does; None: they are judged by bytes.
        allowance: What a request allows the server to bill; None: what the client's class says of it.

    Raises:
        UsageError: The budget limits money and there are no prices.
    """

    def __init__(  # noqa: PLR0913 - what an executor brings together
        self,
        client: Client,
        *,
        name: str,
        limits: Limits,
        budget: Budget | None = None,
        prices: Prices | None = None,
        cache: ResponseCache | None = None,
        identity_digest: str = "",
        rng: random.Random | None = None,
        lifecycle: ClientLifecycle | None = None,
        count: Callable[[str], int] | None = None,
        allowance: Callable[[Request], Allowance] | None = None,
    ) -> None:
        self.name = name
        self.budget = budget or Budget()
        if self.budget.max_usd is not None and prices is None and not (client.is_free or client.resident):
            raise UsageError(f"{name} has no prices, so a budget in USD can't be kept; add prices or drop it")
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
        self._cache = cache
        self._identity_digest = identity_digest
        self._limiter = Limiter(limits)
        self._retry = RetryPolicy(limits, rng)
        self._breaker = Breaker(name)
        self._estimator = TokenEstimator(count, allowance or functools.partial(type(client).allowance, {}))
        self._estimates = self.budget.limited or limits.tokens_per_minute is not None
        self._feed_lock = asyncio.Lock()
        self._feeding: StreamState | None = None
        self._streams: set[StreamState] = set()
        self._sending: set[asyncio.Task[Outcome | None]] = set()
        self._outstanding = self._sent = self._retries = 0
        self._money_notes: dict[str, None] = {}
        self._halted_by: Literal["user"] | SystemicError | None = None
        self._last_straw: Failure | None = None
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
    def stats(self) -> ExecutorStats:
        """A snapshot for progress displays."""
        return ExecutorStats(
            in_flight=len(self._sending),
            outstanding=self._outstanding,
            limit=self._limiter.limit,
            sent=self._sent,
            retries=self._retries,
            overloads=self._limiter.overloads,
        )

    def feed_lock(self) -> FeedLock:
        """Waits (`async with`) until the streams before have handed over all their requests.

        What is done between that and `stream` (loading data, say) is done while the last requests of the
        stream before are still in flight, and by one at a time. `stream` passes the turn on when its source
        is exhausted.
        """
        return FeedLock(self._feed_lock)

    async def stream(
        self, source: Iterable[RequestState], feed_lock: FeedLock | None = None
    ) -> AsyncGenerator[tuple[RequestState, Outcome], None]:
        """Yields each request of `source` with its outcome: what `batches` yields, one by one."""
        async with aclosing(self.batches(source, feed_lock)) as batches:
            async for batch in batches:
                for finished in batch:
                    yield finished

    async def batches(
        self,
        source: Iterable[RequestState],
        feed_lock: FeedLock | None = None,
        on_unknown_bill: Callable[[], None] | None = None,
    ) -> AsyncGenerator[list[tuple[RequestState, Outcome]], None]:
        """Yields the requests of `source` with their outcomes as soon as they are finished, in any order.

        What has finished at the same time is one batch, so that it can be written at once. Requests are
        pulled lazily: about twice as many as may be in flight are outstanding at a time. Several streams may
        run at once; they take turns in the order they were started, each until its source is exhausted.
        Wrap the stream in `contextlib.aclosing` where it may be left early.

        Args:
            source: The requests.
            feed_lock: The turn that the caller has already; else the stream waits for one.
            on_unknown_bill: Called for each attempt that failed and may cost money all the same: nobody knows
                how much. Not called where there are no prices.

        Raises:
            SystemicError: Going on makes no sense; everything that finished was yielded before.
            Exception: Whatever the source raised, after the requests pulled before it were yielded.
        """
        stream = StreamState(on_unknown_bill)
        self._streams.add(stream)
        feed_lock = feed_lock or self.feed_lock()
        try:
            await feed_lock.acquire()
            self._feeding = stream
            requests = iter(source)
            more = True
            while more:
                if stream.finished:
                    yield stream.take()
                more = self._feed(stream, requests)
                if more and self._outstanding < self._window:
                    await asyncio.sleep(0)
                elif more:
                    await stream.news.wait()
                stream.news.clear()
            self._feeding = None
            feed_lock.release()
            while stream.tasks or stream.finished:
                if stream.finished:
                    yield stream.take()
                elif stream.tasks:
                    await stream.news.wait()
                    stream.news.clear()
            if stream.error is not None:
                raise stream.error
            if isinstance(error := self._halted_by, SystemicError) and not stream.complete:
                raise SystemicError(str(error)) from error
        finally:
            if self._feeding is stream:
                self._feeding = None
            feed_lock.release()
            await self._abandon(stream)
            self._streams.discard(stream)

    async def close(self) -> None:
        """Release what the client holds, and its place for another; more calls do nothing."""
        await self._lifecycle.close()

    def stop(self, grace_s: float = 30.0) -> None:
        """Send nothing more; what is in flight has `grace_s` to finish, then it is cancelled and stays owed.

        The streams end normally. May be called again with a shorter grace; call it from the event loop's
        thread.
        """
        self._halt(grace_s, "user")

    @property
    def _window(self) -> int:
        limit = self._limiter.limit
        # Room for those that wait for another attempt, or a few rejections would leave slots empty.
        return 2 * limit + max(16, min(2 * limit - 8, 512))

    def _feed(self, stream: StreamState, requests: Iterator[RequestState]) -> bool:
        """Start some requests, few enough that the event loop is not held up; whether there may be more."""
        room = min(_STARTS_PER_TURN, self._window - self._outstanding)
        for _ in range(room):
            if self.stopped or stream.error is not None:
                break
            try:
                state = next(requests)
            except StopIteration:
                return False
            except Exception as error:  # noqa: BLE001 - raised to the caller at the stream's end
                stream.error = error
                return False
            self._start(stream, state)
        if self.stopped:
            stream.complete = False
        return not self.stopped and stream.error is None

    def _start(self, stream: StreamState, state: RequestState) -> None:
        if self._cache is not None:
            cached = self._cache.get(cache_key(self._identity_digest, state.request, state.sample))
            if cached is not None and (known := usable(cached, state.request)) is not None:
                stream.finished.append((state, known))
                return
        task = asyncio.create_task(self._answer(state))
        stream.tasks.add(task)
        self._outstanding += 1
        task.add_done_callback(functools.partial(self._on_done, stream, state))

    def _on_done(self, stream: StreamState, state: RequestState, task: asyncio.Task[Outcome | None]) -> None:
        stream.tasks.discard(task)
        self._outstanding -= 1
        if task.cancelled():
            stream.complete = False
        elif isinstance(error := task.exception(), Exception):
            stream.error = error
        elif error is None and (outcome := task.result()) is not None:
            stream.finished.append((state, outcome))
            if outcome is self._last_straw:
                stream.complete = False  # the run ends for this reason, even if it was its last request
        else:
            stream.complete = False
        stream.news.set()
        if self._feeding is not None:
            self._feeding.news.set()

    async def _abandon(self, stream: StreamState) -> None:
        """Cancel what a stream that was left early still has running."""
        tasks = list(stream.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _answer(self, state: RequestState) -> Outcome | None:
        """Send until there is a verdict; None if the executor was stopped first."""
        loop = asyncio.get_running_loop()
        started, attempts = loop.time(), 0
        cut: Usage | None = None
        while not self.stopped:
            attempts += 1
            try:
                if not self._lifecycle.is_open:
                    await self._open()
                response = await self._attempt(state.request)
            except CutThinkingError as error:
                if cut is not None:
                    return _failure(error.reason, str(error), attempts)
                # The server is well, and the next attempt is another request: it need not wait.
                cut = error.usage
                self._breaker.succeeded()
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
                self._retries += 1
                continue
            except Exception as error:  # noqa: BLE001 - a client's bug must not lose the request
                return self._give_up(error, attempts)
            self._breaker.succeeded()
            if attempts != 1:
                usage = response.usage if cut is None else summed((cut, response.usage))
                response = replace(response, attempts=attempts, usage=usage)
            if self._cache is not None:
                self._cache.put(cache_key(self._identity_digest, state.request, state.sample), response)
            return response
        return None

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
                self._last_straw = failure
            return failure
        return _failure("client_error", f"{type(error).__name__}: {error}", attempts)

    async def _attempt(self, request: Request) -> Response:
        """Wait for leave, send once, and tell limiter and budget how it went."""
        if request.embedding and not self._client.embeds:
            raise BadRequestError(f"{self.name} gives no embeddings")
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        expected = self._estimator.estimate(request).total_tokens if self._estimates else 0
        permit = await self._limiter.acquire(expected)
        sent_s = loop.time()
        try:
            if self.budget.limited:
                response = await self._send_within_budget(request)
            else:
                response = await self._send(request)
        except OverloadError as error:
            self._limiter.overloaded(permit, error.retry_after_s)
            if not self.budget.limited:
                self._note_bill(request, error)
            raise
        except CutThinkingError as error:
            self._limiter.succeeded(permit, error.usage.total_tokens or expected)
            if self._estimates:
                self._estimator.learn(request, error.usage)
            raise
        except BaseException as error:
            self._limiter.failed(permit)
            if not self.budget.limited:
                self._note_bill(request, error)
            raise
        if self._estimates:
            self._limiter.succeeded(permit, response.usage.total_tokens or expected)
            self._estimator.learn(request, response.usage)
        else:
            self._limiter.succeeded(permit, 0)
        if response.efficiency is not None:
            response.efficiency.queue_s += sent_s - asked_s
        return response

    async def _send_within_budget(self, request: Request) -> Response:
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
            actual = None if self._note_bill(request, error) else _FREE
            raise
        finally:
            self.budget.settle(reserved, actual)
        if response.efficiency is not None:
            response.efficiency.queue_s += waited_s
        return response

    def _note_bill(self, request: Request, error: BaseException) -> bool:
        """Whether the server may bill an attempt that failed; if so, lets its stream know."""
        may_be_billed = self._may_be_billed(request, error)
        if may_be_billed and self._prices is not None:
            task = asyncio.current_task()
            for stream in self._streams:
                if task in stream.tasks and stream.on_unknown_bill is not None:
                    stream.on_unknown_bill()
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
            # Nobody cancelled this request: the client lost something of its own.
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

        Who halts first has halted it: a key pressed later changes no reason, nor does a later error.
        """
        if self._halted_by is None:
            self._halted_by = by
        current = asyncio.current_task()
        for stream in self._streams:
            for task in stream.tasks - self._sending:
                if task is not current:
                    task.cancel()
            stream.news.set()
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
