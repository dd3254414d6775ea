"""MedQA: questions of the United States medical licensing examination (Jin et al. 2020)."""

from __future__ import annotations

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import EXACT_MATCH, multiple_choice
from evalkit.specs.run_spec import RunSpec, ScenarioSpec, metric_specs


@run_spec_function("med_qa")
def med_qa() -> RunSpec:
    """Questions of the United States medical licensing examination, with four options."""
    return RunSpec(
        name="med_qa",
        scenario_spec=ScenarioSpec(name="med_qa"),
        adapter_spec=multiple_choice(
            "The following are multiple choice questions (with answers) about medicine.", "Question", "Answer"
        ),
        metric_specs=metric_specs(*EXACT_MATCH),
        groups=("med_qa",),
    )
