"""Differences between two runs that asked the same questions: instance by instance, which is sharper.

A unit of which one of both has no score counts in neither.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
_Unit = tuple[str, int, int]
"""Instance, train trial and sample."""


@dataclass(frozen=True, slots=True)
class _UnitScores:
    """The scores of a run's units.

    Attributes:
        scores: The score of each unit; None where it has none.
        lacking: The units without a score.
        by_trial: The scores of each train trial that has any.
    """

    scores: Mapping[_Unit, float | None]
    lacking: Collection[_Unit]
    by_trial: Mapping[int, Sequence[float]]

    def shared_with(self, other: _UnitScores) -> Iterator[tuple[_Unit, float]]:
        """The units with a score, without those that the other run has asked about and has no score of."""
        for unit, score in self.scores.items():
            if score is not None and unit not in other.lacking:
                yield unit, score

    def lost_to(self, other: _UnitScores) -> list[tuple[_Unit, float]]:
        """The units with a score that the other run has asked about and has no score of."""
        found = ((unit, self.scores.get(unit)) for unit in other.lacking)
        return [(unit, score) for unit, score in found if score is not None]

    def mean_of_trials(self, without: Iterable[tuple[_Unit, float]]) -> float | None:
        """HELM's mean of the train trials' means, without some units; None if no unit is left."""
        lost: dict[int, list[float]] = {}
        for (_, trial, _), score in without:
            lost.setdefault(trial, []).append(-score)
        means = []
        for trial, scores in self.by_trial.items():
            gone = lost.get(trial, ())
            if len(scores) > len(gone):
                # As exact as the sum of those that are left: `fsum` rounds once.
                means.append(math.fsum((*scores, *gone)) / (len(scores) - len(gone)))
        return math.fsum(means) / len(means) if means else None


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """A run with the number that represents it.

    Attributes:
        pooled: The scores of each unit that the number is the mean of; empty: the score that it is named for.
    """

    run: StoredRun
    stat: Stat
    pooled: tuple[str, ...] = ()

    @property
    def estimate(self) -> Estimate:
        """HELM's mean of the train trials' means, with the interval over instances around it."""
        known = [mean for mean in self.stat.trial_means if mean is not None]
        mean, ci95 = self.stat.mean, self.stat.ci95
        assert mean is not None, "runs without a number are not part of a table"
        value = math.fsum(known) / len(known) if known else mean
        shifted = None if ci95 is None else (ci95[0] + value - mean, ci95[1] + value - mean)
        if shifted is not None and shifted[0] == shifted[1]:
            shifted = None  # runs of before have intervals of width 0
        freedom = self._freedom
        return Estimate(value, shifted, None if freedom is None else self.stat.stderr, freedom)

    @property
    def _freedom(self) -> float | None:
        """One less than there are clusters; None for a mean of several parts, which has others."""
        stat = self.stat
        if stat.min is None or stat.stderr is None or stat.ci95_method not in ("t", "clustered_t", None):
            return None
        return float((stat.num_clusters or stat.n) - 1)

    @property
    def scores(self) -> tuple[str, ...]:
        """The scores of each unit behind the number; of several their mean."""
        return self.pooled or (self.stat.name,)

    @property
    def questions(self) -> str:
        """What was asked: equal for runs whose instances of one id are the same question."""
        identity = self.run.manifest.identity
        part = [self.stat.split] if self.stat.sub_split is None else [self.stat.split, self.stat.sub_split]
        return digest([self.run.run_spec.scenario_spec, identity.get("data_digest"), *part])


class Pairing:
    """Pairs runs, and remembers the scores that it has read."""

    def __init__(self) -> None:
        self._units: dict[tuple[Path, tuple[str, ...], str, str | None], _UnitScores] = {}
        self._groups: dict[Path, dict[str, str]] = {}

    def difference(self, first: ScoredRun, second: ScoredRun) -> Estimate | None:
        """The mean of `first - second` per instance; None if they have too few instances in common.

        Instances of one group count as one cluster.
        """
        if first.questions != second.questions:
            return None
        all_ours, all_theirs = self._units_of(first), self._units_of(second)
        ours = _by_instance(all_ours.shared_with(all_theirs))
        theirs = _by_instance(all_theirs.shared_with(all_ours))
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
        ours, theirs = self._units_of(first), self._units_of(second)
        lost = ours.lost_to(theirs), theirs.lost_to(ours)
        if not any(lost):
            return None
        values = ours.mean_of_trials(lost[0]), theirs.mean_of_trials(lost[1])
        return None if values[0] is None or values[1] is None else (values[0], values[1])

    def _units_of(self, one: ScoredRun) -> _UnitScores:
        key = (one.run.directory.path, one.scores, one.stat.split, one.stat.sub_split)
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


def read_scores(
    path: Path, metrics: Sequence[str], split: str, sub_split: str | None = None
) -> dict[str, float]:
    """The score of each original instance, the mean over train trials and samples, and over the metrics."""
    scores = _read_units(path, metrics, split, sub_split).scores
    return _by_instance((unit, score) for unit, score in scores.items() if score is not None)


def _read_units(path: Path, metrics: Sequence[str], split: str, sub_split: str | None) -> _UnitScores:
    """The units of original instances."""
    scores_path = path / "scores.jsonl"
    found: dict[_Unit, float | None] = {}
    by_trial: dict[int, list[float]] = {}
    for row in read_lines(scores_path) if scores_path.exists() else ():
        if sub_split not in (None, row.get("sub_split")):
            continue
        if row.get("perturbation") is None and split in (ALL_SPLITS, row["split"]):
            unit = row["instance_id"], row.get("trial", 0), row.get("sample", 0)
            known = row.get("scores", {})
            values = [known[name] for name in metrics if name in known]
            found[unit] = score = math.fsum(values) / len(values) if values else None
            if score is not None:
                by_trial.setdefault(unit[1], []).append(score)
    lacking = frozenset(unit for unit, score in found.items() if score is None)
    return _UnitScores(found, lacking, by_trial)


def _by_instance(units: Iterable[tuple[_Unit, float]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for (instance_id, _, _), score in units:
        found.setdefault(instance_id, []).append(score)
    return {key: math.fsum(scores) / len(scores) for key, scores in found.items()}
