"""A judge's stage: it sends questions about units of answers, and keeps the replies in a journal."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evalkit.errors import EvalkitError
from evalkit.execution.executor import Finished
from evalkit.execution.journal import Journal, open_synced
from evalkit.execution.journal_index import JournalIndex, scan_journal
from evalkit.execution.journal_reader import JournalReader
from evalkit.judges.unit_judgement import UNCLEAR, Opinion, UnitJudgement, opinions_of
from evalkit.plugins import described
from evalkit.response import Failure, Outcome
from evalkit.results.complete_units import CompleteUnit, InstancesById, read_unit
from evalkit.results.judgements import judgement_owner
from evalkit.results.manifest import RunStatus
from evalkit.results.run_result import StageReport
from evalkit.results.tally import Tally
from evalkit.runs.events import RequestFinished, StageFinished, StageStarted
from evalkit.runs.judge_stream import JudgeStream, all_of
from evalkit.runs.routing import judge_prices
from evalkit.scoring.judged import JUDGE_ERROR, UnitId
from evalkit.specs.digest import asked_part, digest, single_request_digest

if TYPE_CHECKING:
    from evalkit.execution.answer_source import AnswerSource, Found
    from evalkit.execution.journal_source import JournalSource
    from evalkit.execution.lock import RunLock
    from evalkit.request import RequestState
    from evalkit.results.manifest_writer import ManifestWriter
    from evalkit.runs.events import RunHandle
    from evalkit.runs.plan import PlannedRun
    from evalkit.runs.plan_judges import PlannedJudge
    from evalkit.runs.session import Session

_WHAT_NOW = "its question is asked again, unless another line answers it"


@dataclass(slots=True)
class _Opened:
    """What a stage holds while it sends."""

    journal: Journal
    index: JournalIndex
    answers: JournalReader
    judgements: JournalReader


@dataclass(slots=True)
class _Counts:
    """What became of the questions of units that are settled, or wait."""

    failures: Counter[str] = field(default_factory=Counter)
    num_waiting: int = 0


class _EarlierReplies:
    """Journals of other runs as one source, which may come to know them when it is in use."""

    def __init__(self) -> None:
        self._sources: Sequence[JournalSource] = ()

    def replace(self, sources: Sequence[JournalSource]) -> None:
        """Ask these from now on, and close those before."""
        for source in self._sources:
            source.close()
        self._sources = sources

    def get(self, key: bytes, state: RequestState) -> Found | None:
        """See `AnswerSource.get`."""
        found = (source.get(key, state) for source in self._sources)
        return next((each for each in found if each is not None), None)


class JudgeStage:
    """The judgements of one judge on one run.

    Args:
        planned: The judge.
        run: The run.
        handle: Its name and directory, for events.
        session: Its executors, and where events are reported.
        writer: Of the run's manifest.
        lock: Of the run's directory.

    Attributes:
        name: Of the stage.
        streams: One for each deployment that judges.
        status: How the sending ended; None where the counts say it.
        message: Why, in words.
        unasked: Units about which the judge can't make questions, and why.
    """

    def __init__(
        self,
        planned: PlannedJudge,
        run: PlannedRun,
        handle: RunHandle,
        session: Session,
        writer: ManifestWriter,
        lock: RunLock,
    ) -> None:
        self.name, self.message = planned.stage, ""
        self.status: RunStatus | None = None
        self.unasked: dict[UnitId, Failure] = {}
        self._planned, self._run, self._handle = planned, run, handle
        self._session, self._writer, self._lock = session, writer, lock
        self._tally, self._counts = Tally(judge_prices(planned)), _Counts()
        self._retries_unclear = session.context.options.retry_unclear
        self._path = writer.directory.judgements_path(planned.spec.stage)
        self._owner = judgement_owner(writer.manifest.request_digest, planned.identity)
        self._instances: InstancesById = {}
        self._sources = _EarlierReplies()
        self._opened: _Opened | None = None
        self._has_begun = self._is_counted = False
        self._num_requests = 0
        opinions = opinions_of(planned.spec.deployments, planned.spec.num_opinions)
        self.streams = [
            JudgeStream(
                self, deployment.name, session.judging(deployment.name), _of(deployment.name, opinions)
            )
            for deployment in planned.deployments
        ]
        self._to_ask = {stream.name for stream in self.streams}

    def know(self, instances: InstancesById) -> None:
        """Take the run's instances, before the first unit."""
        self._instances = instances

    async def _look_for_replies(self) -> None:
        """Find the journals of other runs that may hold replies."""
        session, own, path = self._session, self._run.digest, self._writer.directory.path
        if session.prior_runs is None or own is None or self._writer.manifest.is_fresh:
            return
        found = await asyncio.to_thread(
            session.prior_runs.judgement_sources,
            path,
            self._run.identity,
            own.full,
            self._planned.identity,
        )
        self._sources.replace(found)

    def put(self, unit: CompleteUnit) -> None:
        """Take a unit that has all its answers, once, and before that each turn of a conversation."""
        for stream in self.streams:
            is_live = stream.name not in self._session.deferred
            if unit.is_whole or (is_live and self._planned.judge.judges_turns):
                stream.queue.put(unit)

    def close(self) -> None:
        """No more units will come."""
        for stream in self.streams:
            stream.queue.close()

    async def send(self, streams: Sequence[JudgeStream]) -> None:
        """Ask what is owed about the units of these streams, until they are closed and all is settled.

        The other streams have done so, or will in a later call.

        Raises:
            StoreError: A journal can't be read or written.
        """
        # Runs that may ask the same follow each other: the later ones find the replies of those before.
        asks = digest([single_request_digest(self._run.identity), asked_part(self._planned.identity)])
        try:
            async with self._session.request_locks[asks, ()]:
                if await self._prepared():
                    await self._look_for_replies()
                    async with self._open() as self._opened:
                        await all_of([stream.run() for stream in streams])
            self._to_ask.difference_update(stream.name for stream in streams)
        except Exception:
            self.status = "error"
            raise
        finally:
            self._opened = None
            if self.status is not None or not self._to_ask:
                self._finish()

    async def _prepared(self) -> bool:
        """Whether the judge has read its files; else it asks nothing."""
        if self.status is not None:
            return False
        try:
            await asyncio.to_thread(self._planned.judge.load, self._session.context.data)
        except EvalkitError as error:
            self.status, self.message = "error", f"{self.name}: {error}"
        except Exception as error:  # noqa: BLE001 - a bug in a plugin ends its own stage, not the others
            self.status, self.message = "error", f"{self.name}: {described(error)}"
        return self.status is None

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[_Opened]:
        self._path.parent.mkdir(exist_ok=True)
        directory = self._writer.directory
        async with (
            open_synced(self._path, self._owner, self._lock.check) as journal,
            AsyncExitStack() as stack,
        ):
            index = await asyncio.to_thread(scan_journal, self._path, self._owner.requests)
            if not self._is_counted:
                self._is_counted = True
                before = self._writer.manifest.stages.get(self.name, {})
                self._tally.begin(index, before.get("num_unknown_bills", 0))
                for damage in index.damage:
                    self._session.events.note(f"{self._path}: {damage}; {_WHAT_NOW}")
            answers = stack.enter_context(
                JournalReader(directory.journal_path, self._writer.manifest.request_digest)
            )
            judgements = stack.enter_context(JournalReader(self._path, self._owner.requests))
            yield _Opened(journal, index, answers, judgements)
            for note in journal.notes:
                self._session.events.note(note)

    # What streams need of their stage

    @property
    def answer_sources(self) -> Sequence[AnswerSource] | None:
        """Where replies may be found; None for a run that was begun with `--fresh`."""
        return None if self._writer.manifest.is_fresh else (self._sources,)

    def judgement_of(
        self, unit: CompleteUnit, opinions: Sequence[Opinion], before: UnitJudgement | None = None
    ) -> UnitJudgement:
        """Where the judgement of a unit by some stands.

        Args:
            unit: The unit.
            opinions: Those wanted.
            before: The judgement of the same conversation with fewer turns.

        Raises:
            StoreError: Its answers can't be read any more.
        """
        assert self._opened is not None
        answers = read_unit(unit, self._opened.answers, self._instances)
        if before is None:
            judgement = UnitJudgement(
                self._planned.judge,
                answers,
                opinions,
                self._stored,
                retry_unclear=self._retries_unclear,
                num_turns_to_come=unit.num_turns_to_come,
            )
        else:
            judgement = before
            judgement.go_on(answers, unit.num_turns_to_come)
        if judgement.failure is not None:
            self.unasked[unit.id] = judgement.failure
        self._begin(judgement.num_questions)
        return judgement

    def _stored(self, key: str) -> Outcome | None:
        assert self._opened is not None
        offset = self._opened.index.winners.get(key)
        return None if offset is None else self._opened.judgements.record(offset).outcome

    def _begin(self, num_questions: int) -> None:
        """Report the beginning when the first unit shows how many questions there are."""
        if self._has_begun or self._opened is None:
            return
        self._has_begun = True
        adapter_spec = self._run.run_spec.adapter_spec
        num_units = len(self._instances) * adapter_spec.num_train_trials * adapter_spec.num_trials
        num_opinions = len(self._planned.deployments) * self._planned.spec.num_opinions
        self._num_requests = num_units * num_opinions * num_questions
        num_answered = len(self._opened.index.settled)
        started = StageStarted(self._handle, self.name, self._num_requests, num_answered)
        self._session.events.emit(started)

    def keep(self, finished: Iterable[Finished]) -> None:
        """Write outcomes into the journal, then count them.

        Raises:
            StoreError: They can't be written.
        """
        assert self._opened is not None
        self._opened.journal.extend(finished)
        handlers = self._session.events.request_handlers
        for state, outcome in finished:
            cost_usd = self._tally.count(state, outcome)
            event = RequestFinished(self._handle, self.name, state.key, outcome, cost_usd)
            for handler in handlers:
                handler(event)

    def count_unknown_bill(self) -> None:
        """Count an attempt that failed and that the server may bill."""
        self._tally.count_unknown_bill()

    def settle(self, judgement: UnitJudgement, num_waiting: int = 0) -> None:
        """A unit has all its judgements of a stream, or gets no more in this start.

        Args:
            judgement: Where it stands.
            num_waiting: How many of its questions have no outcome.
        """
        counts = self._counts
        counts.num_waiting += num_waiting
        if judgement.failure is not None:
            counts.failures[JUDGE_ERROR] += 1
        for readings in judgement.readings.values():
            reasons = [each.failure.reason for each in readings.values() if each.failure is not None]
            counts.failures.update(reasons)

    def stop(self, status: RunStatus, message: str) -> None:
        """A stream could not go on; the first reason is the stage's."""
        if self.status is None:
            self.status, self.message = status, f"{self.name}: {message}"

    # How it ended

    @property
    def report(self) -> StageReport:
        """What became of the stage's requests, over all starts."""
        tally, failures = self._tally, self._counts.failures
        num_failed = failures.total()
        num_answered = tally.num_answered - failures[UNCLEAR]
        num_requests = num_answered + num_failed + self._counts.num_waiting
        if self.status is not None:
            num_requests = max(num_requests, self._num_requests)
        return StageReport(
            self.name,
            self.status or self._ending(num_failed),
            num_requests,
            num_answered,
            num_failed,
            dict(failures.most_common()),
            tally.cost_usd,
            tally.num_found.total(),
            tally.reported_usd,
            tally.num_unknown_bills,
            tally.reported_usage,
        )

    def _ending(self, num_failed: int) -> RunStatus:
        """How it ended where nothing ended it early; a stream that was not run waits for the next start."""
        if self._to_ask:
            return "interrupted"
        return "partial" if num_failed or self._counts.num_waiting else "complete"

    def _finish(self) -> None:
        self._instances = {}
        self._sources.replace(())
        notes = [*self._tally.money_notes, *self._tally.found_notes]
        for stream in self.streams:
            sender = stream.sender
            notes += [f"{stream.name}: {note}" for note in sender.notes if not sender.resident]
        self._writer.note(note for note in self._tally.money_notes)
        self._session.note(self._handle, notes)
        if not self._has_begun:
            self._has_begun = True
            self._session.events.emit(StageStarted(self._handle, self.name, 0, self._tally.num_answered))
        self._session.events.emit(StageFinished(self._handle, self.report))


def _of(name: str, opinions: Sequence[Opinion]) -> tuple[Opinion, ...]:
    """The opinions of one who judges; all of them where only one does."""
    return tuple(opinion for opinion in opinions if opinion.member in (None, name))
