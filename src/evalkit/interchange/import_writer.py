"""A run of another harness in evalkit's terms, and how it becomes a run directory.

A reader (`helm_import`, `lm_eval_import`, `inspect_import`) makes an `ImportedRun`; `keep_run` writes it:

    run_spec.json, manifest.json, instances.jsonl, journal.jsonl, scores.jsonl, stats.json   as for any run
    imported/source.json        where it came from
    imported/<document>.json    the other harness's own summary files, as they were
    imported/leftovers.jsonl    per request or instance, what has no place in a run directory
    imported/stats.jsonl        numbers over the whole run that no score per instance stands behind
    imported/differences.jsonl  scores that come out differently here than they were given
    imported/missing.jsonl      scores that were given for units of which nothing else came along

Scores whose metric is known here are computed anew; all others are carried over by the metric `carried_over`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from evalkit.codec import decode, encode, spell_numbers
from evalkit.errors import EvalkitError, StoreError
from evalkit.instance import Instance
from evalkit.interchange.comparison import (
    carry_numbers,
    find_differences,
    note_lacking_scores,
    note_missing_units,
    uncompared,
)
from evalkit.interchange.foreign_shapes import reading
from evalkit.interchange.imported_run import ImportedRun, UnitKey
from evalkit.interchange.staging import staging
from evalkit.metrics.carried import CARRIED_SCORES, carried_key
from evalkit.registry import METRICS
from evalkit.results.directory_choice import choose_directory, set_aside
from evalkit.results.integrity import changed_files, reseal
from evalkit.results.manifest import RunStatus
from evalkit.results.manifest_writer import RunIdentity
from evalkit.results.run_directory import RunDirectory, write_json, write_lines
from evalkit.scoring.metric import Metric, build_metric
from evalkit.specs.digest import identity, run_digest
from evalkit.specs.run_spec import MetricSpec, RunSpec

# How other harnesses' files are read. Raise it when what was imported before is to be imported anew.
_RULES = "3"
_MOST_EMPTY_UNITS = 10_000
_MOST_UNITS_PER_REQUEST = 100
_MOST_REPETITIONS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of one imported run.

    Attributes:
        already_there: An earlier import of the same content; nothing was written.
        recomputed: Metrics computed anew from the answers.
        carried: Scores taken over as they were given.
        num_scores_compared: Scores of units that were given and are computed anew.
        differences: Scores that come out differently here: name to number of instances.
        leftovers: What is kept under `imported/` only: field to how often.
        failed: Requests without an answer.
        num_compared: Numbers over the whole run that were compared with those that come out here.
        num_different: Those of them that come out differently.
        num_carried: Numbers over the whole run that were taken over as they were given.
        uncompared: Scores of which the source gives no number over the whole run.
        missing: Units of which the source has scores and nothing else; they are not in the numbers here.
    """

    path: Path
    already_there: bool = False
    recomputed: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()
    num_scores_compared: int = 0
    differences: Mapping[str, int] = field(default_factory=dict)
    leftovers: Mapping[str, int] = field(default_factory=dict)
    failed: int = 0
    num_compared: int = 0
    num_different: int = 0
    num_carried: int = 0
    uncompared: tuple[str, ...] = ()
    missing: int = 0
    notes: tuple[str, ...] = ()


def keep_run(run: ImportedRun, suite_path: Path) -> ImportReport:
    """Write an imported run into a suite and score it; `keep_runs` for one."""
    return keep_runs([run], suite_path)[0]


def keep_runs(runs: Iterable[ImportedRun], suite_path: Path) -> list[ImportReport]:
    """Write imported runs into a suite and score them: all of them, or none.

    Args:
        runs: The runs of one file; read while they are written.
        suite_path: The suite.

    Raises:
        StoreError: One of them can't be read, or the suite can't be written. Nothing of them is there then.
        UsageError: A run's parts contradict each other (two instances of one id). Likewise.
    """
    with staging(suite_path) as folder:
        made = [_keep(run, folder / str(position), suite_path) for position, run in enumerate(runs)]
        return [_moved(report, suite_path, subject) for report, subject in made]


def _moved(report: ImportReport, suite_path: Path, subject: RunIdentity) -> ImportReport:
    """Move a run that is whole to its place in the suite."""
    if report.already_there:
        return report
    choice = choose_directory(suite_path, subject.run_spec.name, subject.digest, subject.identity)
    target, notes = choice.directory.path, report.notes
    if target.exists() and _is_whole(choice.directory):
        if _is_current(choice.directory):  # the same run twice in one import
            return ImportReport(target, already_there=True)
        notes = (*notes, "an earlier evalkit imported it by other rules; evalkit has imported it again")
    if target.exists():
        # What an earlier evalkit left of a failed import, or what was damaged since.
        notes = (*notes, f"what was there is set aside as {set_aside(choice.directory)}")
    report.path.rename(target)
    return replace(report, path=target, notes=notes)


def _is_whole(directory: RunDirectory) -> bool:
    manifest = directory.sound_manifest()
    if manifest is None:
        return False
    if manifest.files:
        return not changed_files(directory, manifest)
    return (directory.path / "stats.json").exists()


def _is_current(directory: RunDirectory) -> bool:
    """Whether a run was imported by today's rules: those before compared no numbers over the whole run."""
    try:
        source = decode((directory.imported_path / "source.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(source, dict) and source.get("rules") == _RULES


def _keep(run: ImportedRun, path: Path, suite_path: Path) -> tuple[ImportReport, RunIdentity]:
    """Write a run into a folder, unless the suite has it; and what it is."""
    with reading(f"{run.source.harness} run {run.source.run}", run.source.harness):
        _check_settings(run)
        return _written(run, path, suite_path)


def _check_settings(run: ImportedRun) -> None:
    """Refuse a run in which there is room for far more answers than it has, or that can't be read again."""
    spec = run.run_spec.adapter_spec
    trials, samples = (min(n, _MOST_REPETITIONS) for n in (spec.num_train_trials, spec.num_trials))
    num_units = len(run.instances) * trials * samples
    if num_units > max(_MOST_EMPTY_UNITS, _MOST_UNITS_PER_REQUEST * len(run.records)):
        raise StoreError(
            f"{run.source.run} has {len(run.records)} requests and claims {num_units:,} units or more "
            f"({len(run.instances)} instances, {trials:,} train trials, {samples:,} repetitions): its "
            "settings are damaged"
        )
    # What JSON has no form for (an infinite temperature) would be written and not read again.
    RunSpec.model_validate(decode(encode(run.run_spec.model_dump(mode="json"))))


def _written(run: ImportedRun, path: Path, suite_path: Path) -> tuple[ImportReport, RunIdentity]:
    run_spec, recomputed, carried = _with_metrics(run)
    covered = identity(run_spec, deployment_identity={}, data_digest=None, versions={})
    covered["imported"] = {
        "harness": run.source.harness,
        "run": run.source.run,
        "sha256": run.source.sha256,
    }
    subject = RunIdentity(
        run_spec, f"import {run.source.harness} {run.source.run}", run_digest(covered), covered
    )
    choice = choose_directory(suite_path, run_spec.name, subject.digest, covered)
    if choice.exists and _is_whole(choice.directory) and _is_current(choice.directory):
        return ImportReport(choice.directory.path, already_there=True), subject
    directory = RunDirectory(path)
    path.mkdir()
    _write_leftovers(directory, run)
    missing = note_missing_units(directory, run)
    note_lacking_scores(run, carried)
    failed = _write_run(directory, subject, run, carried)
    numbers = carry_numbers(directory, run)
    differences = find_differences(directory, run.given, carried)
    if differences.rows:
        write_lines(directory.imported_path / "differences.jsonl", differences.rows)
    reseal(directory)
    report = ImportReport(
        path=directory.path,
        recomputed=recomputed,
        carried=carried,
        num_scores_compared=differences.num_compared,
        differences=Counter(row["metric"] for row in differences.rows),
        leftovers=Counter(name for one in run.leftovers for name in one if name not in _PLACE),
        failed=failed,
        num_compared=run.num_compared,
        num_different=run.num_different,
        num_carried=len(numbers),
        uncompared=uncompared(directory, run),
        missing=missing,
        notes=tuple(run.notes),
    )
    return report, subject


_PLACE = frozenset(("key", "instance_id", "trial", "sample", "perturbation", "filter"))


def _with_metrics(run: ImportedRun) -> tuple[RunSpec, tuple[str, ...], tuple[str, ...]]:
    """The run spec with the metrics that work here and `carried_over` for the rest; and both lists."""
    usable: list[MetricSpec] = []
    made_here: set[str] = set()
    for spec in run.run_spec.metric_specs:
        metric = _usable_metric(spec, run) if run.instances else None
        if metric is not None and (metric.names or metric.run_level_names):
            usable.append(spec)
            made_here.update(metric.names)
    given = {name for scores in run.given.values() for name in scores} if run.instances else set()
    carried = tuple(sorted(given - made_here))
    specs = list(usable)
    if carried:
        specs.append(MetricSpec(name="carried_over", args={"names": list(carried)}))
    run_spec = run.run_spec.model_copy(update={"metric_specs": tuple(specs)})
    return run_spec, tuple(spec.name for spec in usable), carried


def _usable_metric(spec: MetricSpec, run: ImportedRun) -> Metric | None:
    """The metric, if it is known here and can score every instance."""
    if spec.name not in METRICS:
        return None
    try:
        metric = build_metric(spec, run.run_spec.adapter_spec)
        for instance in run.instances:
            metric.check(instance)
    except EvalkitError as error:
        run.notes.append(f"{spec.name} is carried over, not computed anew: {error}")
        return None
    return metric


def _write_run(
    directory: RunDirectory, subject: RunIdentity, run: ImportedRun, carried: tuple[str, ...]
) -> int:
    """Journal, instances, scores and manifest; returns how many requests have no answer."""
    from evalkit.execution.journal import Journal
    from evalkit.execution.journal_index import scan_journal
    from evalkit.results.manifest_writer import ManifestWriter
    from evalkit.results.scores import score_run

    with Journal.open(directory.journal_path, subject.owner) as journal:
        for state, outcome in run.records:
            journal.append(state, outcome)
    ledger = ManifestWriter.open(directory, subject, {})
    index = scan_journal(directory.journal_path)
    if run.instances:
        directory.write_instances(list(_with_scores(run.instances, run.given, set(carried))))
    ledger.begin(len(run.instances), len({state.key for state, _ in run.records}), index)
    if not run.instances:
        directory.write_stats(())
        status: RunStatus | None = "partial" if run.is_partial else None
        message = "numbers only: the import had no samples"
        return ledger.close(status, message).counts["num_failed"]
    unscored = score_run(directory).unscored
    if run.is_partial:
        message = "a part of the source is missing here; see the notes of the import"
        return ledger.close("partial", message, unscored).counts["num_failed"]
    return ledger.close(unscored=unscored).counts["num_failed"]


def _with_scores(
    instances: Iterable[Instance], given: Mapping[UnitKey, Mapping[str, float]], carried: set[str]
) -> Iterator[Instance]:
    """The instances with the scores to carry over in their `extra`."""
    by_copy: dict[tuple[str, str | None], dict[str, dict[str, float]]] = {}
    for unit, scores in given.items():
        if kept := {name: value for name, value in scores.items() if name in carried}:
            units = by_copy.setdefault((unit.instance_id, unit.perturbation), {})
            units[carried_key(unit.trial, unit.sample)] = kept
    for instance in instances:
        units = by_copy.get((str(instance.id), instance.perturbation_label), {})
        extra = {**(instance.extra or {}), CARRIED_SCORES: units} if units else instance.extra
        yield replace(instance, extra=extra)


def _write_leftovers(directory: RunDirectory, run: ImportedRun) -> None:
    folder = directory.imported_path
    folder.mkdir(parents=True, exist_ok=True)
    source = run.source
    write_json(
        folder / "source.json",
        {
            "harness": source.harness,
            "run": source.run,
            "path": source.path,
            "sha256": source.sha256,
            "rules": _RULES,
        },
    )
    for name, document in run.documents.items():
        write_json(folder / f"{name}.json", spell_numbers(document))
    if run.leftovers:
        write_lines(folder / "leftovers.jsonl", map(spell_numbers, run.leftovers))
