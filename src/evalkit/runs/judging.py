"""All judges of one run: while answers come, and after them.

Judges whose models fit into memory besides the others judge as units complete. The others follow, one after
the other, when the run has let go of the models that it does not need any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from evalkit.execution.journal_index import scan_journal
from evalkit.response import Response
from evalkit.results.complete_units import CompleteUnit, UnitTracker, by_id, complete_units
from evalkit.results.integrity import units_of
from evalkit.results.judgements import enter_judgements
from evalkit.results.manifest import RunStatus
from evalkit.results.units import end_of_conversations
from evalkit.runs.judge_stage import JudgeStage
from evalkit.runs.judge_stream import JudgeStream, all_of
from evalkit.scoring.judged import JudgedScores

if TYPE_CHECKING:
    from evalkit.execution.executor import Finished
    from evalkit.execution.journal_index import JournalIndex
    from evalkit.execution.lock import RunLock
    from evalkit.instance import Instance
    from evalkit.results.manifest_writer import ManifestWriter
    from evalkit.results.run_result import StageReport
    from evalkit.runs.events import RunHandle
    from evalkit.runs.plan import PlannedRun
    from evalkit.runs.session import Session
    from evalkit.scoring.scorer import Scorer


class Judging:
    """The stages of a run's judges; of a run without judges, nothing at all.

    Args:
        run: The run.
        handle: Its name and directory, for events.
        session: Executors, and where events are reported.
        writer: Of the run's manifest.
        lock: Of the run's directory.
    """

    def __init__(
        self, run: PlannedRun, handle: RunHandle, session: Session, writer: ManifestWriter, lock: RunLock
    ) -> None:
        self._run, self._session, self._writer = run, session, writer
        self.stages = [JudgeStage(each, run, handle, session, writer, lock) for each in run.judges]
        self._tracker: UnitTracker | None = None

    @property
    def has_judges(self) -> bool:
        """Whether there is anybody who judges."""
        return bool(self.stages)

    @property
    def follows(self) -> bool:
        """Whether some judge only after all answers."""
        return any(self._streams(stage, deferred=True) for stage in self.stages)

    @asynccontextmanager
    async def live(self) -> AsyncIterator[None]:
        """Judge while the block inside lets answers come; on leaving, until all of those are judged.

        Raises:
            StoreError: A journal can't be read or written.
        """
        streams = [(stage, self._streams(stage, deferred=False)) for stage in self.stages]
        work = asyncio.ensure_future(all_of(stage.send(own) for stage, own in streams if own))
        try:
            yield
            for stage in self.stages:
                stage.close()
            await work
        finally:
            work.cancel()
            await asyncio.wait([work])
            if not work.cancelled():
                work.exception()  # what ended the block is raised; this is known then

    async def begin(self, instances: Sequence[Instance], index: JournalIndex) -> None:
        """Take the instances, and the units that are complete in the journal of answers; called once."""
        if not self.stages:
            return
        known = by_id(instances)
        for stage in self.stages:
            stage.know(known)
        self._tracker = tracker = UnitTracker(known, end_of_conversations(self._run.run_spec.adapter_spec))
        for unit in await asyncio.to_thread(lambda: list(complete_units(index, tracker))):
            self._put(unit)

    def take(self, finished: Iterable[Finished], offsets: Iterable[int]) -> None:
        """Take outcomes that are in the journal of answers.

        Args:
            finished: Requests with their outcomes.
            offsets: The bytes at which their lines begin.
        """
        if self._tracker is None:
            return
        for (state, outcome), offset in zip(finished, offsets, strict=True):
            unit = self._tracker.add(state, outcome, offset)
            if unit is None and isinstance(outcome, Response):
                unit = self._tracker.so_far(state)
            if unit is not None:
                self._put(unit)

    def _put(self, unit: CompleteUnit) -> None:
        for stage in self.stages:
            stage.put(unit)

    async def follow(self) -> None:
        """Let those judge that could not while answers came, in the order in which their models are loaded.

        While the run waits for its turn, it holds no instances.

        Raises:
            StoreError: A journal can't be read or written.
        """
        session, directory = self._session, self._writer.directory
        for name in session.deferred_in_order:
            streams = [
                (stage, stream)
                for stage in self.stages
                for stream in self._streams(stage, deferred=True)
                if stream.name == name
            ]
            if streams:
                await session.judging(name).sender.wait_turn()
                known = by_id(await asyncio.to_thread(directory.instances))
            for stage, stream in streams:
                stage.know(known)
                await stage.send([stream])
            await session.release_judge(self._run, name)

    def _streams(self, stage: JudgeStage, *, deferred: bool) -> list[JudgeStream]:
        return [stream for stream in stage.streams if (stream.name in self._session.deferred) == deferred]

    def enter(self, scorer: Scorer, instances: Sequence[Instance]) -> None:
        """Enter the verdicts into a scorer that has seen all answers.

        Args:
            scorer: Of the run.
            instances: The evaluated instances.

        Raises:
            StoreError: A journal can't be read.
        """
        if not self.stages:
            return
        run, directory = self._run, self._writer.directory
        units = units_of(run.run_spec, instances)
        index = scan_journal(directory.journal_path, self._writer.manifest.request_digest, units)
        enter_judgements(scorer, directory, run.run_spec, run.identity, index, instances)
        for number, (stage, planned) in enumerate(zip(self.stages, run.judges, strict=True)):
            names = [planned.spec.score_name(name) for name in planned.judge.names]
            for unit, failure in stage.unasked.items():
                scorer.judge(number, unit, JudgedScores(failures=dict.fromkeys(names, failure)))

    @property
    def reports(self) -> tuple[StageReport, ...]:
        """What became of each stage."""
        return tuple(stage.report for stage in self.stages)

    @property
    def ending(self) -> tuple[RunStatus | None, str]:
        """How the first stage ended that did not come to its end, and why; None where all did."""
        ended = ((stage.status, stage.message) for stage in self.stages if stage.status is not None)
        return next(ended, (None, ""))
