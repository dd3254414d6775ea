"""Whether metrics can score what an adapter gives, and on this machine; asked before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from evalkit.adapters.adapter import Adapter
from evalkit.errors import UsageError
from evalkit.registry import METRICS, Output
from evalkit.scoring.metric import Metric
from evalkit.specs.run_spec import MetricSpec

_WORDS: dict[Output, str] = {
    "generated_text": "a generated answer",
    "option_letter": "the letter of an option",
    "reference_logprobs": "log-probabilities of each reference",
    "reference_answers": "a generated answer about each reference",
    "prompt_logprobs": "log-probabilities of the text",
    "embedding": "an embedding",
}
# The metric to propose for each.
FITTING: dict[Output, str] = {
    "generated_text": "exact_match",
    "reference_logprobs": "basic_reference",
    "reference_answers": "ranking",
    "prompt_logprobs": "basic_generation",
}


def takes_of(spec: MetricSpec) -> frozenset[Output] | None:
    """What the metric can score; None if it does not say.

    A function compares two texts, so it takes generated ones.

    Raises:
        UnknownNameError: There is no such metric.
    """
    target: Any = METRICS.get(spec.name)
    if not isinstance(target, type):
        return frozenset({"generated_text"})
    return target.takes_with(spec.args) if issubclass(target, Metric) else None


def refuse_machine(specs: Iterable[MetricSpec]) -> None:
    """Nothing, if all metrics can score on this machine.

    Raises:
        UsageError: One of them can't; says what is missing.
    """
    for spec in specs:
        target: Any = METRICS.get(spec.name)
        if isinstance(target, type) and issubclass(target, Metric):
            target.check_machine(spec.args)


def refuse_unfitting(adapter: type[Adapter], method: str, specs: Sequence[MetricSpec]) -> None:
    """Nothing, if one of the metrics can score what the adapter gives, or may be able to.

    Lists of metrics for several methods are common, in HELM too: those that do not fit give nothing, as long
    as one does.

    Raises:
        UsageError: None of them can; says which could.
    """
    if adapter.gives is None or not specs:
        return
    wanted: dict[Output, None] = {}
    for spec in specs:
        takes = takes_of(spec)
        if takes is None or takes & adapter.gives:
            return
        wanted |= dict.fromkeys(sorted(takes))
    names = ", ".join(spec.name for spec in specs)
    fitting = [FITTING[output] for output in sorted(adapter.gives) if output in FITTING]
    remedy = f"add the metric {' or '.join(fitting)}, or choose" if fitting else "choose"
    raise UsageError(
        f"no metric of this run fits the method {method}: it gives {_in_words(adapter.gives)}, and {names} "
        f"can score only {_in_words(wanted)}; {remedy} another method"
    )


def _in_words(outputs: Iterable[Output]) -> str:
    return " or ".join(_WORDS[output] for output in sorted(outputs))
