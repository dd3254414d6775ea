"""The requests of a routed deployment on their way, each through the executor of its member."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing

from evalkit.errors import SystemicError
from evalkit.execution.executor import Finished, Stream
from evalkit.request import RequestState


class RoutedStream:
    """The streams of several members as one.

    Each member's stream feeds itself, within the window of that member's executor. So limits, retries,
    budget, prices and loading are the member's, and a member that pauses holds back its own requests only.

    Args:
        streams: One per member, by name, of requests whose `member` is that name.
        on_ended: Awaited when all requests of a member are finished: its model is not needed any more.
    """

    def __init__(
        self, streams: Mapping[str, Stream], on_ended: Callable[[str], Awaitable[None]] | None = None
    ) -> None:
        self._streams, self._on_ended = streams, on_ended
        self._waiting: list[tuple[list[Finished], asyncio.Event]] = []
        self._news = asyncio.Event()

    async def batches(self) -> AsyncGenerator[list[Finished], None]:
        """Yields requests with their outcomes as soon as they are finished, as `Stream.batches` does.

        A member whose sending ends for good does not end that of the others.

        Raises:
            SystemicError: Going on makes no sense for a member; everything that finished was yielded before.
            Exception: Whatever a source raised, likewise.
        """
        tasks = [asyncio.create_task(self._drain(name)) for name in self._streams]
        for task in tasks:
            task.add_done_callback(lambda _: self._news.set())
        try:
            while self._waiting or not all(task.done() for task in tasks):
                if not self._waiting:
                    await self._news.wait()
                    self._news.clear()
                    continue
                taken, self._waiting = self._waiting, []
                yield [finished for batch, _ in taken for finished in batch]
                # Only now a member's stream may end: what follows its last answer has been pushed.
                for _, is_consumed in taken:
                    is_consumed.set()
            _raise_first([error for task in tasks if (error := task.exception()) is not None])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def push(self, *states: RequestState) -> None:
        """Send requests that follow a finished one, each to its member; see `Stream.push`."""
        for state in states:
            assert state.member is not None
            self._streams[state.member].push(state)

    @property
    def is_complete(self) -> bool:
        """Whether every request so far has come to a verdict or may still come to one."""
        return all(stream.is_complete for stream in self._streams.values())

    def fail(self, error: Exception) -> None:
        """Pull and push nothing more; see `Stream.fail`."""
        for stream in self._streams.values():
            stream.fail(error)

    async def _drain(self, name: str) -> None:
        """Pass on what a member's stream yields, one batch at a time."""
        try:
            async with aclosing(self._streams[name].batches()) as batches:
                async for batch in batches:
                    is_consumed = asyncio.Event()
                    self._waiting.append((batch, is_consumed))
                    self._news.set()
                    await is_consumed.wait()
        finally:
            if self._on_ended is not None:
                await self._on_ended(name)


def _raise_first(errors: list[BaseException]) -> None:
    """Raise the first error; one of a source rather than one that says that a member has stopped."""
    for error in sorted(errors, key=lambda error: isinstance(error, SystemicError)):
        raise error
