"""Scores of a run, made from what it stored; used at the end of a run and by `evalkit score`."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.engine.journal import Record, read_journal
from evalkit.instance import Instance
from evalkit.metrics.metric import build_metric
from evalkit.metrics.scorer import Scorer
from evalkit.metrics.stat import Stat, StatPlace
from evalkit.results.run_directory import RunDirectory, read_lines, write_lines
from evalkit.specs.run_spec import RunSpec


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
    return write_scores(directory, scorer)


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
