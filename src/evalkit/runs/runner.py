"""The story of a run: run spec → requests → responses → scores → stats.

`run_one` is the function to read. It is safe to call again after any interruption: what the journal holds is
kept, only what is owed is sent. `run_all` lets the runs of a plan overlap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial

from evalkit.errors import DataError, EvalkitError, ReadOnlyError, StoreError
from evalkit.execution.lock import RunLock
from evalkit.instance import Instance
from evalkit.plugins import described
from evalkit.redaction import without_keys
from evalkit.results.claim import claim_directory, name_runs
from evalkit.results.manifest import RunStatus
from evalkit.results.manifest_writer import ManifestWriter, RunIdentity
from evalkit.results.run_result import RunResult, result_of
from evalkit.results.scores import score_answers, write_scores
from evalkit.runs.completed import result_of_complete, result_of_read_only
from evalkit.runs.events import AnyObserver, Emitter, RunFinished, RunHandle, RunsPlanned, RunStarted
from evalkit.runs.judging import Judging
from evalkit.runs.load import LoadedRun, load_instances
from evalkit.runs.plan import Plan, PlanContext, PlannedRun
from evalkit.runs.routing import prices_of
from evalkit.runs.session import Session, open_session
from evalkit.runs.stage import AnswerStage
from evalkit.scoring.scorer import Scorer
from evalkit.specs.digest import single_request_digest

EXIT_CODES: dict[RunStatus, int] = {
    "complete": 0,
    "partial": 1,
    "stopped": 3,
    "error": 3,
    "running": 3,
    "interrupted": 130,
}


def exit_code(results: Sequence[RunResult]) -> int:
    """0 complete, 1 some requests failed, 3 something stopped a run, 130 interrupted."""
    return max((EXIT_CODES[result.status] for result in results), default=0)


async def run_all(plan: Plan, context: PlanContext, *observers: AnyObserver) -> list[RunResult]:
    """Do the runs of a plan; a run that fails does not touch the others.

    A model that is loaded into this process is loaded once, for all its runs, and let go after the last; the
    models of a plan follow one another, `max_loaded_models` at a time.

    Args:
        plan: The runs.
        context: Options, models and data.
        *observers: Hear of all events, on the event loop's thread.

    Raises:
        UsageError: A key is missing, or a budget can't be kept; nothing has been sent.
    """
    runs = [(run.name, run.digest, run.identity) for run in plan.runs]
    names = name_runs(runs, context.options.suite_path)
    events = Emitter(observers)
    for note in plan.notes:
        events.note(note)
    async with open_session(plan, names, context, events) as session:
        if context.nejumi is not None:
            context.nejumi.keep(context.options.suite_path)
        session.events.emit(RunsPlanned(tuple(session.runs)))
        working = map(partial(_run_safely, session), plan.runs, session.runs)
        # What an observer raises at the end of a run waits for the ends of the others.
        ended = await asyncio.gather(*working, return_exceptions=True)
    for each in ended:
        if isinstance(each, BaseException):
            raise each
    return [each for each in ended if isinstance(each, RunResult)]


async def _run_safely(session: Session, run: PlannedRun, handle: RunHandle) -> RunResult:
    try:
        session.events.emit(RunStarted(handle))
        result = await run_one(run, handle, session)
    except Exception as error:  # noqa: BLE001 - a bug in a plugin ends its own run, not the others
        result = RunResult(name=handle.name, status="error", message=_in_words(error))
    try:
        session.events.emit(RunFinished(handle, result))
    finally:
        await session.release_all(run)
    return result


def _in_words(error: Exception) -> str:
    """Why a run ended, in one line; of a bug in a plugin also where it is."""
    return without_keys(str(error)) if isinstance(error, EvalkitError) else described(error)


async def run_one(run: PlannedRun, handle: RunHandle, session: Session) -> RunResult:
    """Evaluate one planned run, from wherever an earlier start left it.

    Args:
        run: The run.
        handle: Its name and directory, for events.
        session: What the runs of a plan share.

    Raises:
        StoreError: The run directory is locked by another process, or damaged.
        DataError: The instances can't be made.
    """
    identity = _identity_of(run)
    answers_of = "" if run.stored is None else run.stored.directory.path.name
    directory, notes = claim_directory(
        identity, handle.path, fresh=session.context.options.fresh, answers_of=answers_of
    )
    session.note(handle, notes)
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(RunLock(directory.lock_path))
        except ReadOnlyError as error:
            return await result_of_read_only(directory, identity, handle, session, error)
        writer = ManifestWriter.open(
            directory, identity, prices_of(run), is_fresh=session.context.options.fresh
        )
        session.note(handle, writer.notes)
        if (result := await result_of_complete(run, handle, writer, session)) is not None:
            return result
        with _closed_on_error(writer, lock):
            judging = Judging(run, handle, session, writer, lock)
            stage = AnswerStage(run, handle, session, writer, lock, judging)
            async with judging.live():
                loaded = await _load_and_send(stage, writer, session)
            scorer, instances = await _answered(loaded, stage, writer)
            if judging.follows and stage.status != "interrupted":
                del loaded, scorer, instances
                await session.release_all(run, but_deferred=True)
                await judging.follow()
                scorer, instances = await asyncio.to_thread(score_answers, directory, writer.manifest)
            await asyncio.to_thread(judging.enter, scorer, instances)
            return await _close(scorer, stage, judging, writer, session)


def _identity_of(run: PlannedRun) -> RunIdentity:
    if run.digest is None or run.problem:
        raise DataError(run.problem or f"{run.name}: its data is not local")
    own_files = tuple(path.name for file in run.files() if (path := file.local_path) is not None)
    return RunIdentity(run.run_spec, run.entry, run.digest, run.identity, own_files)


@contextmanager
def _closed_on_error(writer: ManifestWriter, lock: RunLock) -> Iterator[None]:
    """Let the manifest say why a run ended, as long as its directory is still ours."""
    try:
        yield
    except Exception as error:
        with suppress(StoreError):
            lock.check()
            writer.close("error", _in_words(error))
        raise


async def _load_and_send(stage: AnswerStage, writer: ManifestWriter, session: Session) -> LoadedRun:
    """Send what a run owes, phase by phase; between two phases it holds no instances."""
    loaded: LoadedRun | None = None
    asked = single_request_digest(stage.run.identity)
    for members in session.phases(stage.run):
        loaded = None
        # Runs that may ask the same follow each other: the later ones find the answers of those before. And
        # runs of one deployment take turns at submitting requests: few hold instances in memory.
        async with session.request_locks[asked, members], stage.feed_lock(members) as feed_lock:
            loaded = await _load(stage.run, stage.handle, writer, session)
            await stage.send(loaded, members, feed_lock)
        if stage.status == "interrupted":
            break
    assert loaded is not None
    return loaded


async def _load(run: PlannedRun, handle: RunHandle, writer: ManifestWriter, session: Session) -> LoadedRun:
    if run.stored is not None:
        return await asyncio.to_thread(run.stored.load, run)
    loaded = await asyncio.to_thread(load_instances, run, session.context)
    session.note_loaded(handle, loaded)
    writer.note(loaded.unverified)
    return loaded


async def _answered(
    loaded: LoadedRun, stage: AnswerStage, writer: ManifestWriter
) -> tuple[Scorer, Sequence[Instance]]:
    """The scorer, when it has seen all answers; their scores are written, whatever judges have yet to say."""
    scorer = await stage.finish()
    if stage.status is None and not writer.num_owed and (number := scorer.n_contradictory):
        message = f"the answers to the parts of {number} units contradict each other"
        stage.status, stage.message = "partial", message
    writer.directory.write_instances(loaded.instances)  # should they have been removed meanwhile
    if stage.run.judges:
        await asyncio.to_thread(write_scores, writer.directory, scorer)
    return scorer, loaded.instances


async def _close(
    scorer: Scorer, stage: AnswerStage, judging: Judging, writer: ManifestWriter, session: Session
) -> RunResult:
    """Write scores, stats and manifest; the counts say how the run ended where no stage does."""
    directory = writer.directory
    status, message = stage.status, stage.message
    if status is None:
        status, message = judging.ending
    stats = await asyncio.to_thread(write_scores, directory, scorer)
    session.note(stage.handle, scorer.remarks())
    stages = (stage.report, *judging.reports)
    manifest = writer.close(status, message, scorer.unscored, stages if judging.has_judges else ())
    failures = writer.tally.failures_by_reason()
    return replace(result_of(directory, manifest, stats), failures=failures, stages=stages)
