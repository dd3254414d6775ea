"""Two models in a node: the paired test over the questions of all its leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from evalkit.reports.boards.node_values import NodeValues
from evalkit.reports.cell import Estimate
from evalkit.reports.pairing import ScoredRun, pairs_of, read_scores
from evalkit.reports.shared_questions import cluster_of_each
from evalkit.statistics.paired import Comparison, Differences, KnownDifference, compare

_Part = Differences | KnownDifference
_HALF_WIDTH_IN_SD = 1.959963984540054
# Below this share of common instances the runs are held for different samples, and not paired.
_LEAST_COMMON = 0.5


@dataclass(slots=True)
class Comparisons:
    """Compares models, and remembers the scores that it has read."""

    values: NodeValues
    _scores: dict[tuple[object, ...], Mapping[str, float]] = field(default_factory=dict)
    _clusters: dict[object, Mapping[str, str]] = field(default_factory=dict)
    _parts: dict[tuple[str, str, str], Sequence[_Part] | None] = field(default_factory=dict)

    def of(self, first: str, second: str, name: str) -> Comparison | None:
        """How far the first model is ahead in a node; None where they can't be compared.

        They can't if their numbers are of different leaves, or a leaf has neither scores per question nor
        intervals.
        """
        ours, theirs = self.values.weights(first, name), self.values.weights(second, name)
        if ours is None or theirs is None or ours.keys() != theirs.keys():
            return None
        node = self.values.board.nodes[name]
        if node.missing == "zero" and not self.values.is_whole(first, name):
            return None
        parts: list[_Part] = []
        for leaf, weight in ours.items():
            found = self._leaf(first, second, leaf)
            if found is None:
                return None
            parts += [_weighted(part, weight) for part in found]
        return compare(parts)

    def _leaf(self, first: str, second: str, leaf: str) -> Sequence[_Part] | None:
        if (turned := self._parts.get((second, first, leaf))) is not None:
            return [_weighted(part, -1) for part in turned]
        key = first, second, leaf
        if key not in self._parts:
            self._parts[key] = self._made(first, second, leaf)
        return self._parts[key]

    def _made(self, first: str, second: str, name: str) -> Sequence[_Part] | None:
        ours, theirs = (self.values.leaves.cells[model, name] for model in (first, second))
        pairs = pairs_of(ours.members, theirs.members) or ()
        leaf = self.values.board.nodes[name].leaf
        assert leaf is not None, "only leaves have runs"
        weights = [_num_trials(one) for one, _ in pairs]
        found = []
        for pair, weight in zip(pairs, weights, strict=True):
            part = self._paired(*pair)
            if part is None:
                break
            share = weight / sum(weights) / (leaf.scale[1] - leaf.scale[0])
            found.append(_weighted(part, share))
        if found and len(found) == len(pairs):
            return found
        return unpaired(ours.estimate, theirs.estimate)

    def _paired(self, first: ScoredRun, second: ScoredRun) -> Differences | None:
        """The differences per question; None where too few questions are common.

        Of one question there is a difference, which no test tells from chance.
        """
        ours, theirs = self._scores_of(first), self._scores_of(second)
        common = [key for key in ours if key in theirs]
        if not common or len(common) < _LEAST_COMMON * max(len(ours), len(theirs)):
            return None
        clusters = self._clusters_of(first)
        return Differences(
            [ours[key] - theirs[key] for key in common], [clusters.get(key, key) for key in common]
        )

    def _scores_of(self, one: ScoredRun) -> Mapping[str, float]:
        stat, path = one.stat, one.run.directory.path
        key = path, one.scores, stat.split, stat.sub_split
        if key not in self._scores:
            one.run.check("scores.jsonl")
            self._scores[key] = read_scores(path, one.scores, stat.split, stat.sub_split)
        return self._scores[key]

    def _clusters_of(self, one: ScoredRun) -> Mapping[str, str]:
        path = one.run.directory.path
        if path not in self._clusters:
            self._clusters[path] = cluster_of_each(one)
        return self._clusters[path]


def _num_trials(one: ScoredRun) -> int:
    return sum(mean is not None for mean in one.stat.trial_means) or 1


def _weighted(part: _Part, by: float) -> _Part:
    return replace(part, weight=part.weight * by)


def unpaired(first: Estimate, second: Estimate) -> Sequence[KnownDifference] | None:
    """As if the two numbers were independent, by the limits that face each other.

    Those of shares near 0 and 1 are far from symmetric: half their width would promise too much.
    """
    better, worse = (first, second) if first.value >= second.value else (second, first)
    if better.ci95 is None or worse.ci95 is None:
        return None
    towards = math.hypot(better.value - better.ci95[0], worse.ci95[1] - worse.value)
    return [KnownDifference(first.value - second.value, towards / _HALF_WIDTH_IN_SD)]
