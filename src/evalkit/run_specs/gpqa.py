"""GPQA: questions of science that a search engine does not answer (Rein et al. 2023)."""

from __future__ import annotations

from typing import Literal

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import EXACT_MATCH, free_multiple_choice, multiple_choice
from evalkit.specs.run_spec import AdapterSpec, RunSpec, ScenarioSpec, metric_specs

Subset = Literal["main", "diamond", "extended", "gpqa_main", "gpqa_diamond", "gpqa_extended"]
_FEW_SHOT = (
    "Here are some example questions from experts. An explanation is given before the final answer. Answer "
    "the final question yourself, giving your reasoning beforehand."
)
_FEW_SHOT_SUFFIX = (
    "Give step by step reasoning before you answer, and when you’re ready to answer, please use the format "
    '"The correct answer is (insert answer here)":'
)


@run_spec_function("gpqa")
def gpqa(subset: Subset, use_chain_of_thought: bool = True, use_few_shot: bool = False) -> RunSpec:
    """Questions of physics, chemistry and biology with four options.

    Args:
        subset: Which of them; gpqa_ may stand before.
        use_chain_of_thought: Ask for reasoning before the answer.
        use_few_shot: Show the two or three examples that there are.
    """
    subset_name = f"gpqa_{subset.removeprefix('gpqa_')}"
    flags = f"use_chain_of_thought={use_chain_of_thought},use_few_shot={use_few_shot}".lower()
    metrics = ("basic_reference", "chain_of_thought_correctness") if use_chain_of_thought else EXACT_MATCH
    if use_few_shot:
        adapter = _few_shot(use_chain_of_thought)
    else:
        adapter = free_multiple_choice("(A) ", use_chain_of_thought)
    return RunSpec(
        name=f"gpqa:subset={subset_name},{flags}",
        scenario_spec=ScenarioSpec(name="gpqa", args={"subset": subset_name}),
        adapter_spec=adapter,
        metric_specs=metric_specs(*metrics),
        groups=("gpqa",),
    )


def _few_shot(use_chain_of_thought: bool) -> AdapterSpec:
    shared = {"input_suffix": "\nChoices: \n", "reference_prefix": "(A) "}
    if not use_chain_of_thought:
        plain = multiple_choice(_FEW_SHOT, "Question", "Answer")
        return plain.model_copy(update={**shared, "output_prefix": "The correct answer is "})
    adapter = multiple_choice(
        _FEW_SHOT, "Question", "Answer", method="multiple_choice_joint_chain_of_thought", max_tokens=2000
    )
    return adapter.model_copy(
        update={
            **shared,
            "output_prefix": "",
            "chain_of_thought_prefix": "Let's think step by step: ",
            "chain_of_thought_suffix": "The correct answer is ",
            "global_suffix": _FEW_SHOT_SUFFIX,
        }
    )
