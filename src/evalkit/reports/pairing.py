"""Differences between two runs that asked the same questions: instance by instance, which is sharper.

A unit of which one of both has no score counts in neither.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.reports.cell import Estimate
from evalkit.results.run_directory import read_lines
from evalkit.results.stored_run import StoredRun
from evalkit.scoring.interval import spread_of
from evalkit.scoring.stat import ALL_SPLITS, Stat
from evalkit.specs.digest import digest

# Below this share of common instances the runs are held for different samples, and not paired.
_LEAST_COMMON = 0.5
_Units = Mapping[tuple[str, int, int], float | None]
"""The score of each unit (instance, train trial, sample); None where it has none."""


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """A run with the number that represents it."""

    run: StoredRun
    stat: Stat

    @property
    def estimate(self) -> Estimate:
        """HELM's mean of the train trials' means, with the interval over instances around it."""
        known = [mean for mean in self.stat.trial_means if mean is not None]
        mean, ci95 = self.stat.mean, self.stat.ci95
        assert mean is not None, "runs without a number are not part of a table"
        value = math.fsum(known) / len(known) if known else mean
        shifted = None if ci95 is None else (ci95[0] + value - mean, ci95[1] + value - mean)
        return Estimate(value, shifted)

    @property
    def questions(self) -> str:
        """What was asked: equal for runs whose instances of one id are the same question."""
        identity = self.run.manifest.identity
        return digest([self.run.run_spec.scenario_spec, identity.get("data_digest"), self.stat.split])


class Pairing:
    """Pairs runs, and remembers the scores that it has read."""

    def __init__(self) -> None:
        self._units: dict[tuple[Path, str, str], _Units] = {}
        self._groups: dict[Path, dict[str, str]] = {}

    def difference(self, first: ScoredRun, second: ScoredRun) -> Estimate | None:
        """The mean of `first - second` per instance; None if they have too few instances in common.

        Instances of one group count as one cluster.
        """
        if first.questions != second.questions:
            return None
        all_ours, all_theirs = self._units_of(first), self._units_of(second)
        ours = _by_instance(_shared(all_ours, all_theirs))
        theirs = _by_instance(_shared(all_theirs, all_ours))
        common = [key for key in ours if key in theirs]
        if len(common) < 2 or len(common) < _LEAST_COMMON * max(len(ours), len(theirs)):
            return None
        differences = [ours[key] - theirs[key] for key in common]
        groups = self._groups_of(first)
        numbers: dict[str, int] = {}
        clusters = [numbers.setdefault(groups.get(key, f"\0{key}"), len(numbers)) for key in common]
        spread = spread_of(differences, clusters, may_be_share=False)
        return Estimate(math.fsum(differences) / len(differences), spread.ci95)

    def common_values(self, first: ScoredRun, second: ScoredRun) -> tuple[float, float] | None:
        """The numbers of both over the units that both have; None if neither lacks a unit of the other.

        They are made as `ScoredRun.estimate` is. A unit that only one of both has asked about counts.
        """
        if first.questions != second.questions:
            return None
        all_ours, all_theirs = self._units_of(first), self._units_of(second)
        ours, theirs = _shared(all_ours, all_theirs), _shared(all_theirs, all_ours)
        if len(ours) + len(theirs) == _num_scores(all_ours) + _num_scores(all_theirs):
            return None
        values = _mean_of_trials(ours), _mean_of_trials(theirs)
        return None if values[0] is None or values[1] is None else (values[0], values[1])

    def _units_of(self, one: ScoredRun) -> _Units:
        key = (one.run.directory.path, one.stat.name, one.stat.split)
        if key not in self._units:
            one.run.check("scores.jsonl")
            self._units[key] = _read_units(*key)
        return self._units[key]

    def _groups_of(self, one: ScoredRun) -> dict[str, str]:
        """The group of each instance that has one; only runs with clusters have any."""
        if one.stat.num_clusters is None:
            return {}
        path = one.run.directory.path
        if path not in self._groups:
            one.run.check("instances.jsonl")
            rows = read_lines(path / "instances.jsonl")
            self._groups[path] = {row["id"]: row["group"] for row in rows if row.get("group") is not None}
        return self._groups[path]


def pairs_of(
    ours: Sequence[ScoredRun], theirs: Sequence[ScoredRun]
) -> list[tuple[ScoredRun, ScoredRun]] | None:
    """The runs of two cells that asked the same questions; None unless each has exactly one partner."""
    by_questions = {one.questions: one for one in theirs}
    keys = {one.questions for one in ours}
    if len(by_questions) != len(theirs) or len(keys) != len(ours) or keys != by_questions.keys():
        return None
    return [(one, by_questions[one.questions]) for one in ours]


def read_scores(path: Path, metric: str, split: str) -> dict[str, float]:
    """The score of each original instance, the mean over train trials and samples."""
    return _by_instance(_read_units(path, metric, split))


def _read_units(path: Path, metric: str, split: str) -> _Units:
    """The units of original instances."""
    scores_path = path / "scores.jsonl"
    return {
        (row["instance_id"], row.get("trial", 0), row.get("sample", 0)): row.get("scores", {}).get(metric)
        for row in (read_lines(scores_path) if scores_path.exists() else ())
        if row.get("perturbation") is None and split in (ALL_SPLITS, row["split"])
    }


def _shared(units: _Units, others: _Units) -> _Units:
    """The units with a score, without those that the other run has asked about and has no score of."""
    return {
        unit: value
        for unit, value in units.items()
        if value is not None and (unit not in others or others[unit] is not None)
    }


def _num_scores(units: _Units) -> int:
    return sum(value is not None for value in units.values())


def _by_instance(units: _Units) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for (instance_id, _, _), value in units.items():
        if value is not None:
            found.setdefault(instance_id, []).append(value)
    return {key: math.fsum(values) / len(values) for key, values in found.items()}


def _mean_of_trials(units: _Units) -> float | None:
    """HELM's mean of the train trials' means."""
    trials: dict[int, list[float]] = {}
    for (_, trial, _), value in units.items():
        if value is not None:
            trials.setdefault(trial, []).append(value)
    means = [math.fsum(values) / len(values) for values in trials.values()]
    return math.fsum(means) / len(means) if means else None
