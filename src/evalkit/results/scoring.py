"""Scores of a run, made from what it stored; used at the end of a run and by `evalkit score`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evalkit.engine.journal import Record, read_journal
from evalkit.instance import Instance
from evalkit.metrics.metric import build_metric
from evalkit.metrics.scorer import Scorer
from evalkit.metrics.stat import Stat, StatPlace
from evalkit.results.run_directory import Manifest, RunDirectory, read_lines, write_lines
from evalkit.specs.run_spec import RunSpec

SCORING_RULES = "2"
"""Changes where stored answers get other numbers than before; runs scored by other rules are scored anew."""


def make_scorer(run_spec: RunSpec, instances: Sequence[Instance]) -> Scorer:
    """A scorer for the evaluated instances of a run spec."""
    adapter_spec = run_spec.adapter_spec
    metrics = [build_metric(spec, adapter_spec) for spec in run_spec.metric_specs]
    return Scorer(
        metrics, instances, num_trials=adapter_spec.num_train_trials, num_samples=adapter_spec.num_trials
    )


def score_run(directory: RunDirectory) -> tuple[Stat, ...]:
    """Score a stored run anew from its journal; sends nothing.

    Raises:
        StoreError: The run is incomplete in a way that can't be scored (no instances), or damaged.
        UsageError: A metric of the run is not known (a plugin is missing).
    """
    scorer = make_scorer(directory.run_spec(), directory.instances())
    for record in read_journal(directory.journal_path):
        if isinstance(record, Record):
            scorer.add(record.state, record.outcome)
    stats = write_scores(directory, scorer)
    _stamp(directory, scorer.num_unscored)
    return stats


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


def _stamp(directory: RunDirectory, num_unscored: int) -> None:
    """Note in the manifest by which rules the run is scored now, and that a part of it could not be."""
    manifest = directory.manifest()
    if manifest is None:
        return
    status, counts = manifest.status, {**manifest.counts, "num_unscored": num_unscored}
    if status == "complete" and num_unscored:
        status = "partial"
    versions = {**manifest.versions, "scoring": SCORING_RULES}
    directory.write_manifest(replace(manifest, status=status, counts=counts, versions=versions))


def write_scores(directory: RunDirectory, scorer: Scorer) -> tuple[Stat, ...]:
    """Write scores per instance and stats, both atomically; returns the stats."""
    write_lines(directory.scores_path, (row.to_json() for row in scorer.rows()))
    stats = tuple(scorer.stats())
    stats += _carried_stats(directory, {stat.place for stat in stats if stat.mean is not None})
    directory.write_stats(stat.to_json() for stat in stats)
    return stats


def read_stats(directory: RunDirectory) -> tuple[Stat, ...]:
    """The stored stats."""
    return tuple(Stat.from_json(plain) for plain in directory.stats())


def _carried_stats(directory: RunDirectory, made_here: set[StatPlace]) -> tuple[Stat, ...]:
    """The numbers of an imported run that no score per instance stands behind, unless they were made here."""
    path = directory.imported_path / "stats.jsonl"
    carried = (Stat.from_json(plain) for plain in read_lines(path)) if path.exists() else ()
    return tuple(stat for stat in carried if stat.place not in made_here)
