"""Runs that an earlier start completed: shown, or scored by today's rules, without asking anything."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from evalkit.errors import EvalkitError, ReadOnlyError, StoreError
from evalkit.results.integrity import problems_in
from evalkit.results.manifest_writer import ManifestWriter, RunIdentity
from evalkit.results.run_directory import RunDirectory
from evalkit.results.run_result import RunResult, result_of
from evalkit.results.scores import changed_means, is_scored_by_other_rules, read_stats, score_run
from evalkit.runs.events import RunHandle
from evalkit.runs.load import load_instances
from evalkit.runs.plan import PlannedRun
from evalkit.runs.session import Session


async def result_of_complete(
    run: PlannedRun, handle: RunHandle, writer: ManifestWriter, session: Session
) -> RunResult | None:
    """The result of a run that is complete and whose files are as it left them, else None."""
    if not writer.is_complete:
        return None
    directory = writer.directory
    problems = await asyncio.to_thread(problems_in, directory, writer.manifest)
    if not problems:
        await _note_undeclared(run, handle, session)
        if not is_scored_by_other_rules(writer.manifest):
            return result_of(directory, writer.manifest, read_stats(directory))
        try:
            return await _score_again(directory, handle, session)
        except EvalkitError as error:
            problems = [str(error)]
    session.note(handle, (f"{problem}; going through the run again" for problem in problems))
    return None


async def result_of_read_only(
    directory: RunDirectory,
    identity: RunIdentity,
    handle: RunHandle,
    session: Session,
    error: ReadOnlyError,
) -> RunResult:
    """The result of a complete run in a directory that can't be written; it need not be, to be shown.

    Raises:
        ReadOnlyError: The one given; the run is not complete, or damaged.
    """
    if (result := await asyncio.to_thread(_read_unlocked, directory, identity)) is None:
        raise error
    session.note(handle, [f"{error}; shown as it is"])
    return result


def _read_unlocked(directory: RunDirectory, identity: RunIdentity) -> RunResult | None:
    with suppress(StoreError):
        manifest = directory.sound_manifest()
        is_whole = manifest is not None and manifest.status == "complete"
        if manifest is None or not is_whole or manifest.digest != identity.digest.full:
            return None
        if not problems_in(directory, manifest):
            return result_of(directory, manifest, read_stats(directory))
    return None


async def _note_undeclared(run: PlannedRun, handle: RunHandle, session: Session) -> None:
    """Note where a complete run may be one of older data: its scenario reads files that are in no digest."""
    if type(run.scenario).__module__.startswith("evalkit."):
        return
    with suppress(EvalkitError):  # its answers are all there, whatever became of its data
        loaded = await asyncio.to_thread(load_instances, run, session.context)
        session.note_loaded(handle, loaded)


async def _score_again(directory: RunDirectory, handle: RunHandle, session: Session) -> RunResult:
    """Score the stored answers of a complete run by today's rules, and say what changed."""
    before = None
    try:
        before = read_stats(directory)
    except StoreError as error:
        session.note(handle, [f"{error}; made anew from the stored answers"])
    stats = (await asyncio.to_thread(score_run, directory)).stats
    if before is not None and (changes := changed_means(before, stats)):
        rescored = "an earlier evalkit scored it; evalkit has scored its stored answers by today's rules"
        session.note(handle, [f"{rescored}: {', '.join(changes)}"])
    manifest = directory.manifest()
    assert manifest is not None
    return result_of(directory, manifest, stats)
