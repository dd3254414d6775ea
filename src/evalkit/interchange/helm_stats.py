"""HELM's numbers: its `Stat`, the bookkeeping it adds to every metric, and how it aggregates over trials.

HELM merges the stats of the instances of a train trial, reduces each to its mean, and merges those over the
trials: in its `stats.json` a count is a number of trials. Observed with crfm-helm 0.5.16.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

_BOOKKEEPING_NAMES = """
    num_references num_train_trials num_prompt_tokens num_completion_tokens num_output_tokens
    training_co2_cost training_energy_cost inference_runtime inference_denoised_runtime
    inference_idealized_runtime batch_size finish_reason_length finish_reason_stop finish_reason_endoftext
    finish_reason_unknown num_train_instances prompt_truncated num_instances logprob num_perplexity_tokens
    num_bytes num_completions max_num_completion_tokens num_requests estimated_num_tokens_cost
    """
BOOKKEEPING = frozenset(_BOOKKEEPING_NAMES.split())
"""What HELM reports of every request besides the scores proper."""

_PSEUDO_PERTURBATIONS: tuple[Mapping[str, Any], ...] = (
    {"name": "robustness", "robustness": True, "fairness": False, "computed_on": "worst"},
    {"name": "fairness", "robustness": False, "fairness": True, "computed_on": "worst"},
)


@dataclass(frozen=True, slots=True)
class Context:
    """Which instances a stat is over.

    Attributes:
        perturbation: HELM's description as sorted (field, value) pairs; None for originals.
    """

    split: str
    sub_split: str | None = None
    perturbation: tuple[tuple[str, Any], ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields of HELM's `MetricName`, without the name."""
        plain: dict[str, Any] = {"split": self.split}
        if self.sub_split is not None:
            plain["sub_split"] = self.sub_split
        if self.perturbation is not None:
            plain["perturbation"] = dict(self.perturbation)
        return plain


@dataclass(slots=True)
class HelmStat:
    """HELM's `Stat`: sums, extremes, and mean, variance and deviation of the population."""

    count: int = 0
    sum: float = 0
    sum_squared: float = 0
    min: float | None = None
    max: float | None = None

    @staticmethod
    def of(*values: float) -> HelmStat:
        """The stat of these values."""
        stat = HelmStat()
        for value in values:
            stat.merge(HelmStat(1, value, value * value, value, value))
        return stat

    @property
    def mean(self) -> float | None:
        """None while nothing was added."""
        return self.sum / self.count if self.count else None

    def merge(self, other: HelmStat) -> None:
        """Add what another stat has."""
        self.count += other.count
        self.sum += other.sum
        self.sum_squared += other.sum_squared
        if other.min is not None:
            self.min = other.min if self.min is None else min(self.min, other.min)
        if other.max is not None:
            self.max = other.max if self.max is None else max(self.max, other.max)

    def reduced(self) -> HelmStat:
        """The stat of the mean alone."""
        return HelmStat() if self.mean is None else HelmStat.of(self.mean)

    def to_json(self, name: str, context: Context) -> dict[str, Any]:
        """HELM's plain form; undefined fields left out."""
        plain: dict[str, Any] = {
            "name": {"name": name, **context.to_json()},
            "count": self.count,
            "sum": self.sum,
            "sum_squared": self.sum_squared,
        }
        mean = self.mean
        if mean is not None:
            variance = max(0.0, self.sum_squared / self.count - mean * mean)
            plain |= {"min": self.min, "max": self.max, "mean": mean}
            plain |= {"variance": variance, "stddev": math.sqrt(variance)}
        return plain


StatTable = dict[tuple[str, Context], HelmStat]


@dataclass(slots=True)
class UnitStats:
    """The stats of one instance (or perturbed copy) in one train trial, by name in order."""

    instance_id: str
    trial: int
    context: Context
    stats: dict[str, HelmStat]


class Aggregation:
    """Takes the stats of the units of a run, train trial by train trial, and gives HELM's `stats.json`.

    Args:
        has_copies: Keep per-instance values, for the worst case over perturbed copies; without copies the
            worst case is the value itself, and nothing needs to be kept.
    """

    def __init__(self, *, has_copies: bool = False) -> None:
        self._trials: dict[int, StatTable] = {}
        self._num_instances: dict[int, dict[Context, int]] = {}
        self._has_copies = has_copies
        self._by_instance: dict[int, dict[tuple[str, str, Context], list[tuple[Context, HelmStat]]]] = {}

    def add(self, unit: UnitStats) -> None:
        """Take the stats of a unit."""
        table = self._trials.setdefault(unit.trial, {})
        counts = self._num_instances.setdefault(unit.trial, {})
        counts[unit.context] = counts.get(unit.context, 0) + 1
        original = replace(unit.context, perturbation=None)
        for name, stat in unit.stats.items():
            _merge(table, name, unit.context, stat)
            if self._has_copies:
                family = self._by_instance.setdefault(unit.trial, {})
                family.setdefault((name, unit.instance_id, original), []).append((unit.context, stat))
            elif stat.min is not None:
                for pseudo in _PSEUDO_PERTURBATIONS:
                    worst = replace(unit.context, perturbation=_pairs(pseudo))
                    _merge(table, name, worst, HelmStat.of(stat.min))

    def stats(self) -> Iterator[dict[str, Any]]:
        """HELM's `stats.json`, one stat at a time."""
        over_trials: StatTable = {}
        for trial, table in sorted(self._trials.items()):
            for context in dict.fromkeys(context for _, context in table):
                for name, value in _derived(table, context):
                    _merge(table, name, context, HelmStat.of(value))
            for family in self._by_instance.get(trial, {}).items():
                _merge_worst(table, *family)
            for (name, context), stat in table.items():
                _merge(over_trials, name, context, stat.reduced())
            for context, count in self._num_instances[trial].items():
                _merge(over_trials, "num_instances", context, HelmStat.of(count))
        for (name, context), stat in over_trials.items():
            yield stat.to_json(name, context)


def bookkeeping(facts: Iterable[Mapping[str, float | None]]) -> dict[str, HelmStat]:
    """The stats of the requests of one unit, merged; a value of None is counted as absent."""
    merged: dict[str, HelmStat] = {}
    for one in facts:
        for name, value in one.items():
            stat = merged.setdefault(name, HelmStat())
            if value is not None:
                stat.merge(HelmStat.of(value))
    return merged


def _merge(table: StatTable, name: str, context: Context, stat: HelmStat) -> None:
    table.setdefault((name, context), HelmStat()).merge(stat)


def _derived(table: StatTable, context: Context) -> Iterator[tuple[str, float]]:
    """Perplexity and its relatives, from sums over all instances of a context."""
    # The worst case of log-probabilities derives nothing.
    if dict(context.perturbation or ()).get("computed_on") in ("worst", "original"):
        return
    logprob = table.get(("logprob", context))
    tokens, num_bytes = (table.get((name, context)) for name in ("num_perplexity_tokens", "num_bytes"))
    if logprob is None:
        return
    if tokens is not None and tokens.sum > 0:
        yield "perplexity", math.exp(-logprob.sum / tokens.sum)
    if num_bytes is not None and num_bytes.sum > 0:
        yield "bits_per_byte", -logprob.sum / num_bytes.sum / math.log(2)
        yield "logprob_per_byte", logprob.sum / num_bytes.sum


def _merge_worst(
    table: StatTable, family: tuple[str, str, Context], members: list[tuple[Context, HelmStat]]
) -> None:
    """The smallest value of a metric over an instance and its copies; HELM takes it for every metric."""
    name, _, bare = family
    original = next((stat for context, stat in members if context.perturbation is None), None)
    copies = [(dict(c.perturbation), stat) for c, stat in members if c.perturbation is not None]
    groups = [(dict(p), [s for d, s in copies if d.get(p["name"])]) for p in _PSEUDO_PERTURBATIONS]
    groups += [({**description, "computed_on": "worst"}, [stat]) for description, stat in copies]
    for description, stats in groups:
        lows = [stat.min for stat in [*stats, *([original] if original else [])] if stat.min is not None]
        if original is not None and description["name"] not in ("robustness", "fairness"):
            before = replace(bare, perturbation=_pairs({**description, "computed_on": "original"}))
            _merge(table, name, before, original)
        if lows:
            _merge(table, name, replace(bare, perturbation=_pairs(description)), HelmStat.of(min(lows)))


def _pairs(description: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(description.items())
