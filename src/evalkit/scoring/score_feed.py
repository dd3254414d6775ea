"""Feeds a scorer while answers come in, on its own thread, so that sending never waits for scoring."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path

from evalkit.execution.journal_index import JournalIndex, read_winners
from evalkit.request import RequestState
from evalkit.response import Outcome
from evalkit.scoring.scorer import Scorer

# Outcomes go to the scoring thread when some time has passed or many are there: each hand-over costs both
# threads a change of hands. When very many wait, the sender is slowed down.
SUBMIT_EVERY_S = 0.5
BATCH_SIZE = 2048
MAX_WAITING = 8192


class ScoreFeed:
    """Hands outcomes to a scorer in batches, in order, one batch at a time.

    An outcome goes at once if none went a moment ago, so that scores can be seen soon after the first answer,
    however slowly the others come. All methods are called on one event loop's thread.

    Args:
        scorer: Takes the outcomes.
        thread: The one thread that scores.
        on_scored: Called on the event loop's thread after each batch.
    """

    def __init__(
        self,
        scorer: Scorer,
        thread: ThreadPoolExecutor,
        on_scored: Callable[[Scorer], None] | None = None,
    ) -> None:
        self.scorer, self._thread, self._on_scored = scorer, thread, on_scored
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[RequestState, Outcome]] = []
        self._news = asyncio.Event()
        self._num_batches = self._num_running = 0
        self._pause: asyncio.TimerHandle | None = None
        self._error: Exception | None = None

    def add_journal(self, path: Path, index: JournalIndex) -> None:
        """Score what counts in a journal, as its index says, before anything added later."""
        self._submit(partial(_score_journal, self.scorer, path, index), 0)

    async def add(self, state: RequestState, outcome: Outcome) -> None:
        """Score an outcome soon; returns at once unless very many are waiting.

        Raises:
            Exception: What scoring an earlier one, or `on_scored`, has raised.
        """
        self._waiting.append((state, outcome))
        if self._pause is None or len(self._waiting) >= BATCH_SIZE:
            self._submit_waiting()
            while self._num_running > MAX_WAITING and self._error is None:
                await self._next_scored()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Nothing more will be added; what waits is left to `finish`."""
        self._end_pause()

    async def finish(self) -> None:
        """Wait until everything added has been scored.

        Raises:
            Exception: What scoring, or `on_scored`, has raised.
        """
        self._submit_waiting()
        self._end_pause()
        while self._num_batches:
            await self._next_scored()
        if self._error is not None:
            raise self._error

    async def _next_scored(self) -> None:
        self._news.clear()
        await self._news.wait()

    def _end_pause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _submit_waiting(self) -> None:
        self._end_pause()
        if self._waiting:
            batch, self._waiting = self._waiting, []
            self._submit(partial(_score_batch, self.scorer, batch), len(batch))
            # A timer, not the next outcome, ends the pause: that may be long in coming.
            self._pause = self._loop.call_later(SUBMIT_EVERY_S, self._submit_waiting)

    def _submit(self, work: Callable[[], None], num_outcomes: int) -> None:
        self._num_batches += 1
        self._num_running += num_outcomes
        self._thread.submit(copy_context().run, work).add_done_callback(partial(self._wake, num_outcomes))

    def _wake(self, num_outcomes: int, future: Future[None]) -> None:
        """On the scoring thread: let the event loop know. It is gone if the run was broken off."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._scored, num_outcomes, future)

    def _scored(self, num_outcomes: int, future: Future[None]) -> None:
        self._num_batches -= 1
        self._num_running -= num_outcomes
        self._news.set()
        try:
            future.result()
            if self._on_scored is not None:
                self._on_scored(self.scorer)
        except Exception as error:  # noqa: BLE001 - raised to whoever adds the next, or waits for the end
            self._error = self._error or error


def _score_batch(scorer: Scorer, batch: list[tuple[RequestState, Outcome]]) -> None:
    for state, outcome in batch:
        scorer.add(state, outcome)


def _score_journal(scorer: Scorer, path: Path, index: JournalIndex) -> None:
    for record in read_winners(path, index):
        scorer.add(record.state, record.outcome)
