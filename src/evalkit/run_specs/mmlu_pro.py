"""MMLU-Pro: exam questions with up to ten options (Wang et al. 2024)."""

from __future__ import annotations

from typing import Any, Literal

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import EXACT_MATCH, free_multiple_choice
from evalkit.specs.run_spec import RunSpec, ScenarioSpec, metric_specs

Subject = Literal[
    "all",
    "biology",
    "business",
    "chemistry",
    "computer_science",
    "economics",
    "engineering",
    "health",
    "history",
    "law",
    "math",
    "other",
    "philosophy",
    "physics",
    "psychology",
]


@run_spec_function("mmlu_pro")
def mmlu_pro(
    subject: Subject = "all",
    use_chain_of_thought: bool = True,
    use_few_shot: bool = False,
    with_reasoning: bool = False,
) -> RunSpec:
    """Multiple-choice exam questions with up to ten options.

    Args:
        subject: The exam.
        use_chain_of_thought: Ask for reasoning before the answer.
        use_few_shot: Show five examples.
        with_reasoning: Show the examples with their reasoning, which HELM loses.
    """
    args: dict[str, Any] = {"subject": subject}
    name = (
        f"mmlu_pro:subset={subject},use_chain_of_thought={use_chain_of_thought},use_few_shot={use_few_shot}"
    ).lower()
    if with_reasoning:
        args["with_reasoning"] = True
        name += ",with_reasoning=true"
    adapter = free_multiple_choice("A. ", use_chain_of_thought)
    metrics = ("basic_reference", "chain_of_thought_correctness") if use_chain_of_thought else EXACT_MATCH
    return RunSpec(
        name=name,
        scenario_spec=ScenarioSpec(name="mmlu_pro", args=args),
        adapter_spec=adapter.model_copy(update={"max_train_instances": 5 if use_few_shot else 0}),
        metric_specs=metric_specs(*metrics),
        groups=("mmlu_pro",),
    )
