"""All scores of a run in little memory: one column of floats per stat, one slot per unit.

Slots are ordered by train trial, then instance, then sample, whatever order the answers came in, so that
nothing computed from a sheet depends on that order.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, Literal

from evalkit.errors import UsageError
from evalkit.instance import Instance
from evalkit.metrics.stat import ALL_SPLITS, Label, Observations, Stat, StatKind
from evalkit.response import Failure

Status = Literal["scored", "failed", "missing"]
Rank = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """What became of one unit.

    Attributes:
        scores: What the metrics gave; empty unless the status is "scored".
        reason: One word, for a failed unit.
        message: The failure in words.
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


@dataclass(frozen=True, slots=True)
class _Slice:
    """The units of one split, with the cluster and train trial of each."""

    split: str
    sub_split: str | None
    slots: Sequence[int]
    clusters: Sequence[int]
    trials: Sequence[int]


@dataclass(slots=True)
class Sheet:
    """Scores and failures of every unit of a run.

    Attributes:
        instances: The evaluated instances in plan order, with ids.
        num_trials: Train trials.
        num_samples: Repetitions of each request.
        failures: Slot to why the unit has no score.
        answered: One byte per slot: 1 once all its answers are there and metrics have seen them.

    Raises:
        UsageError: An instance has no id, two have the same, or there are no instances.
    """

    instances: Sequence[Instance]
    num_trials: int = 1
    num_samples: int = 1
    columns: dict[str, Column] = field(default_factory=dict)
    failures: dict[int, Failure] = field(default_factory=dict)
    answered: bytearray = field(init=False)
    _positions: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        if not self.instances or self.num_trials < 1 or self.num_samples < 1:
            raise UsageError(
                f"nothing to score: {len(self.instances)} instances, {self.num_trials} trials, "
                f"{self.num_samples} samples"
            )
        self._positions = {}
        for position, instance in enumerate(self.instances):
            if instance.id is None:
                raise UsageError(f"instance {position} has no id")
            if self._positions.setdefault(instance.id, position) != position:
                raise UsageError(f"two instances have the id '{instance.id}'")
        self.answered = bytearray(self.num_slots)

    @property
    def num_slots(self) -> int:
        """Units planned."""
        return len(self.instances) * self.num_trials * self.num_samples

    def slot(self, instance_id: str, trial: int, sample: int) -> int:
        """The slot of a unit.

        Raises:
            UsageError: The run has no such unit.
        """
        position = self._positions.get(instance_id)
        if position is None or not (0 <= trial < self.num_trials and 0 <= sample < self.num_samples):
            raise UsageError(
                f"instance '{instance_id}', trial {trial}, sample {sample} is no part of this run "
                f"({len(self.instances)} instances, {self.num_trials} trials, {self.num_samples} samples)"
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

        Scores come first, in the order of the metrics, then usage.
        """
        slices = self._slices()
        return [
            Stat.of(
                Label(name, column.kind, part.split, part.sub_split, column.may_be_share),
                self._observations(column, part),
            )
            for name, column in self._listed()
            for part in slices
        ]

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
            )

    def means(self) -> dict[str, float]:
        """The running mean of each score with a value; cheap, good to float rounding."""
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

    def _slices(self) -> list[_Slice]:
        clusters = _clusters(self.instances)
        slices = [self._slice(ALL_SPLITS, None, range(self.num_slots), clusters)]
        splits: dict[str, list[int]] = {}
        sub_splits: dict[tuple[str, str], list[int]] = {}
        for slot in range(self.num_slots):
            instance = self.instance_at(slot)
            splits.setdefault(instance.split, []).append(slot)
            if instance.sub_split is not None:
                sub_splits.setdefault((instance.split, instance.sub_split), []).append(slot)
        for split, slots in splits.items():
            if len(splits) > 1:
                slices.append(self._slice(split, None, slots, clusters))
            for (owner, sub_split), sub_slots in sub_splits.items():
                if owner == split and len(sub_slots) < self.num_slots:
                    slices.append(self._slice(split, sub_split, sub_slots, clusters))
        return slices

    def _slice(
        self, split: str, sub_split: str | None, slots: Sequence[int], clusters: Sequence[int]
    ) -> _Slice:
        return _Slice(
            split,
            sub_split,
            slots,
            [clusters[self._position_at(slot)] for slot in slots],
            [self._trial_at(slot) for slot in slots],
        )

    def _observations(self, column: Column, part: _Slice) -> Observations:
        values = [column.values[slot] for slot in part.slots]
        # Only NaN differs from itself: one cheap comparison instead of a call per unit.
        present = [value == value for value in values]
        n_failed = 0
        if self.failures:
            n_failed = sum(
                slot in self.failures and not has for slot, has in zip(part.slots, present, strict=True)
            )
        return Observations(
            values=list(compress(values, present)),
            clusters=list(compress(part.clusters, present)),
            trials=list(compress(part.trials, present)),
            n_failed=n_failed,
            n_total=len(values),
            num_trials=self.num_trials,
        )


def _clusters(instances: Iterable[Instance]) -> list[int]:
    """The cluster of each instance: its group's, or one of its own."""
    groups: dict[str, int] = {}
    return [
        position if instance.group is None else groups.setdefault(instance.group, position)
        for position, instance in enumerate(instances)
    ]
