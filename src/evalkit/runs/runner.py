"""The story of a run: run spec → requests → responses → scores → stats.

`run_one` is the function to read. It is safe to call again after any interruption: what the journal holds is
kept, only what is owed is sent. `evalkit.runs.session` lets the runs of a plan overlap.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from evalkit.errors import DataError, EvalkitError, ReadOnlyError, StoreError, SystemicError
from evalkit.execution.executor import Executor
from evalkit.execution.journal import open_synced
from evalkit.execution.journal_index import scan_journal
from evalkit.execution.journal_line import Owner
from evalkit.execution.lock import RunLock
from evalkit.instance import Instance
from evalkit.reports.run_groups import main_score
from evalkit.results.claim import claim_directory
from evalkit.results.integrity import complaints, units_of
from evalkit.results.manifest import RunStatus
from evalkit.results.manifest_writer import ManifestWriter, RunIdentity
from evalkit.results.run_directory import RunDirectory
from evalkit.results.run_result import RunResult, result_of
from evalkit.results.scores import (
    changed_means,
    is_scored_by_other_rules,
    make_scorer,
    read_stats,
    score_run,
    write_scores,
)
from evalkit.runs.events import Observer
from evalkit.runs.load import LoadedRun, load_instances
from evalkit.runs.plan import PlanContext, PlannedRun
from evalkit.scoring.score_feed import ScoreFeed
from evalkit.scoring.scorer import Scorer

_WHAT_NOW = {
    True: "its request is asked again, unless another line answers it",
    False: "the journal has another",
}
"""What becomes of a damaged line: one of a request, or a header."""


@dataclass(frozen=True, slots=True)
class Session:
    """What runs share: one executor per deployment, one scoring thread, one observer.

    Attributes:
        paths: The directory of each run, by its digest.
        twins: By name and digest of the requests: held by the one run that asks them at the moment.
    """

    context: PlanContext
    executors: Mapping[str, Executor]
    scoring: ThreadPoolExecutor
    observer: Observer
    paths: Mapping[str, Path]
    twins: defaultdict[tuple[str, str], asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )
    _told: set[str] = field(default_factory=set)

    def tell_notes(self, name: str, loaded: LoadedRun) -> None:
        """Tell what there is to say of a run's instances; of data that many runs share, once."""
        for note in loaded.notes:
            if note not in loaded.unverified:
                self.observer.note(f"{name}: {note}")
            elif note not in self._told:
                self._told.add(note)
                self.observer.note(note)


async def run_one(run: PlannedRun, session: Session) -> RunResult:
    """Evaluate one planned run, from wherever an earlier start left it.

    Raises:
        StoreError: The run directory is locked by another process, or damaged.
        DataError: The instances can't be made.
    """
    if run.digest is None or run.problem:
        raise DataError(run.problem or f"{run.name}: its data is not local")
    # Runs that differ only in their metrics follow each other: the later ones take over the answers.
    async with session.twins[run.name, run.digest.requests]:
        own_files = tuple(path.name for file in run.files() if (path := file.local_path) is not None)
        run_identity = RunIdentity(run.run_spec, run.entry, run.digest, run.identity, own_files)
        return await _claim_and_work(run, run_identity, session)


async def _claim_and_work(run: PlannedRun, run_identity: RunIdentity, session: Session) -> RunResult:
    options = session.context.options
    path = session.paths[run_identity.digest.full]
    directory, notes = claim_directory(run_identity, path, fresh=options.fresh)
    for note in notes:
        session.observer.note(f"{path.name}: {note}")
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(RunLock(directory.lock_path))
        except ReadOnlyError as error:
            # A complete run need not be written to, to be shown.
            if (shown := await asyncio.to_thread(_shown_unlocked, directory, run_identity)) is None:
                raise
            session.observer.note(f"{path.name}: {error}; shown as it is")
            return shown
        writer = ManifestWriter.open(directory, run_identity, run.deployment.prices)
        for note in writer.notes:
            session.observer.note(f"{path.name}: {note}")
        if writer.is_complete:
            found = await asyncio.to_thread(complaints, directory, writer.manifest)
            if not found:
                await _tell_undeclared(run, path.name, session)
                if not is_scored_by_other_rules(writer.manifest):
                    return result_of(directory, writer.manifest, read_stats(directory))
                try:
                    return await _score_anew(directory, session)
                except EvalkitError as error:
                    found = [str(error)]
            for note in found:
                session.observer.note(f"{path.name}: {note}; going through the run again")
        try:
            return await _work(run, session, writer, run_identity.owner, lock)
        except (StoreError, DataError) as error:
            with suppress(StoreError):
                lock.check()
                writer.close("error", str(error))
            raise


def _shown_unlocked(directory: RunDirectory, run_identity: RunIdentity) -> RunResult | None:
    """The result of a complete run whose files are as it left them, without touching them; else None."""
    try:
        manifest = directory.sound_manifest()
        if manifest is None or manifest.status != "complete" or manifest.digest != run_identity.digest.full:
            return None
        return (
            None if complaints(directory, manifest) else result_of(directory, manifest, read_stats(directory))
        )
    except StoreError:
        return None


async def _tell_undeclared(run: PlannedRun, name: str, session: Session) -> None:
    """Note where a complete run may be one of older data: its scenario reads files that are in no digest."""
    if type(run.scenario).__module__.startswith("evalkit."):
        return
    with suppress(EvalkitError):  # its answers are all there, whatever became of its data
        loaded = await asyncio.to_thread(load_instances, run, session.context)
        session.tell_notes(name, loaded)


async def _score_anew(directory: RunDirectory, session: Session) -> RunResult:
    """Score the stored answers of a complete run by today's rules, and tell what changed."""
    name, before = directory.path.name, None
    try:
        before = read_stats(directory)
    except StoreError as error:
        session.observer.note(f"{name}: {error}; made anew from the stored answers")
    stats = (await asyncio.to_thread(score_run, directory)).stats
    if before is not None and (changes := changed_means(before, stats)):
        session.observer.note(
            f"{name}: an earlier evalkit scored it; its stored answers, scored by today's rules: "
            f"{', '.join(changes)}"
        )
    manifest = directory.manifest()
    assert manifest is not None
    return result_of(directory, manifest, stats)


async def _work(
    run: PlannedRun, session: Session, writer: ManifestWriter, owner: Owner, lock: RunLock
) -> RunResult:
    directory, executor = writer.directory, session.executors[run.deployment.name]
    name = directory.path.name
    status: RunStatus | None = None
    message = ""
    # Runs of one deployment take turns at handing over requests, so that few hold their instances in memory.
    async with (
        executor.feed_lock() as feed_lock,
        open_synced(directory.journal_path, owner, lock.check) as journal,
    ):
        loaded = await asyncio.to_thread(load_instances, run, session.context)
        session.tell_notes(name, loaded)
        units = units_of(run.run_spec, loaded.instances)
        index = await asyncio.to_thread(scan_journal, directory.journal_path, owner.requests, units)
        for damage in index.damage:
            session.observer.note(f"{directory.journal_path}: {damage}; {_WHAT_NOW[damage.kind != 'header']}")
        directory.write_instances(loaded.instances)
        writer.note(loaded.unverified)
        writer.begin(len(loaded.instances), loaded.num_requests, index)
        settled = index.settled
        session.observer.opened(name, loaded.num_requests, len(settled))

        scorer = make_scorer(run.run_spec, loaded.instances)
        feed = ScoreFeed(
            scorer, session.scoring, partial(_tell_scores, session.observer, name, run.run_spec.groups)
        )
        feed.add_journal(directory.journal_path, index)
        try:
            async for finished in executor.batches(
                loaded.requests(settled), feed_lock, writer.count_unknown_bill
            ):
                journal.extend(finished)
                for state, outcome in finished:
                    cost_usd = writer.count(state.key, outcome)
                    await feed.add(state, outcome)
                    session.observer.finished_request(name, outcome, cost_usd)
        except SystemicError as error:
            status, message = "stopped", str(error)
        finally:
            feed.close()
        if writer.num_owed == 0:
            status = None
        elif status is None and executor.interrupted:
            status, message = "interrupted", "the same command goes on from here"
        elif status is None and writer.all_failed:
            # However few there are: the executor itself gives up only after some.
            status = "stopped"
            message = f"{run.deployment.name} answered no request; last error {writer.last_failure}"
    writer.note((*executor.notes, *writer.money_notes))
    # What is known of a model on this machine was said when it was loaded.
    known = [] if executor.resident else [f"{name}: {note}" for note in executor.notes]
    money = [f"{name}: {note}" for note in writer.money_notes]
    for note in (*known, *money, *journal.notes):
        session.observer.note(note)
    await feed.finish()
    return await _finish(run, session, writer, loaded.instances, scorer, (status, message))


async def _finish(
    run: PlannedRun,
    session: Session,
    writer: ManifestWriter,
    instances: Sequence[Instance],
    scorer: Scorer,
    verdict: tuple[RunStatus | None, str],
) -> RunResult:
    """Write scores, stats and manifest; the verdict is a status, None if the counts say it, and why."""
    directory, (status, message) = writer.directory, verdict
    if status is None and not writer.num_owed and (number := scorer.n_contradictory):
        status, message = "partial", f"the answers to the parts of {number} units contradict each other"
    directory.write_instances(instances)  # should they have been removed meanwhile
    for remark in scorer.remarks():
        session.observer.note(f"{run.name}: {remark}")
    stats = await asyncio.to_thread(write_scores, directory, scorer)
    manifest = writer.close(status, message, scorer.num_unscored)
    result = result_of(directory, manifest, stats)
    return replace(result, failures=writer.failures_by_reason())


def _tell_scores(observer: Observer, name: str, groups: Sequence[str], scorer: Scorer) -> None:
    """Tell the observer the means so far, the one that stands for the run first."""
    scores = scorer.progress
    if (main := main_score(groups, scores)) is not None:
        scores = {main: scores[main], **scores}
    observer.scored(name, scorer.n_scored, scores)
