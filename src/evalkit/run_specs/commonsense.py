"""Questions of common sense, multiple choice, from five sets."""

from __future__ import annotations

from typing import Literal

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import EXACT_MATCH, MultipleChoiceMethod, multiple_choice
from evalkit.specs.run_spec import RunSpec, ScenarioSpec, metric_specs

Dataset = Literal["hellaswag", "openbookqa", "commonsenseqa", "piqa", "siqa"]


@run_spec_function("commonsense")
def commonsense(dataset: Dataset, method: MultipleChoiceMethod) -> RunSpec:
    """Questions of common sense with two to five options.

    Args:
        dataset: Which set of questions.
        method: How the options are put to the model.
    """
    return RunSpec(
        name=f"commonsense:dataset={dataset},method={method}",
        scenario_spec=ScenarioSpec(name=dataset),
        adapter_spec=multiple_choice(
            "The following are multiple choice questions (with answers) about common sense.",
            "Question",
            "Answer",
            method=method,
        ),
        metric_specs=metric_specs(*EXACT_MATCH),
        groups=(dataset,),
    )
