"""Completions rewritten before they are scored: hidden reasoning dropped, say."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evalkit.errors import DataError, UsageError
from evalkit.instance import Instance
from evalkit.registry import Output, metric
from evalkit.scoring.compatibility import refuse_machine, takes_of
from evalkit.scoring.metric import Metric, build_metric
from evalkit.scoring.run_level import Row
from evalkit.scoring.unit import Answer, Unit
from evalkit.specs.run_spec import AdapterSpec, MetricSpec
from evalkit.thinking import without_thinking

OutputProcessor = Callable[[str], str]


def remove_thinking(text: str) -> str:
    """The answer in a text: what stands behind the thinking, or around it; "" if the thinking never ends.

    Knows all marks of `evalkit.thinking`, also where the prompt has opened them.
    """
    return without_thinking(text)


def remove_deepseek_r1_thinking(text: str) -> str:
    """HELM's function: the text without what stands from the first `<think>` to the last `</think>`.

    A blank line after it goes too; what never ends leaves ""; a text without an opening mark stays as it is.
    """
    before, mark, after = text.partition("<think>")
    if not mark:
        return text
    end = "</think>\n\n" if "</think>\n\n" in text else "</think>"
    if end not in text:
        return ""
    return before + after.rpartition(end)[2] if end in after else text


_PROCESSORS: Mapping[str, OutputProcessor] = {
    "remove_thinking": remove_thinking,
    "helm.benchmark.metrics.output_processors.remove_deepseek_r1_thinking": remove_deepseek_r1_thinking,
}


def output_processor(name: str) -> OutputProcessor:
    """The function of this name: one of evalkit's, or `module.name` of yours.

    Raises:
        UsageError: There is none.
    """
    if name in _PROCESSORS:
        return _PROCESSORS[name]
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"process_output: no function '{name}' ({error}); known: remove_thinking") from None
    if not callable(found):
        raise UsageError(f"process_output: '{name}' is not a function")
    processor: OutputProcessor = found
    return processor


@metric("output_processing")
class OutputProcessingMetric(Metric):
    """Other metrics, which see the completions as a function leaves them.

    Args:
        processor: `remove_thinking`, or `module.name` of a function from text to text.
        metric_specs: The metrics, each as `{name: …, args: {…}}`.

    Raises:
        UsageError: There is no such function, or one of the metrics is impossible.
    """

    def __init__(
        self, processor: str, metric_specs: Sequence[Mapping[str, Any]], adapter_spec: AdapterSpec
    ) -> None:
        self._process = output_processor(processor)
        specs = [MetricSpec.model_validate(spec) for spec in metric_specs]
        self._metrics = [build_metric(spec, adapter_spec) for spec in specs]
        self.names = tuple(name for inner in self._metrics for name in inner.names)
        self.run_level_names = tuple(name for inner in self._metrics for name in inner.run_level_names)
        self.full_marks = {name: full for inner in self._metrics for name, full in inner.full_marks.items()}

    @classmethod
    def takes_with(cls, args: Mapping[str, Any]) -> frozenset[Output] | None:
        """What any of the metrics can score."""
        takes = [takes_of(MetricSpec.model_validate(spec)) for spec in args.get("metric_specs", ())]
        known = [one for one in takes if one is not None]
        return frozenset[Output]().union(*known) if len(known) == len(takes) else None

    @classmethod
    def check_machine(cls, args: Mapping[str, Any]) -> None:
        """Refuse a machine on which one of the metrics can't score."""
        refuse_machine([MetricSpec.model_validate(spec) for spec in args.get("metric_specs", ())])

    def check(self, instance: Instance) -> None:
        """Refuse what any of the metrics refuses."""
        for inner in self._metrics:
            inner.check(instance)

    def remarks(self) -> tuple[str, ...]:
        """The remarks of all metrics."""
        return tuple(remark for inner in self._metrics for remark in inner.remarks())

    def score(self, unit: Unit) -> Mapping[str, float]:
        """The scores of all metrics.

        Raises:
            DataError: Two of them give the same name.
        """
        unit = self._processed(unit)
        scores: dict[str, float] = {}
        for inner in self._metrics:
            for name, value in inner.score(unit).items():
                if name in scores:
                    raise DataError(f"'{inner.name}' gave '{name}', which another metric gives too")
                scores[name] = value
        return scores

    def detail(self, unit: Unit) -> str:
        """What the metrics say of their scores, each once."""
        unit = self._processed(unit)
        return "; ".join(dict.fromkeys(filter(None, (inner.detail(unit) for inner in self._metrics))))

    def run_level_row(self, unit: Unit) -> Row | None:
        """What each of the metrics over all units needs, in their order."""
        unit = self._processed(unit)
        rows = tuple(inner.run_level_row(unit) if inner.run_level_names else None for inner in self._metrics)
        return rows if any(row is not None for row in rows) else None

    def run_level_scores(self, rows: Sequence[Row]) -> Mapping[str, float]:
        """The numbers of all metrics over all units."""
        numbers: dict[str, float] = {}
        for position, inner in enumerate(self._metrics):
            own = [row[position] for row in rows if row[position] is not None]
            if own:
                numbers.update(inner.run_level_scores(own))
        return numbers

    def _processed(self, unit: Unit) -> Unit:
        return replace(unit, answers=tuple(self._rewritten(answer) for answer in unit.answers))

    def _rewritten(self, answer: Answer) -> Answer:
        response = answer.response
        completions = tuple(replace(c, text=self._process(c.text)) for c in response.completions)
        return replace(answer, response=replace(response, completions=completions))
