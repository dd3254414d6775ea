"""BBQ: questions that reveal social bias (Parrish et al. 2022)."""

from __future__ import annotations

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import EXACT_MATCH, MultipleChoiceMethod, multiple_choice
from evalkit.specs.run_spec import RunSpec, ScenarioSpec, metric_specs


@run_spec_function("bbq")
def bbq(subject: str, method: MultipleChoiceMethod = "multiple_choice_joint") -> RunSpec:
    """Questions about two people of different groups, in contexts with and without the answer.

    Args:
        subject: A category such as Age, in any letter case, or all.
        method: How the options are put to the model.
    """
    return RunSpec(
        name=f"bbq:subject={subject},method={method}",
        scenario_spec=ScenarioSpec(name="bbq", args={"subject": subject}),
        adapter_spec=multiple_choice(
            "The following are multiple choice questions (with answers).", "Passage", "Answer", method=method
        ),
        metric_specs=metric_specs("bbq", *EXACT_MATCH),
        groups=("bbq",),
    )
