"""All scores of a run in little memory: one column of floats per stat, one slot per unit.

Slots are ordered by train trial, then instance, then sample, whatever order the answers came in, so that
nothing computed from a table depends on that order.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
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
        scores: What the metrics gave; empty unless the status is "scored".
        reason: One word, for a failed unit.
        message: The failure in words.
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

    def to_json(self) -> dict[str, Any]:
        """The row as a plain dictionary; None left out."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in plain.items() if value is not None}


@dataclass(slots=True)
class Column:
    """The values of one stat, NaN where there is none.

    Attributes:
        rank: Where the stat is listed; the smallest seen, so that it does not depend on arrival order.
        total: Running sum, for progress only.
    """

    values: array[float]
    kind: StatKind
    rank: Rank
    may_be_share: bool = True
    count: int = 0
    total: float = 0.0

    def set(self, slot: int, value: float) -> None:
        """Fill an empty slot."""
        self.values[slot] = value
        self.count += 1
        self.total += value


@dataclass(slots=True)
class RunLevelScores:
    """What one metric keeps for its numbers over all units.

    Attributes:
        rows: Slot to row.
    """

    names: tuple[str, ...]
    function: RunLevelFunction
    rows: dict[int, Row] = field(default_factory=dict)


@dataclass(slots=True)
class ScoreTable:
    """Scores and failures of every unit of a run.

    Attributes:
        instances: The evaluated instances in plan order, with ids.
        num_train_trials: Train trials.
        num_samples: Repetitions of each request.
        failures: Slot to why the unit has no score.
        details: Slot to why its scores are what they are, where a metric says so.
        run_level: Rows for the numbers over all units, in the order in which these are listed.
        lower_is_better: Scores of which the worst value is the largest one.
        answered: One byte per slot: 1 once all its answers are there and metrics have seen them.

    Raises:
        UsageError: An instance has no id, two have the same, or there are no instances.
    """

    instances: Sequence[Instance]
    num_train_trials: int = 1
    num_samples: int = 1
    columns: dict[str, Column] = field(default_factory=dict)
    failures: dict[int, Failure] = field(default_factory=dict)
    details: dict[int, str] = field(default_factory=dict)
    run_level: list[RunLevelScores] = field(default_factory=list)
    lower_is_better: frozenset[str] = frozenset()
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
                "is no part of this run "
                f"({len(self.instances)} instances, {self.num_train_trials} trials, "
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
            empty = array("d", [math.nan]) * self.num_slots
            column = self.columns[name] = Column(empty, kind, rank, may_be_share)
        elif rank < column.rank:
            column.rank = rank
        return column

    def stats(self) -> list[Stat]:
        """Every stat over everything, then by split and sub-split where there is more than one.

        Those of perturbed copies follow (see `slices_of`), the worst cases for scores per unit only.
        Scores come first, in the order of the metrics, then numbers over all units, usage and efficiency.
        """
        slices = slices_of(self.instances, self.num_train_trials, self.num_samples)
        by_kind: dict[StatKind, list[Stat]] = {"score": [], "usage": [], "efficiency": []}
        for name, column in self._listed():
            for part in slices:
                if column.kind != "score" and part.is_comparison:
                    continue
                label = Label(
                    name, column.kind, part.split, part.sub_split, column.may_be_share, part.perturbation
                )
                by_kind[column.kind].append(Stat.of(label, self._observations(name, part)))
        over_all = [stat for corpus in self.run_level for stat in self._run_level_stats(corpus, slices)]
        return [*by_kind["score"], *over_all, *by_kind["usage"], *by_kind["efficiency"]]

    def rows(self) -> Iterator[ScoreRow]:
        """What became of every unit, in slot order."""
        columns = [(name, column.values) for name, column in self._listed() if column.kind == "score"]
        for slot, answered in enumerate(self.answered):
            instance, failure = self.instance_at(slot), self.failures.get(slot)
            scores: dict[str, float] = {}
            status: Status = "failed" if failure else "missing"
            if answered and failure is None:
                status = "scored"
                scores = {name: values[slot] for name, values in columns if values[slot] == values[slot]}
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
            )

    def means(self) -> dict[str, float]:
        """The running mean of each score with a value, perturbed copies included; good to float rounding."""
        return {
            name: column.total / column.count
            for name, column in self._listed()
            if column.kind == "score" and column.count
        }

    def _listed(self) -> list[tuple[str, Column]]:
        return sorted(self.columns.items(), key=lambda item: (item[1].kind != "score", item[1].rank, item[0]))

    def _position_at(self, slot: int) -> int:
        return slot // self.num_samples % len(self.instances)

    def _trial_at(self, slot: int) -> int:
        return slot // (self.num_samples * len(self.instances))

    def _run_level_stats(self, corpus: RunLevelScores, slices: Sequence[Slice]) -> Iterator[Stat]:
        """The stats of one corpus, name by name, each over every slice."""
        measured = []
        for part in slices:
            if part.is_comparison:
                continue
            rows = RunLevelRows(self.num_train_trials)
            n_failed = n_blocked = 0
            for slot, cluster, trial in zip(part.slots, part.clusters, part.trials, strict=True):
                if slot in corpus.rows:
                    rows.add(corpus.rows[slot], cluster, trial)
                if (failure := self.failures.get(slot)) is not None:
                    n_failed += 1
                    n_blocked += failure.is_blocked
            values = rows.values(corpus.names, corpus.function)
            measured.append((part, values, (len(rows.rows), n_failed, len(part.slots), n_blocked)))
        for name in corpus.names:
            for part, values, counts in measured:
                label = Label(name, "score", part.split, part.sub_split, False, part.perturbation)
                yield Stat.of_run_level(label, values[name], *counts)

    def _observations(self, name: str, part: Slice) -> Observations:
        column = self.columns[name]
        values = [column.values[slot] for slot in part.slots]
        if part.rivals is not None:
            worst = max if name in self.lower_is_better else min
            values = [
                _chosen(worst, [value, *(column.values[rival] for rival in rivals)])
                for value, rivals in zip(values, part.rivals, strict=True)
            ]
        # Only NaN differs from itself: one cheap comparison instead of a call per unit.
        present = [value == value for value in values]
        n_failed = n_blocked = 0
        if self.failures:
            versions = part.rivals or repeat(())
            for slot, rivals, has in zip(part.slots, versions, present, strict=False):
                if not has and (found := [f for v in (slot, *rivals) if (f := self.failures.get(v))]):
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
            zero_is_worst=column.kind == "score" and name not in self.lower_is_better,
        )


def _chosen(choose: Callable[[Sequence[float]], float], values: Sequence[float]) -> float:
    """The value chosen; NaN unless all are there."""
    return math.nan if any(value != value for value in values) else choose(values)


def _named(instance_id: str, perturbation: str | None) -> str:
    return instance_id if perturbation is None else f"{instance_id}~{perturbation}"
