"""Metrics that read an answer as HELM does, and those that read more spellings of it."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.errors import UsageError
from evalkit.specs.run_spec import MetricSpec, RunSpec

_FINAL_OPTION = "final_option_match"
ROBUST_METRICS = {
    "final_number_exact_match": "final_number_match",
    "math_equiv": "math_equiv_final",
    "math_equiv_chain_of_thought": "math_equiv_boxed",
    "chain_of_thought_correctness": _FINAL_OPTION,
    # Where options are lettered.
    "exact_match": _FINAL_OPTION,
    "quasi_exact_match": _FINAL_OPTION,
}
"""Metrics to those that read the same answers with fewer mistakes."""

_WRAPPER = "output_processing"


def with_robust_metrics(run_spec: RunSpec) -> tuple[MetricSpec, ...]:
    """The metrics of a run, and behind them the robust ones.

    Raises:
        UsageError: None of the metrics has one.
    """
    lettered = run_spec.adapter_spec.method.startswith("multiple_choice_joint")
    made = _with_robust(run_spec.metric_specs, lettered)
    if made == run_spec.metric_specs:
        readers = ", ".join(f"{name} ({robust})" for name, robust in ROBUST_METRICS.items())
        raise UsageError(
            f"answer_reader=robust: no metric of '{run_spec.name}' has a robust reader; these have: "
            f"{readers}; exact_match only where the model answers with the letter of an option"
        )
    return made


def _with_robust(specs: Sequence[MetricSpec], lettered: bool) -> tuple[MetricSpec, ...]:
    names = [spec.name for spec in specs]
    added = [ROBUST_METRICS[name] for name in names if name in ROBUST_METRICS]
    fitting = [name for name in added if (lettered or name != _FINAL_OPTION) and name not in names]
    inside = [_wrapped(spec, lettered) if spec.name == _WRAPPER else spec for spec in specs]
    return (*inside, *(MetricSpec(name=name) for name in dict.fromkeys(fitting)))


def _wrapped(spec: MetricSpec, lettered: bool) -> MetricSpec:
    """The metric of rewritten completions with the robust ones inside it."""
    inner = [MetricSpec.model_validate(each) for each in spec.args["metric_specs"]]
    made = [{"name": each.name, "args": each.args} for each in _with_robust(inner, lettered)]
    return MetricSpec(name=spec.name, args={**spec.args, "metric_specs": made})
