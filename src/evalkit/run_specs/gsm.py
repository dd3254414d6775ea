"""GSM8K: grade-school word problems (Cobbe et al. 2021)."""

from __future__ import annotations

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import generation
from evalkit.specs.run_spec import RunSpec, ScenarioSpec, metric_specs


@run_spec_function("gsm")
def gsm() -> RunSpec:
    """Grade-school word problems, answered with the reasoning and a final number."""
    return RunSpec(
        name="gsm",
        scenario_spec=ScenarioSpec(name="gsm"),
        adapter_spec=generation("", "Q", "A", max_tokens=400, stop="\n\n"),
        metric_specs=metric_specs("exact_match_indicator", "final_number_exact_match"),
        groups=("gsm",),
    )
