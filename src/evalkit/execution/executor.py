"""Feeds requests to a sender, as many at once as its limits allow, and yields what has finished."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from evalkit.errors import SystemicError
from evalkit.execution.answer_source import content_key, find_answer
from evalkit.execution.feed_lock import FeedLock
from evalkit.response import Failure

if TYPE_CHECKING:
    from evalkit.execution.answer_source import AnswerSource
    from evalkit.execution.cache import ResponseCache
    from evalkit.execution.sender import Sender
    from evalkit.request import RequestState
    from evalkit.response import Outcome

_STARTS_PER_TURN = 16

Finished = tuple["RequestState", "Outcome"]


class Executor:
    """The streams of requests to one deployment, in one event loop.

    Args:
        sender: Sends the requests.
        sources: Asked for each request before it is sent.
        cache: Keeps the answers that come; None: nothing does. To be asked, it is one of the sources.
        identity_digest: The deployment's identity, part of the content keys.

    Attributes:
        sender: As given.
        identity_digest: As given.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        sources: Sequence[AnswerSource] = (),
        cache: ResponseCache | None = None,
        identity_digest: str = "",
    ) -> None:
        self.sender, self.identity_digest = sender, identity_digest
        self._sources, self._cache = tuple(sources), cache
        self._lock = asyncio.Lock()
        self._feeding: Stream | None = None
        self._streams: set[Stream] = set()
        self.outstanding = 0
        sender.on_halt(self._wake_all)

    def feed_lock(self) -> FeedLock:
        """Waits (`async with`) until the streams before have submitted all their requests.

        What is done between that and `batches` (loading data, say) is done while the last requests of the
        stream before are still in flight, and by one at a time. `batches` releases the lock when its source
        is exhausted.
        """
        return FeedLock(self._lock)

    def open_stream(
        self,
        source: Iterable[RequestState],
        feed_lock: FeedLock | None = None,
        on_unknown_bill: Callable[[], None] | None = None,
        sources: Sequence[AnswerSource] | None = (),
    ) -> Stream:
        """A stream of these requests; nothing is sent before its `batches` are asked for.

        Args:
            source: The requests.
            feed_lock: The lock that the caller holds already; else the stream waits for one.
            on_unknown_bill: See `Sender.ask`.
            sources: Asked for each request before the executor's own sources; None: neither is asked.
        """
        lock = feed_lock or self.feed_lock()
        asked = () if sources is None else (*sources, *self._sources)
        return Stream(self, source, lock, on_unknown_bill, asked)

    def open_push_stream(
        self,
        on_unknown_bill: Callable[[], None] | None = None,
        sources: Sequence[AnswerSource] | None = (),
    ) -> PushStream:
        """A stream of requests that all follow from something else: it needs no feed lock.

        Args:
            on_unknown_bill: See `Sender.ask`.
            sources: As for `open_stream`.
        """
        asked = () if sources is None else (*sources, *self._sources)
        return PushStream(self, (), self.feed_lock(), on_unknown_bill, asked)

    async def stream(
        self, source: Iterable[RequestState], feed_lock: FeedLock | None = None
    ) -> AsyncGenerator[Finished, None]:
        """Yields each request of `source` with its outcome: what `Stream.batches` yields, one by one."""
        async with aclosing(self.open_stream(source, feed_lock).batches()) as batches:
            async for batch in batches:
                for finished in batch:
                    yield finished

    @property
    def window(self) -> int:
        """How many requests are outstanding at most, pushed ones apart."""
        limit = self.sender.limit
        # Room for those that wait for another attempt, or a few rejections would leave permits unused.
        return 2 * limit + max(16, min(2 * limit - 8, 512))

    async def _ask(self, state: RequestState, stream: Stream, ahead: bool) -> Outcome | None:
        outcome = await self.sender.ask(state, ahead=ahead, on_unknown_bill=stream.on_unknown_bill)
        if self._cache is not None and outcome is not None and not isinstance(outcome, Failure):
            self._cache.put(content_key(self.identity_digest, state.request, state.sample), outcome)
        return outcome

    def _wake_all(self) -> None:
        for stream in self._streams:
            stream.wake()


class Stream:
    """The requests of one source on their way through an executor; made by `Executor.open_stream`.

    Requests are pulled lazily: about twice as many as may be in flight are outstanding at a time. Several
    streams may run at once; they feed in the order in which they got the feed lock, each until its source is
    exhausted.

    Attributes:
        on_unknown_bill: As given.
    """

    def __init__(
        self,
        executor: Executor,
        source: Iterable[RequestState],
        feed_lock: FeedLock,
        on_unknown_bill: Callable[[], None] | None,
        sources: tuple[AnswerSource, ...],
    ) -> None:
        self.on_unknown_bill = on_unknown_bill
        self._sources = sources
        self._executor, self._source, self._feed_lock = executor, source, feed_lock
        self._tasks: set[asyncio.Task[None]] = set()
        self._finished: list[Finished] = []
        self._news = asyncio.Event()
        self._error: Exception | None = None
        self._is_complete = True  # until a request is left without a verdict, pulled or not

    async def batches(self) -> AsyncGenerator[list[Finished], None]:
        """Yields requests with their outcomes as soon as they are finished, in any order.

        What has finished at the same time is one batch, so that it can be written at once. The stream ends
        when its source is exhausted and everything is finished, what was pushed included. Wrap it in
        `contextlib.aclosing` where it may be left early.

        Raises:
            SystemicError: Going on makes no sense; everything that finished was yielded before.
            Exception: Whatever the source raised, after the requests pulled before it were yielded.
        """
        executor = self._executor
        executor._streams.add(self)
        try:
            await self._feed_lock.acquire()
            executor._feeding = self
            requests = iter(self._source)
            more = True
            while more:
                if self._finished:
                    yield self._take()
                more = self._feed(requests)
                if more and executor.outstanding < executor.window:
                    await asyncio.sleep(0)
                elif more:
                    await self._news.wait()
                self._news.clear()
            executor._feeding = None
            self._feed_lock.release()
            while self._tasks or self._finished:
                if self._finished:
                    yield self._take()
                elif self._tasks:
                    await self._news.wait()
                    self._news.clear()
            if self._error is not None:
                raise self._error
            if (error := executor.sender.halted_by) is not None and not self._is_complete:
                raise SystemicError(str(error)) from error
        finally:
            if executor._feeding is self:
                executor._feeding = None
            self._feed_lock.release()
            await self._abandon()
            executor._streams.discard(self)

    def push(self, *states: RequestState) -> None:
        """Send requests that follow a finished one, ahead of all that wait, whatever the window says.

        Where sending has ended they are not sent and stay owed.
        """
        for state in states:
            if self._executor.sender.stopped or self._error is not None:
                self._is_complete = False
            else:
                self._start(state, ahead=True)

    @property
    def is_complete(self) -> bool:
        """Whether every request so far, pulled or pushed, has come to a verdict or may still come to one."""
        return self._is_complete

    def fail(self, error: Exception) -> None:
        """Pull and push nothing more; `batches` raises this error when what was started has finished."""
        self._error = self._error or error
        self._news.set()

    def wake(self) -> None:
        """Let `batches` look at what has changed."""
        self._news.set()

    def _take(self) -> list[Finished]:
        taken, self._finished = self._finished, []
        return taken

    def _feed(self, requests: Iterator[RequestState]) -> bool:
        """Start some requests, few enough that the event loop is not held up; whether there may be more."""
        executor = self._executor
        sender = executor.sender
        for _ in range(min(_STARTS_PER_TURN, executor.window - executor.outstanding)):
            if sender.stopped or self._error is not None:
                break
            try:
                state = next(requests)
            except StopIteration:
                return False
            except Exception as error:  # noqa: BLE001 - raised to the caller at the stream's end
                self._error = error
                return False
            self._start(state)
        if sender.stopped:
            self._is_complete = False
        return not sender.stopped and self._error is None

    def _start(self, state: RequestState, *, ahead: bool = False) -> None:
        if self._sources:
            found = find_answer(self._sources, self._executor.identity_digest, state)
            if found is not None:
                self._finished.append((state, found))
                self._news.set()
                return
        task = asyncio.create_task(self._finish(state, ahead))
        self._tasks.add(task)
        self._executor.outstanding += 1

    async def _finish(self, state: RequestState, ahead: bool) -> None:
        """One request, from its start to its place among the finished."""
        executor = self._executor
        try:
            outcome = await executor._ask(state, self, ahead)
            if outcome is None:
                self._is_complete = False
            else:
                self._finished.append((state, outcome))
                if outcome is executor.sender.last_failure:
                    self._is_complete = False  # the run ends for this reason, even if it was its last request
        except Exception as error:  # noqa: BLE001 - raised to the caller at the stream's end
            self._error = error
        except BaseException:
            self._is_complete = False
            raise
        finally:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.discard(task)
            executor.outstanding -= 1
            self._news.set()
            if (feeding := executor._feeding) is not None and feeding is not self:
                feeding._news.set()

    async def _abandon(self) -> None:
        """Cancel what a stream that was left early still has running."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        # A task that was cancelled before it began could not count itself out.
        self._executor.outstanding -= len(self._tasks)
        self._tasks.clear()


class PushStream(Stream):
    """Requests that are pushed one by one, until `end` is called; made by `Executor.open_push_stream`.

    Nobody else's requests hold it up, and it holds up nobody's: whoever pushes keeps within the executor's
    window, as far as `has_room` says.
    """

    _has_ended = False

    async def batches(self) -> AsyncGenerator[list[Finished], None]:
        """Yields requests with their outcomes as soon as they are finished, as `Stream.batches` does."""
        executor = self._executor
        executor._streams.add(self)
        try:
            while self._tasks or self._finished or not self.is_over:
                if self._finished:
                    yield self._take()
                else:
                    await self._news.wait()
                    self._news.clear()
            if self._error is not None:
                raise self._error
            if (error := executor.sender.halted_by) is not None and not self._is_complete:
                raise SystemicError(str(error)) from error
        finally:
            await self._abandon()
            executor._streams.discard(self)

    @property
    def has_room(self) -> bool:
        """Whether another request may be pushed without holding more than the executor's window."""
        return len(self._tasks) + len(self._finished) < self._executor.window

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be pushed, or what is pushed is refused."""
        return self._has_ended or self._executor.sender.stopped or self._error is not None

    def end(self, *, is_complete: bool = True) -> None:
        """Nothing more will be pushed, but what follows from the outcomes still to come.

        Args:
            is_complete: Whether nothing that should have been pushed is left.
        """
        self._has_ended = True
        self._is_complete = self._is_complete and is_complete
        self._news.set()
