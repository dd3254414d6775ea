"""Events of runs that ended before, made from their directories: for trackers that were not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from evalkit.errors import StoreError
from evalkit.execution.journal_index import scan_journal
from evalkit.results.run_directory import RunDirectory
from evalkit.results.run_result import ANSWERS, result_of
from evalkit.results.stored_run import StoredRun
from evalkit.runs.events import Event, RunFinished, RunHandle, RunStarted, StageFinished


def stored_events(path: Path) -> Iterator[tuple[Event, float]]:
    """The beginning of a run, the reports of its stages, and its end, each with its time in Unix seconds.

    Args:
        path: The run's directory.

    Raises:
        StoreError: There is no run, or it has not ended.
        DamageError: It is damaged.
    """
    run = StoredRun.open(path)
    manifest = run.manifest
    if manifest.status == "running":
        raise StoreError(
            f"{path.name} has not ended: it goes on, or it was killed; the same `evalkit run` finishes it"
        )
    result = result_of(run.directory, manifest, run.stats)
    if manifest.counts.get("num_failed"):
        failed = scan_journal(run.directory.journal_path).failures.values()
        failures = dict(Counter(failure.reason for failure in failed).most_common())
        stages = tuple(
            replace(stage, failures=failures) if stage.stage == ANSWERS else stage for stage in result.stages
        )
        result = replace(result, failures=failures, stages=stages)
    spec = run.run_spec
    deployment = spec.adapter_spec.model_deployment or spec.adapter_spec.model
    handle = RunHandle(path.name, path, spec.name, manifest.digest, deployment)
    ended_at = _unix_s(manifest.finished_at, run.directory)
    yield RunStarted(handle), _unix_s(manifest.started_at, run.directory)
    for stage in result.stages:
        yield StageFinished(handle, stage), ended_at
    yield RunFinished(handle, result), ended_at


def _unix_s(text: str, directory: RunDirectory) -> float:
    """A time of the manifest; where it has none, the time at which the manifest was written."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return (directory.path / "manifest.json").stat().st_mtime
