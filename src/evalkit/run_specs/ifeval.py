"""IFEval: instructions whose following can be verified (Zhou et al. 2023)."""

from __future__ import annotations

from evalkit.registry import run_spec_function
from evalkit.specs.run_spec import AdapterSpec, RunSpec, ScenarioSpec, metric_specs


@run_spec_function("ifeval")
def ifeval() -> RunSpec:
    """Prompts with instructions such as "do not use any commas", answered at length."""
    return RunSpec(
        name="ifeval",
        scenario_spec=ScenarioSpec(name="ifeval"),
        adapter_spec=AdapterSpec(
            method="generation",
            input_prefix="",
            output_prefix="",
            num_outputs=1,
            max_tokens=4096,
            temperature=0,
        ),
        metric_specs=metric_specs("basic_reference", "ifeval"),
        groups=("ifeval",),
    )
