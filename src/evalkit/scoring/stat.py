"""One number of a run's result, with what it rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from evalkit.errors import StoreError
from evalkit.scoring.interval import IntervalMethod, spread_of, stderr_of
from evalkit.scoring.run_level import RunLevelValue
from evalkit.statistics.student_t import two_sided_limit

StatKind = Literal["score", "usage", "efficiency"]
ComputedOn = Literal["perturbed", "original", "worst"]
ALL_SPLITS = "all"
NO_ANSWER = "no_answer"
_OUTSIDE = 0.05


@dataclass(frozen=True, slots=True)
class StatPerturbation:
    """What a stat has to do with perturbed copies of instances.

    Attributes:
        name: Label of the perturbation; `robustness` or `fairness` for all of that kind together.
        computed_on: "perturbed" for the copies, "original" for the originals of these, "worst" for the worse
            of original and copies, instance by instance.
    """

    name: str
    computed_on: ComputedOn

    def __str__(self) -> str:
        return f"{self.name}: {self.computed_on}"

    @staticmethod
    def from_json(plain: Mapping[str, Any]) -> StatPerturbation:
        """From a plain dictionary.

        Raises:
            StoreError: It has other fields than these.
        """
        if set(plain) != {"name", "computed_on"}:
            raise StoreError(f"this is not a perturbation of this version of evalkit: {dict(plain)}")
        return StatPerturbation(plain["name"], plain["computed_on"])


StatPlace = tuple[str, str, str | None, StatPerturbation | None]
"""Name, split, sub-split and perturbation of a stat."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a stat is of.

    Attributes:
        kind: "score" for what metrics give, "usage" for tokens, time and prompts, "efficiency" for what
            answering took.
        split: "all", or one split.
        sub_split: None: the whole split.
        may_be_share: Whether values of 0 and 1 mean no and yes (and not, say, token counts).
        perturbation: None for originals.
        is_in_0_to_1: Whether no value can lie outside of 0 to 1; then no mean can.
    """

    name: str
    kind: StatKind = "score"
    split: str = ALL_SPLITS
    sub_split: str | None = None
    may_be_share: bool = True
    perturbation: StatPerturbation | None = None
    is_in_0_to_1: bool = False


@dataclass(frozen=True, slots=True)
class Observations:
    """The values of one stat in a fixed order, and what is missing.

    Attributes:
        values: One finite number per scored unit.
        clusters: The cluster of each value.
        trials: The train trial of each value.
        n_failed: Units that failed.
        n_total: Units planned.
        n_blocked: Those of the failed ones that a content filter blocked.
        zero_is_worst: Whether a wrong answer gets 0, and nothing gets less.
    """

    values: Sequence[float]
    clusters: Sequence[int]
    trials: Sequence[int]
    n_failed: int
    n_total: int
    num_train_trials: int = 1
    n_blocked: int = 0
    zero_is_worst: bool = False


@dataclass(frozen=True, slots=True)
class Stat:
    """The mean of one score over units, n scored of n total, with its uncertainty.

    Attributes:
        n: Units with a value; what mean, sum and interval are over.
        n_failed: Units that failed; never part of the mean.
        n_total: Units planned; `n_total - n - n_failed` have not been answered, or have no such score.
        mean: None if nothing was scored.
        stderr: Standard error of the mean, over instances; None if undefined.
        ci95: 95% confidence interval, None if undefined; `ci95_method` says how it was found.
        num_clusters: None if the units are independent; see `evalkit.scoring.interval`.
        min: Smallest value; None if nothing was scored, or for a number over all units. So is `max`.
        num_train_trials: Train trials planned.
        trial_means: The mean within each train trial; None for one in which nothing was scored.
        trial_stderr: Standard error of the mean of the trial means (how much the choice of few-shot examples
            matters); None for a single trial or while one has no mean.
        perturbation: None for originals.
        n_blocked: Those of the failed units that a content filter blocked.
        mean_blocked_wrong: The mean if each of those had been answered wrongly; None without such, and where
            it can't be said what a wrong answer gets.
    """

    name: str
    kind: StatKind
    split: str
    sub_split: str | None
    n: int
    n_failed: int
    n_total: int
    mean: float | None
    stderr: float | None
    ci95: tuple[float, float] | None
    ci95_method: IntervalMethod | None
    num_clusters: int | None
    sum: float
    sum_squared: float
    min: float | None
    max: float | None
    num_train_trials: int
    trial_means: tuple[float | None, ...]
    trial_stderr: float | None
    perturbation: StatPerturbation | None = None
    n_blocked: int = 0
    mean_blocked_wrong: float | None = None

    @staticmethod
    def of(label: Label, observed: Observations) -> Stat:
        """The stat of these observations; exactly the same for the same values, in whatever order."""
        values = observed.values
        total = math.fsum(values)
        spread = spread_of(values, observed.clusters, label.may_be_share)
        if label.is_in_0_to_1:
            spread = spread.within_0_and_1()
        trial_means = _trial_means(observed)
        known_means = [mean for mean in trial_means if mean is not None]
        has_width = spread.ci95 is not None and spread.ci95[0] < spread.ci95[1]
        bounded = observed.n_blocked and observed.zero_is_worst and values and min(values) >= 0
        return Stat(
            name=label.name,
            kind=label.kind,
            split=label.split,
            sub_split=label.sub_split,
            n=len(values),
            n_failed=observed.n_failed,
            n_total=observed.n_total,
            mean=total / len(values) if values else None,
            stderr=spread.stderr,
            ci95=spread.ci95 if has_width else None,
            ci95_method=spread.method if has_width else None,
            num_clusters=spread.num_clusters,
            sum=total,
            sum_squared=math.fsum(v * v for v in values),
            min=min(values, default=None),
            max=max(values, default=None),
            num_train_trials=observed.num_train_trials,
            trial_means=trial_means,
            trial_stderr=stderr_of(known_means) if len(known_means) == len(trial_means) else None,
            perturbation=label.perturbation,
            n_blocked=observed.n_blocked,
            mean_blocked_wrong=total / (len(values) + observed.n_blocked) if bounded else None,
        )

    @staticmethod
    def of_run_level(
        label: Label, measured: RunLevelValue, n: int, n_failed: int, n_total: int, n_blocked: int = 0
    ) -> Stat:
        """The stat of a number over all units at once: that number in place of the mean.

        `sum` is `n` times the number, so that sum / n is the mean here too; there is no min and max.
        """
        value, stderr = measured.value, measured.stderr
        known = [v for v in measured.trial_values if v is not None]
        freedom = measured.degrees_of_freedom
        # An error of 0 would promise that other questions give the same.
        margin = two_sided_limit(_OUTSIDE, freedom) * stderr if stderr and freedom else None
        method: IntervalMethod = "clustered_t" if measured.is_mean else "bootstrap"
        return Stat(
            name=label.name,
            kind=label.kind,
            split=label.split,
            sub_split=label.sub_split,
            n=n,
            n_failed=n_failed,
            n_total=n_total,
            mean=value,
            stderr=stderr,
            ci95=None if value is None or margin is None else (value - margin, value + margin),
            ci95_method=None if value is None or margin is None else method,
            num_clusters=None,
            sum=n * (value or 0.0),
            sum_squared=n * (value or 0.0) ** 2,
            min=None,
            max=None,
            num_train_trials=len(measured.trial_values),
            trial_means=measured.trial_values,
            trial_stderr=stderr_of(known) if len(known) == len(measured.trial_values) else None,
            perturbation=label.perturbation,
            n_blocked=n_blocked,
        )

    @property
    def place(self) -> StatPlace:
        """What tells it apart from the other stats of a run."""
        return (self.name, self.split, self.sub_split, self.perturbation)

    @property
    def is_headline(self) -> bool:
        """Whether it belongs into a short table: not the numbers that a worst case is made of."""
        return self.perturbation is None or self.perturbation.computed_on == "worst"

    @property
    def is_shown(self) -> bool:
        """Whether a short table shows it: scores, and a share of completions without an answer."""
        is_missing = self.name == NO_ANSWER and bool(self.mean)
        return self.is_headline and (self.kind == "score" or is_missing)

    @property
    def part(self) -> str:
        """What it is over, in words: `all`, `test/easy`, `all, dialect: worst`."""
        place = self.split if self.sub_split is None else f"{self.split}/{self.sub_split}"
        return place if self.perturbation is None else f"{place}, {self.perturbation}"

    def to_json(self) -> dict[str, Any]:
        """The stat as a plain dictionary; undefined fields left out."""
        plain = {key: value for name, key in _KEYS.items() if (value := getattr(self, name)) is not None}
        if self.perturbation is not None:
            plain["perturbation"] = asdict(self.perturbation)
        plain["trial_means"] = list(self.trial_means)
        if not self.n_blocked:
            del plain["n_blocked"]
        if self.ci95 is not None:
            plain["ci95"] = list(self.ci95)
        return plain

    @staticmethod
    def stored_names() -> list[str]:
        """The names of the fields in `stats.json`."""
        return list(_KEYS.values())

    @staticmethod
    def from_json(plain: Mapping[str, Any]) -> Stat:
        """The inverse of `to_json`.

        Raises:
            StoreError: A field is missing or unknown.
        """
        names = Stat.stored_names()
        unknown = sorted(set(plain) - set(names))
        missing = [name for name in names if name not in plain and name not in _OPTIONAL]
        if unknown or missing:
            wrong = [f"unknown field '{f}'" for f in unknown] + [f"no field '{f}'" for f in missing]
            raise StoreError(f"this is not a stat of this version of evalkit: {', '.join(wrong)}")
        values: dict[str, Any] = {name: plain.get(key) for name, key in _KEYS.items()}
        values["trial_means"] = tuple(plain["trial_means"])
        values["n_blocked"] = plain.get("n_blocked", 0)
        if (ci95 := plain.get("ci95")) is not None:
            values["ci95"] = (ci95[0], ci95[1])
        if (perturbation := plain.get("perturbation")) is not None:
            values["perturbation"] = StatPerturbation.from_json(perturbation)
        return Stat(**values)


# Fields and their names in files; `num_trials` is HELM's word, which stored runs have.
_KEYS = {f.name: "num_trials" if f.name == "num_train_trials" else f.name for f in fields(Stat)}
_OPTIONAL = frozenset(("sub_split", "mean", "stderr", "ci95", "ci95_method", "num_clusters", "min", "max"))
_OPTIONAL |= {"trial_stderr", "perturbation", "n_blocked", "mean_blocked_wrong"}


def _trial_means(observed: Observations) -> tuple[float | None, ...]:
    by_trial: list[list[float]] = [[] for _ in range(observed.num_train_trials)]
    for trial, value in zip(observed.trials, observed.values, strict=True):
        by_trial[trial].append(value)
    return tuple(math.fsum(values) / len(values) if values else None for values in by_trial)
