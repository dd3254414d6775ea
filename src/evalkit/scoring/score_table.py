"""All scores of a run in little memory: one column of floats per stat, one slot per unit.

Slots are ordered by train trial, then instance, then sample, whatever order the answers came in, so that
nothing computed from a table depends on that order. A unit without an answer fails in every column; a metric
that can't score a unit fails in its own columns only.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress, repeat
from typing import Any, Literal

from evalkit.errors import UsageError
from evalkit.instance import Instance
from evalkit.response import Failure
from evalkit.scoring.run_level import Row, RunLevelFunction, RunLevelRows
from evalkit.scoring.slices import Slice, slices_of
from evalkit.scoring.stat import Label, Observations, Stat, StatKind

MOST_UNITS = 20_000_000
"""A run of more is a mistake, and would take all memory."""
Status = Literal["scored", "failed", "missing"]
Rank = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """What became of one unit.

    Attributes:
        status: "failed" if the unit has no answer, or no metric could score it.
        scores: What the metrics gave; empty unless the status is "scored".
        reason: One word, for a failed unit.
        message: The failure in words.
        failed_scores: The scores that an answered unit lacks because a metric failed, with the reasons.
        detail: Why the scores are what they are, where a metric says so.
        perturbation: Label of the perturbed copy; None for an original.
    """

    instance_id: str
    trial: int
    sample: int
    split: str
    sub_split: str | None
    status: Status
    scores: Mapping[str, float]
    reason: str | None = None
    message: str | None = None
    detail: str | None = None
    perturbation: str | None = None
    failed_scores: Mapping[str, Failure] | None = None

    def to_json(self) -> dict[str, Any]:
        """The row as a plain dictionary; None left out."""
        plain = {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}
        if self.failed_scores is not None:
            plain["failed_scores"] = {
                name: {"reason": failure.reason, "message": failure.message}
                for name, failure in self.failed_scores.items()
            }
        return plain


@dataclass(slots=True)
class Column:
    """The values of one stat, NaN where there is none.

    Attributes:
        rank: Where the stat is listed: by metric, then by position. The smallest seen, so that it does not
            depend on arrival order.
        total: Running sum, for progress only.
        metrics: The metrics that announce or give it, by index.
        failures: Slot to why a metric gave no number here, though it gave others.
    """

    values: array[float]
    kind: StatKind
    rank: Rank
    may_be_share: bool = True
    count: int = 0
    total: float = 0.0
    metrics: set[int] = field(default_factory=set)
    failures: dict[int, Failure] = field(default_factory=dict)

    def lacks(self, slot: int) -> bool:
        """Whether there is no number in a slot."""
        value = self.values[slot]
        return value != value

    def is_empty(self, slot: int) -> bool:
        """Whether there is neither a number nor a failure in a slot."""
        value = self.values[slot]
        return value != value and slot not in self.failures

    def set(self, slot: int, value: float) -> None:
        """Fill an empty slot."""
        self.values[slot] = value
        self.count += 1
        self.total += value


@dataclass(slots=True)
class RunLevelScores:
    """What one metric keeps for its numbers over all units.

    Attributes:
        metric: The index of the metric.
        rows: Slot to row.
        failures: Slot to why the metric could not make a row.
        problems: Name to why a number could not be made of the rows; known once the stats are made.
    """

    metric: int
    names: tuple[str, ...]
    function: RunLevelFunction
    rows: dict[int, Row] = field(default_factory=dict)
    failures: dict[int, Failure] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class ScoreTable:
    """Scores and failures of every unit of a run.

    Attributes:
        instances: The evaluated instances in plan order, with ids.
        num_train_trials: Train trials.
        num_samples: Repetitions of each request.
        metric_names: Of the metrics, by index.
        failures: Slot to why the unit has no score at all.
        metric_failures: By index of the metric, slot to why it could not score the unit.
        details: Slot to why its scores are what they are, where a metric says so.
        run_level: Rows for the numbers over all units, in the order in which these are listed.
        lower_is_better: Scores of which the worst value is the largest one.
        shares: Scores that lie from 0 to 1 by their definition.
        awaits_judges: Whether an answered unit may still wait for its scores.
        answered: One byte per slot: 1 once all its answers are there and metrics have seen them.

    Raises:
        UsageError: An instance has no id, two have the same, or there are no instances.
    """

    instances: Sequence[Instance]
    num_train_trials: int = 1
    num_samples: int = 1
    metric_names: Sequence[str] = ()
    columns: dict[str, Column] = field(default_factory=dict)
    failures: dict[int, Failure] = field(default_factory=dict)
    metric_failures: dict[int, dict[int, Failure]] = field(default_factory=dict)
    details: dict[int, str] = field(default_factory=dict)
    run_level: list[RunLevelScores] = field(default_factory=list)
    lower_is_better: frozenset[str] = frozenset()
    shares: frozenset[str] = frozenset()
    awaits_judges: bool = False
    answered: bytearray = field(init=False)
    _positions: dict[tuple[str, str | None], int] = field(init=False)

    def __post_init__(self) -> None:
        if not self.instances or self.num_train_trials < 1 or self.num_samples < 1:
            raise UsageError(
                f"nothing to score: {len(self.instances)} instances, {self.num_train_trials} trials, "
                f"{self.num_samples} samples"
            )
        if self.num_slots > MOST_UNITS:
            raise UsageError(
                f"{self.num_slots:,} units ({len(self.instances)} instances, {self.num_train_trials} trials, "
                f"{self.num_samples} samples) are more than the {MOST_UNITS:,} that can be scored at once"
            )
        self._positions = {}
        for position, instance in enumerate(self.instances):
            if instance.id is None:
                raise UsageError(f"instance {position} has no id")
            key = instance.id, instance.perturbation_label
            if self._positions.setdefault(key, position) != position:
                raise UsageError(f"two instances have the id '{instance.id}'")
        self.answered = bytearray(self.num_slots)

    @property
    def num_slots(self) -> int:
        """Units planned."""
        return len(self.instances) * self.num_train_trials * self.num_samples

    def slot(self, instance_id: str, trial: int, sample: int, perturbation: str | None = None) -> int:
        """The slot of a unit; `perturbation` is the label of a perturbed copy.

        Raises:
            UsageError: The run has no such unit.
        """
        position = self._positions.get((instance_id, perturbation))
        if position is None or not (0 <= trial < self.num_train_trials and 0 <= sample < self.num_samples):
            raise UsageError(
                f"instance '{_named(instance_id, perturbation)}', trial {trial}, sample {sample} "
                f"is not part of this run ({len(self.instances)} instances, {self.num_train_trials} trials, "
                f"{self.num_samples} samples)"
            )
        return (trial * len(self.instances) + position) * self.num_samples + sample

    def instance_at(self, slot: int) -> Instance:
        """The instance of a slot."""
        return self.instances[self._position_at(slot)]

    def column(self, name: str, kind: StatKind, rank: Rank, may_be_share: bool = True) -> Column:
        """The column of this name, made if there is none, listed no later than `rank`."""
        column = self.columns.get(name)
        if column is None:
            column = self.columns[name] = self._empty_column(kind, rank, may_be_share)
        elif rank != column.rank:
            column.metrics.add(rank[0])
            column.rank = min(rank, column.rank)
        return column

    def stats(self) -> list[Stat]:
        """Every stat over everything, then by split and sub-split where there is more than one.

        Those of perturbed copies follow (see `slices_of`), the worst cases for scores per unit only.
        Scores come first, in the order of the metrics, then numbers over all units, usage and efficiency.
        """
        slices = slices_of(self.instances, self.num_train_trials, self.num_samples)
        by_kind: dict[StatKind, list[Stat]] = {"score": [], "usage": [], "efficiency": []}
        failed = self.failed_scores()
        unanswered = {slot: failure for slot, failure in self.failures.items() if not self.answered[slot]}
        for name, column in self._listed(failed):
            is_score = column.kind == "score"
            failures = {**self.failures, **failed.get(name, {})} if is_score else unanswered
            for part in slices:
                if not is_score and part.is_comparison:
                    continue
                label = Label(
                    name,
                    column.kind,
                    part.split,
                    part.sub_split,
                    column.may_be_share,
                    part.perturbation,
                    is_in_0_to_1=name in self.shares,
                )
                worst = max if name in self.lower_is_better else min
                by_kind[column.kind].append(Stat.of(label, self._observations(column, failures, part, worst)))
        over_all = [stat for scores in self.run_level for stat in self._run_level_stats(scores, slices)]
        return [*by_kind["score"], *over_all, *by_kind["usage"], *by_kind["efficiency"]]

    def rows(self) -> Iterator[ScoreRow]:
        """What became of every unit, in slot order."""
        failed = self.failed_scores()
        columns = [(n, column.values) for n, column in self._listed(failed) if column.kind == "score"]
        over_all = (name for each in self.run_level for name in each.names)
        by_slot: dict[int, dict[str, Failure]] = {}
        for name in dict.fromkeys((*(name for name, _ in columns), *over_all)):
            for slot, why in failed.get(name, {}).items():
                by_slot.setdefault(slot, {})[name] = why
        for slot, answered in enumerate(self.answered):
            instance = self.instance_at(slot)
            failure, failed_here = self.failures.get(slot), by_slot.get(slot)
            scores: dict[str, float] = {}
            if answered and failure is None:
                scores = {name: values[slot] for name, values in columns if values[slot] == values[slot]}
                if failed_here and not scores and not any(slot in each.rows for each in self.run_level):
                    failure = next(iter(failed_here.values()))
            status: Status = "failed" if failure else "scored" if answered else "missing"
            if self.awaits_judges and status == "scored" and not (scores or failed_here):
                status = "missing"
            yield ScoreRow(
                instance_id=str(instance.id),
                trial=self._trial_at(slot),
                sample=slot % self.num_samples,
                split=instance.split,
                sub_split=instance.sub_split,
                status=status,
                scores=scores,
                reason=failure.reason if failure else None,
                message=failure.message if failure else None,
                detail=self.details.get(slot) if status == "scored" else None,
                perturbation=instance.perturbation_label,
                failed_scores=failed_here,
            )

    def failed_scores(self) -> dict[str, dict[int, Failure]]:
        """Why answered units lack a score, by score and slot.

        A metric that can't score a unit fails in the scores that it announces, and in those that it gives for
        other units. If none of these is missing, as of a metric that never gave any, the failure is that of a
        score by the metric's name.
        """
        failed = {name: dict(column.failures) for name, column in self.columns.items() if column.failures}
        for index, failures in sorted(self.metric_failures.items()):
            own = [(n, c) for n, c in self.columns.items() if c.kind == "score" and index in c.metrics]
            over_all = [name for each in self.run_level if each.metric == index for name in each.names]
            for slot, failure in failures.items():
                lacking = [name for name, column in own if column.lacks(slot)]
                for name in [*lacking, *over_all] or [self._name_of(index)]:
                    failed.setdefault(name, {}).setdefault(slot, failure)
        for scores in self.run_level:
            for name in scores.names if scores.failures else ():
                failed.setdefault(name, {}).update(scores.failures)
        return failed

    def means(self) -> dict[str, float]:
        """The running mean of each score with a value, perturbed copies included; good to float rounding."""
        return {
            name: column.total / column.count
            for name, column in self._listed()
            if column.kind == "score" and column.count
        }

    def _listed(self, failed: Collection[str] = ()) -> list[tuple[str, Column]]:
        """The columns in their order; with those of failed scores of which no unit has a number."""
        columns = dict(self.columns)
        own_names = {self._name_of(index): index for index in self.metric_failures}
        for name in failed:
            if name not in columns and name in own_names:
                columns[name] = self._empty_column("score", (own_names[name], self.num_slots))
        return sorted(columns.items(), key=lambda item: (item[1].kind != "score", item[1].rank, item[0]))

    def _empty_column(self, kind: StatKind, rank: Rank, may_be_share: bool = True) -> Column:
        return Column(array("d", [math.nan]) * self.num_slots, kind, rank, may_be_share, metrics={rank[0]})

    def _name_of(self, metric: int) -> str:
        """The score that shows the failures of a metric without scores of its own."""
        name = self.metric_names[metric]
        is_taken = name in self.columns or any(name in each.names for each in self.run_level)
        return f"metric {name}" if is_taken else name

    def _position_at(self, slot: int) -> int:
        return slot // self.num_samples % len(self.instances)

    def _trial_at(self, slot: int) -> int:
        return slot // (self.num_samples * len(self.instances))

    def _run_level_stats(self, scores: RunLevelScores, slices: Sequence[Slice]) -> Iterator[Stat]:
        """The numbers of one metric over all units, name by name, each over every slice."""
        failures = {**self.failures, **self.metric_failures.get(scores.metric, {}), **scores.failures}
        scores.problems.clear()
        measured = []
        for part in slices:
            if part.is_comparison:
                continue
            rows = RunLevelRows(self.num_train_trials)
            n_failed = n_blocked = 0
            for slot, cluster, trial in zip(part.slots, part.clusters, part.trials, strict=True):
                if slot in scores.rows:
                    rows.add(scores.rows[slot], cluster, trial)
                if (failure := failures.get(slot)) is not None:
                    n_failed += 1
                    n_blocked += failure.is_blocked
            values = rows.values(scores.names, scores.function)
            measured.append((part, values, len(rows.rows), n_failed, n_blocked))
        for name in scores.names:
            for part, values, n, n_failed, n_blocked in measured:
                label = Label(name, "score", part.split, part.sub_split, False, part.perturbation)
                if (problem := values[name].problem) is not None:
                    scores.problems.setdefault(name, problem)
                    n, n_failed = 0, n_failed + n
                yield Stat.of_run_level(label, values[name], n, n_failed, len(part.slots), n_blocked)

    def _observations(
        self,
        column: Column,
        failures: Mapping[int, Failure],
        part: Slice,
        worst: Callable[[Sequence[float]], float],
    ) -> Observations:
        values = [column.values[slot] for slot in part.slots]
        if part.rivals is not None:
            values = [
                _chosen(worst, [value, *(column.values[rival] for rival in rivals)])
                for value, rivals in zip(values, part.rivals, strict=True)
            ]
        # Only NaN differs from itself: one cheap comparison instead of a call per unit.
        present = [value == value for value in values]
        n_failed = n_blocked = 0
        if failures:
            versions = part.rivals or repeat(())
            for slot, rivals, has in zip(part.slots, versions, present, strict=False):
                if not has and (found := [f for v in (slot, *rivals) if (f := failures.get(v))]):
                    n_failed += 1
                    n_blocked += all(failure.is_blocked for failure in found)
        return Observations(
            values=list(compress(values, present)),
            clusters=list(compress(part.clusters, present)),
            trials=list(compress(part.trials, present)),
            n_failed=n_failed,
            n_total=len(values),
            num_train_trials=self.num_train_trials,
            n_blocked=n_blocked,
            zero_is_worst=column.kind == "score" and worst is min,
        )


def _chosen(choose: Callable[[Sequence[float]], float], values: Sequence[float]) -> float:
    """The value chosen; NaN unless all are there."""
    return math.nan if any(value != value for value in values) else choose(values)


def _named(instance_id: str, perturbation: str | None) -> str:
    return instance_id if perturbation is None else f"{instance_id}~{perturbation}"
