"""Differences between two runs that asked the same questions: instance by instance, which is sharper."""

from __future__ import annotations

import math
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
        assert mean is not None, "runs without a number are no part of a table"
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
        self._scores: dict[tuple[Path, str, str], dict[str, float]] = {}
        self._groups: dict[Path, dict[str, str]] = {}

    def difference(self, first: ScoredRun, second: ScoredRun) -> Estimate | None:
        """The mean of `first - second` per instance; None if they have too few instances in common.

        Instances of one group count as one cluster.
        """
        if first.questions != second.questions:
            return None
        ours, theirs = self._scores_of(first), self._scores_of(second)
        common = [key for key in ours if key in theirs]
        if len(common) < 2 or len(common) < _LEAST_COMMON * max(len(ours), len(theirs)):
            return None
        differences = [ours[key] - theirs[key] for key in common]
        groups = self._groups_of(first)
        numbers: dict[str, int] = {}
        clusters = [numbers.setdefault(groups.get(key, f"\0{key}"), len(numbers)) for key in common]
        spread = spread_of(differences, clusters, may_be_share=False)
        return Estimate(math.fsum(differences) / len(differences), spread.ci95)

    def _scores_of(self, one: ScoredRun) -> dict[str, float]:
        key = (one.run.directory.path, one.stat.name, one.stat.split)
        if key not in self._scores:
            one.run.check("scores.jsonl")
            self._scores[key] = read_scores(*key)
        return self._scores[key]

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


def read_scores(path: Path, metric: str, split: str) -> dict[str, float]:
    """The score of each original instance, the mean over train trials and samples."""
    found: dict[str, list[float]] = {}
    scores_path = path / "scores.jsonl"
    for row in read_lines(scores_path) if scores_path.exists() else ():
        if row.get("perturbation") is None and split in (ALL_SPLITS, row["split"]):
            value = row.get("scores", {}).get(metric)
            if value is not None:
                found.setdefault(row["instance_id"], []).append(value)
    return {key: math.fsum(values) / len(values) for key, values in found.items()}
