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

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from evalkit.codec import decode, encode, spell_numbers
from evalkit.errors import EvalkitError, StoreError
from evalkit.instance import Instance
from evalkit.interchange.foreign_shapes import reading
from evalkit.interchange.staging import staging
from evalkit.metrics.carried import CARRIED_SCORES, carried_key
from evalkit.metrics.metric import Metric, build_metric
from evalkit.metrics.stat import Stat, StatPerturbation
from evalkit.registry import METRICS
from evalkit.request import RequestState
from evalkit.response import Outcome
from evalkit.results.choice import choose_directory, set_aside
from evalkit.results.integrity import changed_files, reseal
from evalkit.results.ledger import Subject
from evalkit.results.manifest import RunStatus
from evalkit.results.run_directory import RunDirectory, read_lines, write_json, write_lines
from evalkit.specs.digest import identity, run_digest
from evalkit.specs.run_spec import MetricSpec, RunSpec

# How other harnesses' files are read. Raise it when what was imported before is to be imported anew.
_RULES = "2"
# Scores that agree to this are the same; the other harness may have summed in another order.
_TOLERANCE = 1e-9
# Means of them may have been rounded on the way.
_MEAN_TOLERANCE = 1e-6
_MOST_EMPTY_UNITS = 10_000
_MOST_UNITS_PER_REQUEST = 100
_MOST_REPETITIONS = 1_000_000_000
_SHOWN_UNITS = 5


@dataclass(frozen=True, slots=True)
class Source:
    """Where a run came from.

    Attributes:
        harness: `helm`, `lm-eval` or `inspect`.
        run: What the other harness calls it: a directory or file name.
        path: Where that lay when it was imported; no part of the run's identity.
        sha256: Over the content that was read.
    """

    harness: str
    run: str
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class UnitKey:
    """What is scored together: an instance (or its perturbed copy) in one train trial and sample."""

    instance_id: str
    trial: int = 0
    sample: int = 0
    perturbation: str | None = None


@dataclass(slots=True)
class ImportedRun:
    """What a reader found.

    Attributes:
        run_spec: As far as it can be told; its metric specs are what the other harness computed.
        given: The scores per unit as given.
        whole_run: Numbers over the whole run: those without scores per instance (perplexity, corpus BLEU),
            and those to be compared with what comes out here.
        compared: Scores of which the reader compared the number over the whole run with those per instance.
        num_compared: How many numbers that were.
        num_different: Those of them that came out differently.
        is_partial: A part of what the source has is not here; a note says which.
        documents: Small files to keep as they are, by name without `.json`.
        leftovers: What has no place elsewhere, one object per request or instance.
        notes: What the user should know.
    """

    source: Source
    run_spec: RunSpec
    instances: list[Instance] = field(default_factory=list)
    records: list[tuple[RequestState, Outcome]] = field(default_factory=list)
    given: dict[UnitKey, dict[str, float]] = field(default_factory=dict)
    whole_run: list[Stat] = field(default_factory=list)
    compared: set[str] = field(default_factory=set)
    num_compared: int = 0
    num_different: int = 0
    is_partial: bool = False
    documents: dict[str, Any] = field(default_factory=dict)
    leftovers: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def left_out(self, note: str) -> None:
        """Note that a part of what the source has is not here."""
        self.is_partial = True
        self.notes.append(note)


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of one imported run.

    Attributes:
        already_there: An earlier import of the same content; nothing was written.
        recomputed: Metrics computed anew from the answers.
        carried: Scores taken over as they were given.
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
    differences: Mapping[str, int] = field(default_factory=dict)
    leftovers: Mapping[str, int] = field(default_factory=dict)
    failed: int = 0
    num_compared: int = 0
    num_different: int = 0
    num_carried: int = 0
    uncompared: tuple[str, ...] = ()
    missing: int = 0
    notes: tuple[str, ...] = ()


def keep_run(run: ImportedRun, suite_path: Path) -> Kept:
    """Write an imported run into a suite and score it; `keep_runs` for one."""
    return keep_runs([run], suite_path)[0]


def keep_runs(runs: Iterable[ImportedRun], suite_path: Path) -> list[Kept]:
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
        return [_moved(kept, suite_path, subject) for kept, subject in made]


def _moved(kept: Kept, suite_path: Path, subject: Subject) -> Kept:
    """Move a run that is whole to its place in the suite."""
    if kept.already_there:
        return kept
    choice = choose_directory(suite_path, subject.run_spec.name, subject.digest, subject.identity)
    target, notes = choice.directory.path, kept.notes
    if target.exists() and _is_whole(choice.directory):
        if _is_current(choice.directory):  # the same run twice in one import
            return Kept(target, already_there=True)
        notes = (*notes, "an earlier evalkit imported it, by other rules; it is imported anew")
    if target.exists():
        # What an earlier evalkit left of a failed import, or what was damaged since.
        notes = (*notes, f"what was there is set aside as {set_aside(choice.directory)}")
    kept.path.rename(target)
    return replace(kept, path=target, notes=notes)


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


def _keep(run: ImportedRun, path: Path, suite_path: Path) -> tuple[Kept, Subject]:
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


def _written(run: ImportedRun, path: Path, suite_path: Path) -> tuple[Kept, Subject]:
    run_spec, recomputed, carried = _with_metrics(run)
    covered = identity(run_spec, deployment_identity={}, data_digest=None, versions={})
    covered["imported"] = {
        "harness": run.source.harness,
        "run": run.source.run,
        "sha256": run.source.sha256,
    }
    subject = Subject(run_spec, f"import {run.source.harness} {run.source.run}", run_digest(covered), covered)
    choice = choose_directory(suite_path, run_spec.name, subject.digest, covered)
    if choice.exists and _is_whole(choice.directory) and _is_current(choice.directory):
        return Kept(choice.directory.path, already_there=True), subject
    directory = RunDirectory(path)
    path.mkdir()
    _write_leftovers(directory, run)
    missing = _note_missing_units(directory, run)
    failed = _write_run(directory, subject, run, carried)
    numbers = _carry_numbers(directory, run)
    differences = list(_differences(directory, run.given))
    if differences:
        write_lines(directory.imported_path / "differences.jsonl", differences)
    reseal(directory)
    kept = Kept(
        path=directory.path,
        recomputed=recomputed,
        carried=carried,
        differences=Counter(d["metric"] for d in differences),
        leftovers=Counter(name for one in run.leftovers for name in one if name not in _PLACE),
        failed=failed,
        num_compared=run.num_compared,
        num_different=run.num_different,
        num_carried=len(numbers),
        uncompared=_uncompared(directory, run),
        missing=missing,
        notes=tuple(run.notes),
    )
    return kept, subject


_PLACE = frozenset(("key", "instance_id", "trial", "sample", "perturbation", "filter"))


def _with_metrics(run: ImportedRun) -> tuple[RunSpec, tuple[str, ...], tuple[str, ...]]:
    """The run spec with the metrics that work here and `carried_over` for the rest; and both lists."""
    usable: list[MetricSpec] = []
    made_here: set[str] = set()
    for spec in run.run_spec.metric_specs:
        metric = _usable_metric(spec, run) if run.instances else None
        if metric is not None and (metric.names or metric.corpus_names):
            usable.append(spec)
            made_here.update(metric.names)
    carried = tuple(sorted({name for scores in run.given.values() for name in scores} - made_here))
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


def _write_run(directory: RunDirectory, subject: Subject, run: ImportedRun, carried: tuple[str, ...]) -> int:
    """Journal, instances, scores and manifest; returns how many requests have no answer."""
    from evalkit.engine.journal import Journal
    from evalkit.engine.journal_index import scan_journal
    from evalkit.results.ledger import Ledger
    from evalkit.results.scoring import score_run

    with Journal.open(directory.journal_path, subject.owner) as journal:
        for state, outcome in run.records:
            journal.append(state, outcome)
    ledger = Ledger.open(directory, subject, None)
    index = scan_journal(directory.journal_path)
    if run.instances:
        directory.write_instances(list(_with_scores(run.instances, run.given, set(carried))))
    ledger.begin(len(run.instances), len({state.key for state, _ in run.records}), index)
    if not run.instances:
        directory.write_stats(())
        status: RunStatus | None = "partial" if run.is_partial else None
        message = "numbers only: the import had no samples"
        return ledger.close(status, message).counts["num_failed"]
    score_run(directory)
    unscored = sum(
        row["status"] == "failed" and row.get("reason") == "metric_error"
        for row in read_lines(directory.scores_path)
    )
    if run.is_partial:
        message = "a part of what the source has is not here; see the notes of the import"
        return ledger.close("partial", message, unscored).counts["num_failed"]
    return ledger.close(num_unscored=unscored).counts["num_failed"]


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


def _note_missing_units(directory: RunDirectory, run: ImportedRun) -> int:
    """Report the units of which only scores came along; returns how many."""
    if not run.instances:
        return 0
    there = {UnitKey(s.instance_id, s.trial, s.sample, s.perturbation) for s, _ in run.records}
    missing = {unit: scores for unit, scores in run.given.items() if scores and unit not in there}
    if missing:
        some = ", ".join(dict.fromkeys(unit.instance_id for unit in list(missing)[:_SHOWN_UNITS]))
        run.left_out(
            f"{run.source.harness} has scores of {len(missing)} units whose requests did not come along "
            f"({some}{', …' if len(missing) > _SHOWN_UNITS else ''}): they are not in the numbers here; see "
            "imported/missing.jsonl"
        )
        rows = ({**asdict(unit), "scores": scores} for unit, scores in missing.items())
        write_lines(directory.imported_path / "missing.jsonl", rows)
    return len(missing)


def _uncompared(directory: RunDirectory, run: ImportedRun) -> tuple[str, ...]:
    """The scores made here that no number of the source was compared with."""
    from evalkit.results.scoring import read_stats

    if not run.instances:
        return ()
    ours = [s.name for s in read_stats(directory) if s.kind == "score" and s.mean is not None and s.n]
    theirs = {s.name for s in run.whole_run} | {f"{s.name},as-given" for s in run.whole_run}
    return tuple(sorted(set(ours) - run.compared - theirs))


def _carry_numbers(directory: RunDirectory, run: ImportedRun) -> list[Stat]:
    """Compare the numbers over the whole run with those made here; keep the others, and those that differ."""
    from evalkit.results.scoring import read_stats

    made = read_stats(directory)
    by_place = {stat.place: stat for stat in made if stat.mean is not None}
    kept: list[Stat] = []
    for number in run.whole_run:
        ours = by_place.get(number.place)
        if ours is None:
            kept.append(number)
            continue
        run.num_compared += 1
        run.compared.add(number.name)
        here, given = ours.mean or 0.0, number.mean or 0.0
        if not math.isclose(here, given, rel_tol=_MEAN_TOLERANCE, abs_tol=_MEAN_TOLERANCE):
            run.num_different += 1
            kept.append(replace(number, name=f"{number.name},as-given"))
            if number.is_headline and number.sub_split is None:
                run.notes.append(
                    f"{number.name} ({number.part}): {run.source.harness} says {given:g}, here it is "
                    f"{here:g}; kept as {number.name},as-given"
                )
    if kept:
        write_lines(directory.imported_path / "stats.jsonl", (stat.to_json() for stat in kept))
        directory.write_stats(stat.to_json() for stat in (*made, *kept))
    return kept


def _differences(
    directory: RunDirectory, given: Mapping[UnitKey, Mapping[str, float]]
) -> Iterator[dict[str, Any]]:
    """Scores that were given and come out differently here."""
    if not directory.scores_path.exists():
        return
    for row in read_lines(directory.scores_path):
        unit = UnitKey(row["instance_id"], row.get("trial", 0), row.get("sample", 0), row.get("perturbation"))
        for name, theirs in given.get(unit, {}).items():
            ours = row.get("scores", {}).get(name)
            if ours is None or not math.isclose(ours, theirs, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
                place = {key: row[key] for key in ("instance_id", "trial", "sample") if key in row}
                yield {**place, "metric": name, "given": theirs, "here": ours, "status": row["status"]}


def whole_run_stat(
    name: str,
    mean: float,
    *,
    n: int,
    split: str = "all",
    sub_split: str | None = None,
    perturbation: StatPerturbation | None = None,
    stderr: float | None = None,
) -> Stat:
    """A number that another harness gave for a whole run, as a stat.

    Args:
        name: The metric.
        mean: Its value.
        n: Instances that it is over.
        split: The split that it is over.
        sub_split: The part of that split; None: all of it.
        perturbation: What it has to do with perturbed copies; None: it is over originals.
        stderr: Its standard error, if given; the interval is Student's t with n - 1 degrees of freedom.
    """
    from evalkit.metrics.interval import student_t_quantile

    ci95 = None
    if stderr is not None and n > 1:
        margin = student_t_quantile(0.975, n - 1) * stderr
        ci95 = (mean - margin, mean + margin)
    return Stat.from_json(
        {
            "name": name,
            "kind": "score",
            "split": split,
            "sub_split": sub_split,
            "perturbation": None if perturbation is None else asdict(perturbation),
            "n": n,
            "n_failed": 0,
            "n_total": n,
            "mean": mean,
            "stderr": stderr,
            "ci95": ci95,
            "ci95_method": "t" if ci95 else None,
            "sum": mean * n,
            "sum_squared": mean * mean * n,
            "num_trials": 1,
            "trial_means": [mean],
        }
    )


def label_part(text: str) -> str:
    """A text as part of a run name: HELM writes `/` as `_`."""
    return text.replace("/", "_")


def leftover(place: Mapping[str, Any], fields: Iterable[tuple[str, Any]]) -> dict[str, Any] | None:
    """The fields that hold something, with their place; None if none does."""
    kept = {name: value for name, value in fields if value not in (None, [], {}, "", ())}
    return {**place, **kept} if kept else None
