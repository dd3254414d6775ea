"""What a metric sees, and what it gives: a unit of answers in, named numbers out.

A metric is a function `(gold, prediction) -> float`, or a `Metric` class for whatever needs more than two
texts. Both are registered with `@metric("name")` and made by `build_metric`. Metrics only ever see answers:
a failed request never reaches them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from evalkit.adapters.adapter import Adapter
from evalkit.errors import DataError, PluginError, UsageError
from evalkit.instance import Instance
from evalkit.parameters import bind_arguments
from evalkit.plugins import load_builtins
from evalkit.registry import ADAPTERS, METRICS, Output, metric_facts, origin_of
from evalkit.scoring.optional_packages import require_module
from evalkit.scoring.run_level import Row
from evalkit.scoring.unit import Unit
from evalkit.specs.run_spec import AdapterSpec, MetricSpec

ReferenceFunction = Callable[[str, str], float]
# What evalkit 0.1 called the parts of a run-level metric.
_RENAMED = {
    "evidence": "run_level_row",
    "corpus": "run_level_scores",
    "corpus_names": "run_level_names",
}


class Metric:
    """Gives named numbers to a unit. Parameters of `__init__` are what a metric spec may set.

    A parameter named `adapter_spec` receives the run's adapter spec and can't be set.

    Attributes:
        name: The registered name; set by `build_metric`.
        names: The scores known beforehand, so that they are reported even if nothing could be scored.
        run_level_names: What `corpus` gives: numbers over all units at once, which are not means of scores.
        full_marks: What right answers get, for the scores of which that is known.
        takes: What it can score (`Adapter.gives`); it gives nothing for anything else. None: not said, and
            a plan does not refuse it.
    """

    name: str = ""
    names: tuple[str, ...] = ()
    run_level_names: tuple[str, ...] = ()
    full_marks: Mapping[str, float] = {}
    takes: ClassVar[frozenset[Output] | None] = None

    @classmethod
    def takes_with(cls, args: Mapping[str, Any]) -> frozenset[Output] | None:
        """What it can score when it is made with these arguments."""
        return cls.takes

    @classmethod
    def check_machine(cls, args: Mapping[str, Any]) -> None:
        """Refuse a machine on which it can't score with these arguments; called before data is loaded.

        Raises:
            UsageError: What is missing here, and how to get it.
        """

    @property
    def lower_is_better(self) -> frozenset[str]:
        """The scores of which less is better: here, those that are 0 for right answers.

        It decides which of several perturbed copies counts as the worst. Override it where `full_marks`
        does not tell.
        """
        return frozenset(name for name, mark in self.full_marks.items() if mark == 0)

    @property
    def shares(self) -> frozenset[str]:
        """The scores that lie from 0 to 1 by their definition; the intervals of their means end there."""
        return frozenset()

    def check(self, instance: Instance) -> None:
        """Refuse an instance that this metric can never score; called before anything is scored.

        Raises:
            DataError: What is missing, naming the instance.
        """

    def remarks(self) -> tuple[str, ...]:
        """What a user should know of the answers that were scored, one sentence each."""
        return ()

    def score(self, unit: Unit) -> Mapping[str, float]:
        """Finite numbers by name; empty if the metric does not apply to this kind of request.

        Raise where this answer can't be scored: then only this metric's scores of the unit have failed. A
        number that is not finite fails alone.
        """
        raise NotImplementedError

    def detail(self, unit: Unit) -> str:
        """Why the scores are what they are, in a few words; "" where the scores say it all.

        Called after `score` of the same unit. It is kept in `scores.jsonl`, as one line of 200 characters.
        """
        return ""

    def run_level_row(self, unit: Unit) -> Row | None:
        """The little that `run_level_scores` needs of this unit; None if it plays no part there.

        Called only if the metric has `run_level_names`. One row per unit is held until the run ends: keep
        numbers and short texts.
        """
        return None

    def run_level_scores(self, rows: Sequence[Row]) -> Mapping[str, float]:
        """Finite numbers, by the names in `run_level_names`, over the rows of at least one unit.

        Called per train trial and slice, and for every resample of the bootstrap that gives the standard
        error, in which a row may stand several times. May leave out names that these rows can't give.
        """
        raise NotImplementedError


class RunLevelMetric(Metric):
    """The base of metrics of generated answers that only give numbers over all units (`run_level_scores`)."""

    takes: ClassVar[frozenset[Output] | None] = frozenset({"generated_text"})

    def __init__(self, adapter_spec: AdapterSpec) -> None:
        self._applies = not asks_per_reference(adapter_spec)

    def check(self, instance: Instance) -> None:
        """Refuse an instance without a right answer.

        Raises:
            DataError: There is none.
        """
        if self._applies:
            require_correct_reference(self.name, instance)

    def score(self, unit: Unit) -> Mapping[str, float]:
        """Nothing: there is not a number for a single unit."""
        return {}


class FunctionMetric(Metric):
    """A function of gold and prediction as a metric, by HELM's rule.

    The score is the best over the right answers, for the likeliest prediction. If the adapter asks for
    `k != 1` outputs, `name@k` is the best over all predictions too. A letter that is not an option is scored
    as the empty text. Requests that score single references give nothing here.

    Raises:
        UsageError: The adapter's `output_mapping_pattern` is not a regular expression.
    """

    def __init__(self, name: str, function: ReferenceFunction, adapter_spec: AdapterSpec) -> None:
        self.name = name
        self._function = function
        self._pattern = compile_mapping_pattern(adapter_spec.output_mapping_pattern)
        self._name_at_k = f"{name}@{adapter_spec.num_outputs}" if adapter_spec.num_outputs != 1 else None
        self._applies = not asks_per_reference(adapter_spec)
        if self._applies:
            self.names = (name,) if self._name_at_k is None else (name, self._name_at_k)
            full_marks = METRICS.facts[name].full_marks if name in METRICS.facts else 1.0
            if full_marks is not None:
                self.full_marks = dict.fromkeys(self.names, full_marks)

    def check(self, instance: Instance) -> None:
        """Refuse an instance without a right answer.

        Raises:
            DataError: There is none.
        """
        if self._applies:
            require_correct_reference(self.name, instance)

    def score(self, unit: Unit) -> Mapping[str, float]:
        """`{name: …}`, and `name@k` where several outputs were asked for."""
        if unit.per_reference:
            return {}
        golds = unit.golds
        if not golds:
            require_correct_reference(self.name, unit.instance)
        predictions = [p or "" for p in unit.predictions(self._pattern)]
        first = self._best(golds, predictions[0])
        if self._name_at_k is None:
            return {self.name: first}
        best = max([first, *(self._best(golds, p) for p in predictions[1:])])
        return {self.name: first, self._name_at_k: best}

    def _best(self, golds: Sequence[str], prediction: str) -> float:
        if len(golds) == 1:
            return self._function(golds[0], prediction)
        return max([self._function(gold, prediction) for gold in golds])


def build_metric(spec: MetricSpec, adapter_spec: AdapterSpec) -> Metric:
    """The metric that a spec names, with its arguments.

    Raises:
        UnknownNameError: No metric has this name.
        UsageError: An argument is unknown, missing or of the wrong type; or a package is not installed.
        PluginError: What is registered is neither a `Metric` class nor a function of gold and prediction.
    """
    target = METRICS.get(spec.name)
    for module in metric_facts(spec.name).needs:
        require_module(module, f"the metric {spec.name}")
    if isinstance(target, type):
        if not issubclass(target, Metric):
            raise PluginError(f"metric '{spec.name}' ({origin_of(target)}) is a class but not a Metric")
        _refuse_old_names(spec.name, target)
        args = bind_arguments("metric", spec.name, target, spec.args, skip=("adapter_spec",))
        if "adapter_spec" in inspect.signature(target).parameters:
            args["adapter_spec"] = adapter_spec
        metric = target(**args)
        metric.name = spec.name
        return metric
    texts = list(inspect.signature(target).parameters)[:2]
    if len(texts) < 2:
        raise PluginError(f"metric '{spec.name}' ({origin_of(target)}) must take (gold, prediction)")
    args = bind_arguments("metric", spec.name, target, spec.args, skip=texts)
    return FunctionMetric(spec.name, partial(target, **args) if args else target, adapter_spec)


def _refuse_old_names(name: str, metric: type[Metric]) -> None:
    """Nothing, unless a metric was written for evalkit 0.1, whose run-level methods had other names.

    Raises:
        PluginError: It was: its numbers over all units would be left out without a word.
    """
    for old, new in _RENAMED.items():
        if hasattr(metric, old):
            raise PluginError(f"metric '{name}' ({origin_of(metric)}): rename `{old}` to `{new}`")


def asks_per_reference(adapter_spec: AdapterSpec) -> bool:
    """Whether the adapter sends one request per reference instead of letting the model generate."""
    return adapter_of(adapter_spec).per_reference


def adapter_of(adapter_spec: AdapterSpec) -> type[Adapter]:
    """The class of a spec's adapter; where it is not known (the plugin of a stored run), the base of all."""
    if adapter_spec.method not in ADAPTERS:
        load_builtins()
    if adapter_spec.method not in ADAPTERS:
        return Adapter
    found: Any = ADAPTERS.get(adapter_spec.method)
    return found if isinstance(found, type) and issubclass(found, Adapter) else Adapter


def require_correct_reference(metric_name: str, instance: Instance) -> None:
    """Nothing, if the instance has a right answer.

    Raises:
        DataError: It has none, so the metric has nothing to compare with.
    """
    if instance.first_correct is None:
        raise DataError(
            f"metric '{metric_name}' needs a right answer to compare with; instance '{instance.id}' has none"
        )


def compile_mapping_pattern(pattern: str | None) -> re.Pattern[str] | None:
    """An adapter's `output_mapping_pattern`, compiled.

    Raises:
        UsageError: It is not a regular expression.
    """
    if pattern is None:
        return None
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UsageError(f"output_mapping_pattern '{pattern}' is not a regular expression: {error}") from None
