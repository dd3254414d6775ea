"""A stage turns requests into one journal: it sends what is owed, keeps each outcome, then scores it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from evalkit.errors import EvalkitError, SystemicError
from evalkit.execution.executor import Finished, Stream
from evalkit.execution.feed_lock import FeedLock
from evalkit.execution.journal import Journal, open_synced
from evalkit.execution.journal_index import JournalIndex, scan_journal
from evalkit.execution.journal_line import JournalOwner
from evalkit.execution.journal_source import JournalSource
from evalkit.execution.lock import RunLock
from evalkit.execution.routed_stream import RoutedStream
from evalkit.models.routed import RoutedDeployment
from evalkit.reports.run_groups import main_score
from evalkit.response import Response
from evalkit.results.integrity import units_of
from evalkit.results.manifest import RunStatus
from evalkit.results.manifest_writer import ManifestWriter
from evalkit.results.run_result import ANSWERS, StageReport
from evalkit.results.scores import make_scorer
from evalkit.runs.events import RequestFinished, RunHandle, Scored, StageFinished, StageStarted
from evalkit.runs.judging import Judging
from evalkit.runs.load import LoadedRun
from evalkit.runs.plan import PlannedRun
from evalkit.runs.request_source import RequestSource
from evalkit.runs.routing import Routing
from evalkit.runs.session import Session
from evalkit.runs.stored_answers import CopyStream
from evalkit.scoring.score_feed import ScoreFeed
from evalkit.scoring.scorer import Scorer
from evalkit.specs.digest import request_part

_WHAT_NOW = {
    True: "its request is asked again, unless another line answers it",
    False: "the journal has another",
}
"""What becomes of a damaged line: one of a request, or a header."""


class AnswerStage:
    """The answers of one run.

    Args:
        run: The run.
        handle: Its name and directory, for events.
        session: Its executors, its scoring thread, and where events are reported.
        writer: Counts what the stage has, in the run's manifest.
        lock: Of the run's directory.
        judging: Takes the units that are complete.

    Attributes:
        run: As given.
        handle: As given.
        status: How the sending ended; None where the counts say it.
        message: Why, in words.
    """

    def __init__(
        self,
        run: PlannedRun,
        handle: RunHandle,
        session: Session,
        writer: ManifestWriter,
        lock: RunLock,
        judging: Judging,
    ) -> None:
        self.run, self.handle = run, handle
        self.status: RunStatus | None = None
        self.message = ""
        self._session, self._writer, self._lock, self._judging = session, writer, lock, judging
        manifest = writer.manifest
        self._owner = owner = JournalOwner(manifest.request_digest, request_part(manifest.identity))
        self._executors = {member.name: session.executors[member.name] for member in run.members}
        self._routing: Routing | None = None
        if isinstance(run.deployment, RoutedDeployment):
            self._routing = Routing(run.deployment, writer.directory.routes_path, owner.requests)
        self._to_ask, self._is_settled = set(self._executors), True
        self._has_begun = False
        self._events = session.events
        self._feed: ScoreFeed | None = None
        self._is_over = False

    def feed_lock(self, members: Sequence[str]) -> FeedLock:
        """The lock under which instances are loaded for these deployments: that of the first."""
        return self._executors[members[0]].feed_lock() if members else FeedLock(asyncio.Lock())

    async def send(self, loaded: LoadedRun, members: Sequence[str], feed_lock: FeedLock) -> None:
        """Send what the journal does not answer, until all is answered, has failed, or sending is stopped.

        Args:
            loaded: The run's instances.
            members: Those who answer now; the others have done so, or will in a later call.
            feed_lock: That of the first of them.

        Raises:
            StoreError: The journal can't be written.
            DataError: A request can't be made.
        """
        journal_path = self._writer.directory.journal_path
        async with (
            self._reported(),
            open_synced(journal_path, self._owner, self._lock.check) as journal,
            AsyncExitStack() as stack,
        ):
            index = await self._read_journal(loaded)
            if not self._has_begun:
                self._has_begun = True
                started = StageStarted(self.handle, ANSWERS, loaded.num_requests, len(index.settled))
                self._events.emit(started)
            self._feed = feed = self._score_feed(loaded, index)
            sources = await self._open_sources(stack)
            stream = self._open_stream(loaded, index, members, feed_lock, sources)
            handlers = self._events.request_handlers
            try:
                async for finished in stream.batches():
                    self._judging.take(finished, journal.extend(finished))
                    if loaded.adapter.has_turns:
                        _go_on(loaded, stream, finished)
                    for state, outcome in finished:
                        cost_usd = self._writer.count(state, outcome)
                        await feed.add(state, outcome)
                        if handlers:
                            event = RequestFinished(self.handle, ANSWERS, state.key, outcome, cost_usd)
                            for handler in handlers:
                                handler(event)
            except SystemicError as error:
                self.status, self.message = "stopped", str(error)
            finally:
                feed.close()
            self._to_ask.difference_update(members)
            self._is_settled = self._is_settled and stream.is_complete
            if loaded.adapter.has_turns and self._is_settled and not self._to_ask:
                self._writer.settle()
            self._set_status()
            if not self._has_ended:
                # A later phase reads all of it again; until then nothing holds the instances.
                await feed.finish()
                self._feed = None
        self._report(journal, members)

    def _open_stream(
        self,
        loaded: LoadedRun,
        index: JournalIndex,
        members: Sequence[str],
        feed_lock: FeedLock,
        sources: Sequence[JournalSource] | None,
    ) -> Stream | RoutedStream | CopyStream:
        if (stored := self.run.stored) is not None:
            return stored.open_stream(self.run, loaded.instances, index.settled)
        on_unknown_bill = self._writer.tally.count_unknown_bill
        if self._routing is None:
            (executor,) = self._executors.values()
            return executor.open_stream(loaded.owed(index), feed_lock, on_unknown_bill, sources)
        streams = {}
        for name in members:
            owed = self._routing.owed(loaded, name, index)
            # Waiting for all locks at once could be for ever: each stream waits for its own.
            lock = feed_lock if name == members[0] else None
            streams[name] = self._executors[name].open_stream(owed, lock, on_unknown_bill, sources)
        return RoutedStream(streams, partial(self._session.release_member, self.run))

    @property
    def _has_ended(self) -> bool:
        """Whether no phase will follow."""
        return self._is_over or not self._to_ask or self.status == "interrupted"

    @property
    def report(self) -> StageReport:
        """What became of the stage's requests, over all starts."""
        return self._writer.stage_report(ANSWERS, self.status)

    @asynccontextmanager
    async def _reported(self) -> AsyncIterator[None]:
        """Report how the stage ended, also where an error ends it; nothing where it did not begin."""
        try:
            yield
        except Exception:
            self.status, self._is_over = "error", True
            raise
        finally:
            if self._has_begun and self._has_ended:
                self._events.emit(StageFinished(self.handle, self.report))

    async def finish(self) -> Scorer:
        """The scorer, when it has seen every outcome.

        Raises:
            Exception: What scoring has raised.
        """
        assert self._feed is not None
        try:
            await self._feed.finish()
        finally:
            self._is_over = True
        if self._routing is not None:
            await asyncio.to_thread(self._routing.keep)
        return self._feed.scorer

    async def _read_journal(self, loaded: LoadedRun) -> JournalIndex:
        """What is answered already; the manifest begins with it."""
        directory, writer = self._writer.directory, self._writer
        units = units_of(self.run.run_spec, loaded.instances)
        index = await asyncio.to_thread(scan_journal, directory.journal_path, self._owner.requests, units)
        lost: list[str] = []
        if self._routing is not None:
            lost = await asyncio.to_thread(self._routing.prepare, loaded.instances, index)
        if self._has_begun:
            return index  # an earlier phase has said all this
        for damage in index.damage:
            what_now = _WHAT_NOW[damage.kind != "header"]
            self._events.note(f"{directory.journal_path}: {damage}; {what_now}")
        # The first start has none to lose.
        for note in lost if writer.manifest.starts else ():
            self._events.note(note)
        directory.write_instances(loaded.instances)
        writer.begin(len(loaded.instances), loaded.num_requests, index)
        await self._judging.begin(loaded.instances, index)
        return index

    async def _open_sources(self, stack: AsyncExitStack) -> list[JournalSource] | None:
        """Journals of other runs that may have answers to what is owed; `stack` closes them.

        None for a run that was begun with `--fresh`: no source is asked, the cache included.
        """
        if self._writer.manifest.is_fresh:
            return None
        prior_runs, digest = self._session.prior_runs, self.run.digest
        if prior_runs is None or digest is None or not self._writer.num_owed:
            return []
        path = self._writer.directory.path
        sources = await asyncio.to_thread(prior_runs.sources, path, self.run.identity, digest.full)
        for source in sources:
            stack.callback(source.close)
        return sources

    def _score_feed(self, loaded: LoadedRun, index: JournalIndex) -> ScoreFeed:
        scorer = make_scorer(self.run.run_spec, loaded.instances)
        feed = ScoreFeed(scorer, self._session.scoring, self._emit_scores)
        feed.add_journal(self._writer.directory.journal_path, index)
        return feed

    def _set_status(self) -> None:
        if self._writer.num_owed == 0:
            self.status = None
        elif self.status is None and any(each.sender.interrupted for each in self._executors.values()):
            self.status, self.message = "interrupted", "the same command goes on from here"
        elif self.status is None and self._writer.all_failed:
            # However few there are: the executor itself gives up only after some.
            failure = self._writer.tally.last_failure
            self.status = "stopped"
            self.message = f"{self.run.deployment.name} answered no request; last error {failure}"

    def _report(self, journal: Journal, members: Sequence[str]) -> None:
        money = self._writer.tally.money_notes
        kept: list[str] = []
        told: list[str] = []
        for name in members:
            sender = self._executors[name].sender
            notes = sender.notes if self._routing is None else [f"{name}: {note}" for note in sender.notes]
            kept += notes
            # What is known of a model on this machine was said when it was loaded.
            told += [] if sender.resident else notes
        self._writer.note((*kept, *money))
        self._session.note(self.handle, (*told, *money))
        self._session.note(self.handle, self._writer.tally.found_notes)
        for note in journal.notes:
            self._events.note(note)

    def _emit_scores(self, scorer: Scorer) -> None:
        """Report the means so far, the main score first; no more once the stage is over."""
        if self._is_over:
            return
        scores = scorer.progress
        if (main := main_score(self.run.run_spec.groups, scores)) is not None:
            scores = {main: scores[main], **scores}
        self._events.emit(Scored(self.handle, scorer.n_scored, scores))


def _go_on(
    source: RequestSource, stream: Stream | RoutedStream | CopyStream, finished: Iterable[Finished]
) -> None:
    """Ask what follows from answers that are in the journal.

    What the source raises ends the stream when everything in flight has finished and is in the journal too.
    """
    for state, outcome in finished:
        if isinstance(outcome, Response):
            try:
                stream.push(*source.after(state, outcome))
            except EvalkitError as error:
                stream.fail(error)
