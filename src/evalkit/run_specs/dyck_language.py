"""Dyck languages: sequences of brackets to be closed, generated."""

from __future__ import annotations

from typing import Literal

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import completion
from evalkit.specs.run_spec import RunSpec, ScenarioSpec, metric_specs


@run_spec_function("dyck_language")
def dyck_language(num_parenthesis_pairs: Literal[1, 2, 3, 4]) -> RunSpec:
    """Sequences of brackets, of which the last one to three closers are to be found.

    Args:
        num_parenthesis_pairs: Kinds of brackets.
    """
    adapter = completion(
        "Please complete the rest of the following Dyck sequences, making sure that the parentheses are "
        "closed properly.",
        max_tokens=5,
        stop=("\n",),
    )
    return RunSpec(
        name=f"dyck_language_np={num_parenthesis_pairs}",
        scenario_spec=ScenarioSpec(
            name="dyck_language", args={"num_parenthesis_pairs": num_parenthesis_pairs}
        ),
        adapter_spec=adapter.model_copy(update={"input_prefix": "Input: ", "max_train_instances": 3}),
        metric_specs=metric_specs("exact_match_indicator"),
        groups=("dyck_language",),
    )
