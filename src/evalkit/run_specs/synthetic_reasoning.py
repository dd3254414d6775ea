"""Reasoning over generated patterns and rules (Liang et al. 2022)."""

from __future__ import annotations

from typing import Literal

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import EXACT_MATCH, generation
from evalkit.specs.run_spec import RunSpec, ScenarioSpec, metric_specs

_INSTRUCTIONS = "Please solve the following problem."


@run_spec_function("synthetic_reasoning")
def synthetic_reasoning(mode: Literal["pattern_match", "variable_substitution", "induction"]) -> RunSpec:
    """Patterns of variables and signs, and what they become with words in place of the variables.

    Args:
        mode: Find the pattern that a result matches, substitute the variables, or find the common rule.
    """
    return RunSpec(
        name=f"synthetic_reasoning:mode={mode}",
        scenario_spec=ScenarioSpec(name="synthetic_reasoning", args={"mode": mode}),
        adapter_spec=generation(_INSTRUCTIONS, "", "Target", max_tokens=50),
        metric_specs=metric_specs(*EXACT_MATCH),
        groups=("synthetic_reasoning", f"synthetic_reasoning_{mode}"),
    )


@run_spec_function("synthetic_reasoning_natural")
def synthetic_reasoning_natural(difficulty: Literal["easy", "medium", "hard"]) -> RunSpec:
    """Rules in English about a person, animal or plant, and a fact to which some of them apply.

    Args:
        difficulty: How far the fact's words are from those of the rules.
    """
    adapter = generation(_INSTRUCTIONS, "", "", max_tokens=20)
    around = {"input_prefix": "Rules:\n", "output_prefix": "", "max_train_instances": 3}
    return RunSpec(
        name=f"synthetic_reasoning_natural:difficulty={difficulty}",
        scenario_spec=ScenarioSpec(name="synthetic_reasoning_natural", args={"difficulty": difficulty}),
        adapter_spec=adapter.model_copy(update=around),
        metric_specs=metric_specs("f1_set_match", "iou_set_match", "exact_set_match", "basic_reference"),
        groups=("synthetic_reasoning", "synthetic_reasoning_natural"),
    )
