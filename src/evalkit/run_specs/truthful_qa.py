"""TruthfulQA: questions that some people answer by a misconception (Lin et al. 2022)."""

from __future__ import annotations

from typing import Literal

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import EXACT_MATCH, MultipleChoiceMethod, multiple_choice
from evalkit.specs.run_spec import RunSpec, ScenarioSpec, metric_specs


@run_spec_function("truthful_qa")
def truthful_qa(
    task: Literal["mc_single"], method: MultipleChoiceMethod = "multiple_choice_joint"
) -> RunSpec:
    """Multiple-choice questions with one true answer among widespread wrong ones.

    Args:
        task: The only one.
        method: How the options are put to the model.
    """
    return RunSpec(
        name=f"truthful_qa:task={task},method={method}",
        scenario_spec=ScenarioSpec(name="truthful_qa", args={"task": task}),
        adapter_spec=multiple_choice("", "Question", "Answer", method=method),
        metric_specs=metric_specs(*EXACT_MATCH),
        groups=("truthful_qa",),
    )
