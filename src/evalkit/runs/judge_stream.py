"""One deployment's part in a judge's stage: a queue of units, and a stream of questions about them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol

from evalkit.errors import SystemicError
from evalkit.judges.unit_judgement import Opinion, UnitJudgement
from evalkit.results.complete_units import CompleteUnit
from evalkit.scoring.judged import UnitId

if TYPE_CHECKING:
    from evalkit.execution.answer_source import AnswerSource
    from evalkit.execution.executor import Executor, Finished, PushStream
    from evalkit.execution.sender import Sender
    from evalkit.request import RequestState
    from evalkit.results.manifest import RunStatus


class JudgeStreamOwner(Protocol):
    """What a stream needs of its stage."""

    @property
    def answer_sources(self) -> Sequence[AnswerSource] | None:
        """Where replies may be found."""

    def judgement_of(
        self, unit: CompleteUnit, opinions: Sequence[Opinion], before: UnitJudgement | None = None
    ) -> UnitJudgement:
        """Where the judgement of a unit by some stands; `before` is that of fewer turns of it."""

    def keep(self, finished: Iterable[Finished]) -> None:
        """Write outcomes into the journal, then count them."""

    def count_unknown_bill(self) -> None:
        """Count an attempt that failed and that the server may bill."""

    def settle(self, judgement: UnitJudgement, num_waiting: int = 0) -> None:
        """A unit has all its judgements of a stream, or gets no more in this start."""

    def stop(self, status: RunStatus, message: str) -> None:
        """A stream could not go on."""


class UnitQueue:
    """Units on their way to one who judges: where their answers are in the journal, never their texts."""

    def __init__(self) -> None:
        self._units: deque[CompleteUnit] = deque()
        self._news = asyncio.Event()
        self._is_closed = False

    def put(self, unit: CompleteUnit) -> None:
        """Add a unit."""
        self._units.append(unit)
        self._news.set()

    def close(self) -> None:
        """No unit will be added any more."""
        self._is_closed = True
        self._news.set()

    async def get(self) -> CompleteUnit | None:
        """The next unit; None when there will be none any more."""
        while not self._units:
            if self._is_closed:
                return None
            self._news.clear()
            await self._news.wait()
        return self._units.popleft()


class JudgeStream:
    """Asks one deployment for its opinions on the units of a queue.

    It holds the texts of as many units as its executor's window has requests, and it needs no feed lock: what
    it sends follows answers that are there.

    Args:
        stage: Makes the questions and keeps the replies.
        name: Of the deployment.
        executor: Of the deployment.
        opinions: Those that the deployment gives.

    Attributes:
        name: As given.
        queue: The units to judge.
    """

    def __init__(
        self, stage: JudgeStreamOwner, name: str, executor: Executor, opinions: Sequence[Opinion]
    ) -> None:
        self.name, self.queue = name, UnitQueue()
        self._stage, self._executor, self._opinions = stage, executor, opinions
        self._pending: dict[UnitId, UnitJudgement] = {}
        self._room = asyncio.Event()

    @property
    def sender(self) -> Sender:
        """Who sends its requests."""
        return self._executor.sender

    async def run(self) -> None:
        """Ask until the queue is closed and all is settled, or sending ends.

        Raises:
            StoreError: A journal can't be read or written.
        """
        stage = self._stage
        stream = self._executor.open_push_stream(stage.count_unknown_bill, stage.answer_sources)
        feeding = asyncio.create_task(self._feed(stream))
        try:
            async with aclosing(stream.batches()) as batches:
                async for finished in batches:
                    stage.keep(finished)
                    for state, outcome in finished:
                        judgement = self._pending[unit_of(state)]
                        stream.push(*judgement.after(state, outcome))
                        self._settle_if_done(unit_of(state), judgement)
                    self._room.set()
        except SystemicError as halted:
            stage.stop("stopped", str(halted))
        finally:
            is_whole = stream.is_complete and feeding.done()
            feeding.cancel()
            await asyncio.wait([feeding])
            for judgement in self._pending.values():
                stage.settle(judgement, judgement.num_waiting)
        if not is_whole and self.sender.interrupted:
            stage.stop("interrupted", "the same command goes on from here")
        elif not is_whole and (error := self.sender.halted_by) is not None:
            stage.stop("stopped", str(error))

    async def _feed(self, stream: PushStream) -> None:
        """Push questions about the units of the queue, as many as there is room for."""
        try:
            while (unit := await self.queue.get()) is not None:
                while not (stream.has_room or stream.is_over):
                    self._room.clear()
                    await self._room.wait()
                if stream.is_over:
                    stream.end(is_complete=False)
                    return
                before = self._pending.get(unit.id)
                judgement = self._stage.judgement_of(unit, self._opinions, before)
                if judgement.failure is None:
                    self._pending[unit.id] = judgement
                stream.push(*judgement.owed)
                self._settle_if_done(unit.id, judgement)
                await asyncio.sleep(0)
            stream.end()
        except Exception as error:  # noqa: BLE001 - raised by the stream, to whoever runs the stream
            stream.fail(error)

    def _settle_if_done(self, unit: UnitId, judgement: UnitJudgement) -> None:
        if judgement.is_whole and not judgement.num_waiting:
            self._pending.pop(unit, None)
            self._stage.settle(judgement)


def unit_of(state: RequestState) -> UnitId:
    """The unit that a request is about."""
    return state.instance_id, state.trial, state.sample, state.perturbation


async def all_of(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do several things at once; where one fails, the others are ended.

    Raises:
        Exception: What the first that fails has raised.
    """
    tasks = [asyncio.create_task(each) for each in work]
    try:
        if tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done() and (error := task.exception()) is not None:
                raise error
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
