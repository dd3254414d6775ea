"""Feeds a scorer while answers come in, on a thread of its own, so that sending never waits for scoring."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from evalkit.engine.journal import Record, read_journal
from evalkit.metrics.scorer import Scorer
from evalkit.request import RequestState
from evalkit.response import Outcome

# Outcomes go to the scoring thread when some time has passed or many are there: each hand-over costs both
# threads a change of hands. When very many wait, the sender is slowed down.
HAND_OVER_EVERY_S = 0.25
BATCH_SIZE = 512
MAX_WAITING = 8192


class ScoreFeed:
    """Hands outcomes to a scorer in batches, in order, one batch at a time."""

    def __init__(self, scorer: Scorer, thread: ThreadPoolExecutor) -> None:
        self.scorer, self._thread = scorer, thread
        self._waiting: list[tuple[RequestState, Outcome]] = []
        self._running: list[Future[None]] = []
        self._handed_over_s = time.monotonic()

    def add_journal(self, path: Path, end: int) -> None:
        """Score what the first `end` bytes of a journal hold, before anything added later."""
        self._running.append(self._thread.submit(_score_journal, self.scorer, path, end))

    async def add(self, state: RequestState, outcome: Outcome) -> None:
        """Score an outcome soon; returns at once unless very many are waiting."""
        self._waiting.append((state, outcome))
        now_s = time.monotonic()
        if len(self._waiting) < BATCH_SIZE and now_s - self._handed_over_s < HAND_OVER_EVERY_S:
            return
        self._handed_over_s = now_s
        self._hand_over()
        if len(self._running) > MAX_WAITING // BATCH_SIZE:
            await asyncio.wrap_future(self._running[0])
        while self._running and self._running[0].done():
            self._running.pop(0).result()

    async def finish(self) -> None:
        """Wait until everything added has been scored."""
        self._hand_over()
        for future in self._running:
            await asyncio.wrap_future(future)
        self._running.clear()

    def _hand_over(self) -> None:
        if self._waiting:
            self._running.append(self._thread.submit(_score_batch, self.scorer, self._waiting))
            self._waiting = []


def _score_batch(scorer: Scorer, batch: list[tuple[RequestState, Outcome]]) -> None:
    for state, outcome in batch:
        scorer.add(state, outcome)


def _score_journal(scorer: Scorer, path: Path, end: int | None) -> None:
    for record in read_journal(path, end=end):
        if isinstance(record, Record):
            scorer.add(record.state, record.outcome)
