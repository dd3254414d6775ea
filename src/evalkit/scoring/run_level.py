"""Numbers over all units of a run at once, such as F1 over classes, that are not means of scores per unit.

A metric keeps a small row per unit (`Metric.run_level_row`) and turns the rows of a slice into numbers
(`Metric.run_level_scores`). Rows are kept by slot, so the result does not depend on the order of arrival.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from evalkit.errors import PluginError
from evalkit.scoring.interval import spread_of

Row = tuple[Any, ...]
RunLevelFunction = Callable[[Sequence[Row]], Mapping[str, float]]

# A bootstrap costs as much as this many evaluations of all rows; above the limit there is no standard error.
NUM_RESAMPLES = 100
MAX_RESAMPLED_ROWS = 1_000_000
_SEED = 0


class MeanOfParts(float):
    """A mean over parts, each weighing the same, of the means of their values: its error needs no bootstrap.

    Attributes:
        rows: The part and the values of each row.
    """

    rows: Sequence[tuple[object, Sequence[float]]]

    @classmethod
    def of(cls, rows: Sequence[tuple[object, Sequence[float]]]) -> Self:
        """The mean of these rows, of which at least one has a value."""
        means = [math.fsum(values) / len(values) for values, _ in _by_part(rows, range(len(rows))).values()]
        made = cls(math.fsum(means) / len(means))
        made.rows = rows
        return made

    def error(self, clusters: Sequence[int]) -> tuple[float | None, float | None]:
        """The standard error by clusters, and its degrees of freedom after Satterthwaite.

        Parts share no clusters. None where some part has only one.
        """
        variances, freedom = [], []
        for values, of_values in _by_part(self.rows, clusters).values():
            stderr = spread_of(values, of_values, may_be_share=False).stderr
            if stderr is None:
                return None, None
            variances.append(stderr**2)
            freedom.append(len(set(of_values)) - 1)
        total = math.fsum(variances)
        if not total:
            return 0.0, None
        squares = math.fsum(v * v / df for v, df in zip(variances, freedom, strict=True))
        return math.sqrt(total) / len(variances), total * total / squares


def _by_part(
    rows: Sequence[tuple[object, Sequence[float]]], clusters: Sequence[int]
) -> dict[object, tuple[list[float], list[int]]]:
    """The values of each part, and the cluster of each value."""
    parts: dict[object, tuple[list[float], list[int]]] = {}
    for (part, values), cluster in zip(rows, clusters, strict=True):
        if values:
            known, of_known = parts.setdefault(part, ([], []))
            known += values
            of_known += [cluster] * len(values)
    return parts


@dataclass(frozen=True, slots=True)
class RunLevelValue:
    """One number over the rows of a slice.

    Attributes:
        value: The mean over the train trials that have rows; None without rows.
        stderr: By clusters for a mean of parts, else from a bootstrap over clusters; None for fewer than two
            clusters or too many rows.
        trial_values: The number within each train trial; None for one without rows.
        problem: Why the metric could not make the number of these rows; None if it could.
        degrees_of_freedom: Of the standard error; None where it has none.
        is_mean: Whether the number is a mean of parts.
    """

    value: float | None
    stderr: float | None
    trial_values: tuple[float | None, ...]
    problem: str | None = None
    degrees_of_freedom: float | None = None
    is_mean: bool = False


@dataclass(slots=True)
class RunLevelRows:
    """The rows of one slice in slot order, with the cluster and train trial of each."""

    num_train_trials: int
    rows: list[Row] = field(default_factory=list)
    clusters: list[int] = field(default_factory=list)
    trials: list[int] = field(default_factory=list)

    def add(self, row: Row, cluster: int, trial: int) -> None:
        """Append the row of one unit."""
        self.rows.append(row)
        self.clusters.append(cluster)
        self.trials.append(trial)

    def values(self, names: Sequence[str], function: RunLevelFunction) -> dict[str, RunLevelValue]:
        """Each named number, with the standard error of a seeded bootstrap (Efron & Tibshirani 1993, ch. 6).

        A resample draws as many clusters as there are, with replacement, each with all its rows. A number
        that any resample lacks has no standard error. Where `function` raises, gives a number that is not
        finite, or a name that was not announced, there is no number but the problem, and no other is lost.
        """
        problems: dict[str, str] = {}
        by_trial = [
            _measured(names, function, rows, problems) for rows in self._by_trial(range(len(self.rows)))
        ]
        if len(problems) == len(names):
            missing = (None,) * self.num_train_trials
            return {name: RunLevelValue(None, None, missing, problems[name]) for name in names}
        whole = (by_trial[0] or {}) if self.num_train_trials == 1 else {}
        means = {name: value for name, value in whole.items() if isinstance(value, MeanOfParts)}
        others = [name for name in names if name not in means]
        errors = self._errors(names, function) if others else {}
        freedom = float(len(set(self.clusters)) - 1)
        found = {}
        for name in names:
            trial_values = tuple(
                None if given is None or name in problems else given.get(name) for given in by_trial
            )
            error = None if name in problems else errors.get(name)
            known = freedom if error is not None else None
            if name in means:
                error, known = means[name].error(self.clusters)
            value = _mean(trial_values)
            found[name] = RunLevelValue(
                value, error, trial_values, problems.get(name), known, is_mean=name in means
            )
        return found

    def _errors(self, names: Sequence[str], function: RunLevelFunction) -> dict[str, float]:
        members: dict[int, list[int]] = {}
        for index, cluster in enumerate(self.clusters):
            members.setdefault(cluster, []).append(index)
        if len(members) < 2 or len(self.rows) * NUM_RESAMPLES > MAX_RESAMPLED_ROWS:
            return {}
        generator, clusters = random.Random(_SEED), list(members.values())
        drawn: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(NUM_RESAMPLES):
            chosen = [i for cluster in generator.choices(clusters, k=len(clusters)) for i in cluster]
            problems: dict[str, str] = {}
            given = [_measured(names, function, rows, problems) for rows in self._by_trial(chosen)]
            for name in names:
                if name in problems:
                    continue
                value = _mean([None if trial is None else trial.get(name) for trial in given])
                if value is not None:
                    drawn[name].append(value)
        return {name: _deviation(values) for name, values in drawn.items() if len(values) == NUM_RESAMPLES}

    def _by_trial(self, indices: Sequence[int]) -> list[list[Row]]:
        rows: list[list[Row]] = [[] for _ in range(self.num_train_trials)]
        for index in indices:
            rows[self.trials[index]].append(self.rows[index])
        return rows


def _measured(
    names: Sequence[str], function: RunLevelFunction, rows: Sequence[Row], problems: dict[str, str]
) -> Mapping[str, float] | None:
    """The finite numbers that a metric makes of rows; None without rows. Why others are missing is added."""
    if not rows:
        return None
    try:
        given = dict(function(rows))
        if unknown := [name for name in given if name not in names]:
            raise PluginError(f"gave '{unknown[0]}', which is not in its run_level_names")
    except Exception as error:  # noqa: BLE001 - plugin code: what it raises is kept as the reason
        problems |= dict.fromkeys(names, f"{type(error).__name__}: {error}")
        return {}
    for name, value in given.items():
        if not is_finite(value):
            problems[name] = f"gave {shown_value(value)} for '{name}'; scores must be finite numbers"
    return {name: value for name, value in given.items() if name not in problems}


def is_finite(value: object) -> bool:
    """Whether what a metric gave is a finite number."""
    try:
        return math.isfinite(value)  # type: ignore[arg-type]
    except (TypeError, OverflowError, ValueError):
        return False


def shown_value(value: object) -> str:
    """What a metric gave in place of a finite number, in words: `nan`, or its type."""
    return str(value) if isinstance(value, float) else f"a {type(value).__name__}"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _deviation(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
