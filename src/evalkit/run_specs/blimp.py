"""BLiMP: pairs of sentences of which one is grammatical (Warstadt et al. 2020)."""

from __future__ import annotations

from typing import Literal

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import EXACT_MATCH, MultipleChoiceMethod, multiple_choice
from evalkit.specs.run_spec import RunSpec, ScenarioSpec, metric_specs

Phenomenon = Literal[
    "island_effects",
    "anaphor_agreement",
    "argument_structure",
    "determiner_noun_agreement",
    "subject_verb_agreement",
    "ellipsis",
    "control_raising",
    "quantifiers",
    "irregular_forms",
    "npi_licensing",
    "binding",
    "filler_gap_dependency",
]


@run_spec_function("blimp")
def blimp(
    phenomenon: Phenomenon, method: MultipleChoiceMethod = "multiple_choice_separate_original"
) -> RunSpec:
    """Pairs of a grammatical and an ungrammatical sentence.

    Args:
        phenomenon: What of grammar it is about.
        method: How the sentences are put to the model; with a joint method the answer is always A.
    """
    adapter = multiple_choice("Please select the grammatical sentence.", "", "Answer", method=method)
    # There is no question, so nothing stands around it.
    unquestioned = {"input_prefix": "", "input_suffix": ""}
    if "separate" in method:
        unquestioned["output_prefix"] = ""
    return RunSpec(
        name=f"blimp:phenomenon={phenomenon},method={method}",
        scenario_spec=ScenarioSpec(name="blimp", args={"phenomenon": phenomenon}),
        adapter_spec=adapter.model_copy(update=unquestioned),
        metric_specs=metric_specs(*EXACT_MATCH),
        groups=("blimp",),
    )
