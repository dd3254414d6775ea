"""Scores of a run, made from what it stored; used at the end of a run and by `evalkit score`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from evalkit.errors import REMEDY, REMEDY_IMPORT, REMEDY_RUN, DamageError, StoreError
from evalkit.execution.journal_index import JournalIndex, read_winners, scan_journal
from evalkit.instance import Instance
from evalkit.plural import counted
from evalkit.results.integrity import (
    SEALED,
    fingerprint,
    fits,
    recovered_manifest,
    require_unchanged,
    sealed,
    spec_from,
    units_of,
)
from evalkit.results.judgements import (
    ReadJudgements,
    columns_of,
    enter_judgements,
    judgement_problems,
    num_replies,
    owe_unmade,
    read_anew,
)
from evalkit.results.manifest import Manifest
from evalkit.results.run_directory import RunDirectory, read_lines, write_lines
from evalkit.results.units import end_of_conversations
from evalkit.results.unmade_questions import failures_before
from evalkit.scoring.compatibility import refuse_machine
from evalkit.scoring.metric import build_metric
from evalkit.scoring.scorer import Scorer
from evalkit.scoring.stat import Stat, StatPlace
from evalkit.scoring.unscored import Unscored
from evalkit.specs.run_spec import RunSpec

# How the manifest of a run ends its message where metrics have failed; before evalkit 0.2 without names.
_NOT_SCORED = re.compile(r"(^|, )\d+ not scored( \(.*\))?$")
SCORING_RULES = "2"
"""Changes where stored answers get other numbers than before; runs scored by other rules are scored anew."""


def make_scorer(run_spec: RunSpec, instances: Sequence[Instance]) -> Scorer:
    """A scorer for the evaluated instances of a run spec.

    Raises:
        UsageError: A metric or judge is not known, or a metric can't score on this machine.
        DataError: A metric can't score one of the instances.
    """
    refuse_machine(run_spec.metric_specs)
    adapter_spec = run_spec.adapter_spec
    metrics = [build_metric(spec, adapter_spec) for spec in run_spec.metric_specs]
    return Scorer(
        metrics,
        instances,
        num_train_trials=adapter_spec.num_train_trials,
        num_samples=adapter_spec.num_trials,
        is_over=end_of_conversations(adapter_spec),
        judges=columns_of(run_spec),
    )


def score_answers(directory: RunDirectory, manifest: Manifest) -> tuple[Scorer, list[Instance]]:
    """A scorer that has seen all answers of a run that has asked all, and the evaluated instances.

    Raises:
        StoreError: The run can't be read.
    """
    run_spec, instances = directory.run_spec(), directory.instances()
    return _scored(directory, manifest, run_spec, instances)[0], instances


def _scored(
    directory: RunDirectory, manifest: Manifest, run_spec: RunSpec, instances: Sequence[Instance]
) -> tuple[Scorer, JournalIndex]:
    """A scorer that has seen all answers, and what their journal holds."""
    scorer, path = make_scorer(run_spec, instances), directory.journal_path
    index = scan_journal(path, manifest.request_digest, units_of(run_spec, instances))
    for record in read_winners(path, index):
        scorer.add(record.state, record.outcome)
    return scorer, index


@dataclass(frozen=True, slots=True)
class Rescored:
    """What came of scoring a stored run anew.

    Attributes:
        stats: The numbers that the run has now.
        problems: What is damaged or missing, in words; where there is any, the run is no longer complete.
        kept: Whether the stored numbers were kept, since fewer answers are left than they rest on.
        unscored: Answered units that lack a score because a metric failed.
    """

    stats: tuple[Stat, ...]
    problems: tuple[str, ...] = ()
    kept: bool = False
    unscored: Unscored = field(default_factory=Unscored)


def score_run(directory: RunDirectory, *, allow_fewer: bool = False) -> Rescored:
    """Score a stored run anew from its journal; sends nothing.

    What is damaged or missing is reported, and a run that was complete is then partial: `evalkit run` asks
    again. Scores that a metric fails to give are reported too; a run that was partial only because of such is
    complete when they are there. Numbers are not replaced by those of fewer answers.

    Args:
        directory: The run.
        allow_fewer: Replace them all the same.

    Raises:
        StoreError: The run can't be scored: no instances, or another run's journal.
        UsageError: A metric of the run is not known (a plugin is missing).
    """
    manifest = directory.sound_manifest() or recovered_manifest(directory)
    if manifest is None:
        directory.manifest()
        raise DamageError(f"{directory.path} has no manifest.json; {REMEDY}")
    run_spec, problems = checked_spec(directory, manifest)
    instances = _checked_instances(directory, manifest)
    scorer, index = _scored(directory, manifest, run_spec, instances)
    judged: Mapping[str, ReadJudgements] = {}
    if run_spec.judge_specs:
        before = failures_before(directory, manifest)
        judged = enter_judgements(scorer, directory, run_spec, manifest.identity, index, instances, before)
        if before is None:
            owe_unmade(manifest, judged)
        problems += judgement_problems(manifest, judged)
    problems += _journal_problems(manifest, index)
    fewer = () if allow_fewer else _fewer(directory, manifest, scorer, judged)
    problems += fewer
    kept = bool(fewer)
    stats = read_stats(directory) if kept else write_scores(directory, scorer)
    unscored = scorer.unscored
    if kept:
        # What was not made now keeps its fingerprint, so that damage to it stays visible.
        directory.write_manifest(sealed(directory, _with_problems(manifest, problems), ("run_spec.json",)))
        return Rescored(stats, tuple(problems), kept=True)
    is_judged = not any(each.num_owed for each in judged.values())
    is_whole = not problems and is_judged and _is_settled(scorer, index)
    manifest = replace(
        read_anew(_restated(manifest, unscored, is_whole=is_whole), judged),
        counts={**manifest.counts, "num_unscored": unscored.num_units},
        versions={**manifest.versions, "scoring": SCORING_RULES},
    )
    # Routes were neither read nor made.
    seen = [name for name in (*SEALED, *directory.judgement_files) if name != "routes.jsonl"]
    directory.write_manifest(sealed(directory, _with_problems(manifest, problems), seen))
    problems += [str(unscored)] if unscored.num_units else []
    return Rescored(stats, tuple(problems), unscored=unscored)


def _fewer(
    directory: RunDirectory, manifest: Manifest, scorer: Scorer, judged: Mapping[str, ReadJudgements]
) -> list[str]:
    """How many answers or judgements fewer there are than the stored numbers rest on, in words."""
    fewer, num_behind = [], _num_behind(directory, manifest)
    kept = "the stored numbers are kept (--allow-fewer replaces them)"
    if (num_left := _num_settled(scorer)) < num_behind:
        has = "has" if num_behind == 1 else "have"
        fewer.append(f"only {num_left} of {counted(num_behind, 'unit')} {has} answers left: {kept}")
    for stage, read in judged.items() if num_behind else ():
        num_had, num_left = num_replies(manifest, stage), read.num_replies
        if num_left < num_had:
            of_all = counted(num_had, "judgement")
            fewer.append(f"only {num_left} of {of_all} by '{stage}' are left: {kept}")
    return fewer


def _journal_problems(manifest: Manifest, index: JournalIndex) -> list[str]:
    """What is damaged or missing in the journal of a run's answers, in words."""
    path, problems = index.path, list[str]()
    was_counted = manifest.counts.get("num_answered", 0)
    is_known = path.name in manifest.files and manifest.files[path.name] == fingerprint(path)
    if not is_known or len(index.settled) < was_counted:  # else a run has asked again since
        problems += [f"{path}: {damage}" for damage in index.damage]
    if index.torn_bytes:
        problems.append(f"{path}: the last line is incomplete ({counted(index.torn_bytes, 'byte')})")
    if manifest.status == "complete" and len(index.settled) < was_counted:
        problems.append(f"{path} has {len(index.settled)} of {counted(was_counted, 'answer')}")
    return problems


def checked_spec(directory: RunDirectory, manifest: Manifest) -> tuple[RunSpec, list[str]]:
    """The run spec, from the manifest if the stored one is lost, damaged or another; and what was wrong.

    Raises:
        DamageError: The manifest does not hold it.
    """
    path = directory.path / "run_spec.json"
    left = manifest.files.get(path.name)
    with suppress(DamageError):
        run_spec = directory.run_spec()
        is_ours = "metric_specs" not in manifest.identity or fits(run_spec, manifest.identity)
        if is_ours and (left is None or fingerprint(path) == left):
            return run_spec, []
    run_spec = spec_from(manifest)
    directory.write_run_spec(run_spec)
    return run_spec, [f"{path} was lost or damaged: it was made anew from the manifest, without its groups"]


def _checked_instances(directory: RunDirectory, manifest: Manifest) -> list[Instance]:
    path = directory.instances_path
    left = manifest.files.get(path.name)
    if left is not None and fingerprint(path) != left:
        raise DamageError(f"{path} is missing or was changed since evalkit wrote it; {REMEDY_RUN}")
    instances = directory.instances()
    if (planned := manifest.counts.get("num_instances")) is not None and planned != len(instances):
        raise DamageError(f"{path} has {len(instances)} of {counted(planned, 'instance')}; {REMEDY_RUN}")
    return instances


def _num_settled(scorer: Scorer) -> int:
    """Units with all their answers, and those that a content filter blocked for good."""
    return scorer.n_answered + scorer.n_blocked


def _num_behind(directory: RunDirectory, manifest: Manifest) -> int:
    """How many units the stored numbers rest on, blocked ones included; 0 where there are no good ones."""
    left = manifest.files.get("stats.json")
    if left is not None and fingerprint(directory.path / "stats.json") != left:
        return 0
    try:
        stats = read_stats(directory)
    except StoreError:
        return 0
    found = [s.n + s.n_blocked for s in stats if s.kind == "usage"]  # each unit has some of these
    return max(found, default=0)


def is_scored_by_other_rules(manifest: Manifest) -> bool:
    """Whether a run's numbers were made by rules that are not today's; imported runs bring their own."""
    return manifest.versions.get("scoring") != SCORING_RULES


def changed_means(before: Sequence[Stat], after: Sequence[Stat]) -> list[str]:
    """The headline numbers that differ, in words: `exact_match 0.250 -> none`."""
    old = {stat.place: stat.mean for stat in before if _is_shown(stat)}
    new = {stat.place: stat.mean for stat in after if _is_shown(stat)}
    return [
        f"{place[0]} {_written(old.get(place))} -> {_written(new.get(place))}"
        for place in dict.fromkeys((*old, *new))
        if _written(old.get(place)) != _written(new.get(place))
    ]


def _is_shown(stat: Stat) -> bool:
    return stat.split == "all" and stat.is_headline and stat.kind not in ("efficiency", "usage")


def _written(mean: float | None) -> str:
    return "none" if mean is None else f"{mean:.3f}"


def _with_problems(manifest: Manifest, problems: Sequence[str]) -> Manifest:
    """The manifest of a run that is no longer complete, if there are problems."""
    if manifest.status != "complete" or not problems:
        return manifest
    return replace(manifest, status="partial", message=problems[0])


def _restated(manifest: Manifest, unscored: Unscored, *, is_whole: bool) -> Manifest:
    """The manifest with the scores that metrics fail to give now in its message, in place of those before.

    Args:
        manifest: As the run left it.
        unscored: What metrics fail to give now.
        is_whole: Whether nothing else is missing.
    """
    status, message = manifest.status, _NOT_SCORED.sub("", manifest.message)
    if status == "partial" and is_whole and message != manifest.message:
        status = "complete"
    elif status != "complete" and message == manifest.message:
        return manifest
    if unscored.num_units:
        status = "partial" if status == "complete" else status
        message = ", ".join(filter(None, (message, str(unscored))))
    return replace(manifest, status=status, message=message)


def _is_settled(scorer: Scorer, index: JournalIndex) -> bool:
    """Whether every unit has its answers, or was blocked by a content filter, and at least one has."""
    num_settled = _num_settled(scorer)
    is_any_owed = any(not failure.is_blocked for failure in index.failures.values())
    return num_settled == scorer.n_total and scorer.n_answered > 0 and not is_any_owed


def write_scores(directory: RunDirectory, scorer: Scorer) -> tuple[Stat, ...]:
    """Write scores per instance and stats, both atomically; returns the stats."""
    write_lines(directory.scores_path, (row.to_json() for row in scorer.rows()))
    stats = tuple(scorer.stats())
    stats += _carried_stats(directory, {stat.place for stat in stats if stat.mean is not None})
    directory.write_stats(stat.to_json() for stat in stats)
    return stats


def read_stats(directory: RunDirectory) -> tuple[Stat, ...]:
    """The stored stats.

    Raises:
        DamageError: They can't be read.
    """
    try:
        return tuple(Stat.from_json(plain) for plain in directory.stats())
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DamageError(f"{directory.path / 'stats.json'} is damaged: {error!r}; {REMEDY}") from None


def read_numbers(directory: RunDirectory) -> tuple[Manifest, tuple[Stat, ...]]:
    """The manifest of a run and its numbers, as the run left them.

    Raises:
        DamageError: One of them is lost, or was changed since evalkit wrote it.
    """
    manifest = directory.manifest()
    if manifest is None:
        raise DamageError(f"{directory.path} has no manifest.json; {REMEDY}")
    require_unchanged(directory, manifest, ("stats.json",))
    return manifest, read_stats(directory)


def carried_stats(directory: RunDirectory) -> list[Stat]:
    """The numbers over the whole run that came along with an import.

    Raises:
        DamageError: Their file was changed.
    """
    path = directory.imported_path / "stats.jsonl"
    manifest = directory.sound_manifest()
    left = manifest.files.get("imported/stats.jsonl") if manifest is not None else None
    if left is not None and fingerprint(path) != left:
        raise DamageError(f"{path} is missing or was changed since it was imported; {REMEDY_IMPORT}")
    return [Stat.from_json(plain) for plain in read_lines(path)] if path.exists() else []


def _carried_stats(directory: RunDirectory, made_here: set[StatPlace]) -> tuple[Stat, ...]:
    """The numbers of an imported run that no score per instance stands behind, unless they were made here."""
    carried = carried_stats(directory)
    return tuple(stat for stat in carried if stat.place not in made_here)
