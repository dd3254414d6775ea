"""LegalBench: five of its tasks of legal reasoning (Guha et al. 2023)."""

from __future__ import annotations

from typing import Literal

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import EXACT_MATCH, generation
from evalkit.specs.run_spec import RunSpec, ScenarioSpec, metric_specs

Subset = Literal[
    "abercrombie",
    "corporate_lobbying",
    "international_citizenship_questions",
    "function_of_decision_section",
    "proa",
]

# Instructions and the noun of the answer, as LegalBench publishes them for HELM (helm_prompt_settings.jsonl).
_SETTINGS: dict[Subset, tuple[str, str]] = {
    "abercrombie": (
        "A mark is generic if it is the common name for the product. A mark is descriptive if it describes a "
        "purpose, nature, or attribute of the product. A mark is suggestive if it suggests or implies a "
        "quality or characteristic of the product. A mark is arbitrary if it is a real English word that has "
        "no relation to the product. A mark is fanciful if it is an invented word. Label the type of mark "
        "for the following products.",
        "Type",
    ),
    "corporate_lobbying": (
        "You are a lobbyist analyzing Congressional bills for their impacts on companies. Given the title "
        "and summary of the bill, plus information on the company from its 10K SEC filing, it is your job to "
        "determine if a bill is at least somewhat relevant to a company in terms of whether it could impact "
        "the company's bottom-line if it was enacted (by saying Yes or No).",
        "Label",
    ),
    "international_citizenship_questions": (
        "Answer the following questions considering the state of international law on January 1st, 2020. "
        "Answer Yes or No.",
        "Answer",
    ),
    "function_of_decision_section": (
        "Classify the following text using the following definitions.\n\n"
        "- Facts: The paragraph describes the factual background that led up to the present lawsuit.\n"
        "- Procedural History: The paragraph describes the course of litigation that led to the current "
        "proceeding before the court.\n"
        "- Issue: The paragraph describes the legal or factual issue that must be resolved by the court.\n"
        "- Rule: The paragraph describes a rule of law relevant to resolving the issue.\n"
        "- Analysis: The paragraph analyzes the legal issue by applying the relevant legal principles to the "
        "facts of the present dispute.\n"
        "- Conclusion: The paragraph presents a conclusion of the court.\n"
        "- Decree: The paragraph constitutes a decree resolving the dispute.",
        "Function",
    ),
    "proa": (
        "A private right of action is when a regular person, a private citizen, is legally entitled to "
        "enforce their rights under a given statute. Does the clause specify a private right of action? "
        "Answer Yes or No.",
        "Answer",
    ),
}


@run_spec_function("legalbench")
def legalbench(subset: Subset) -> RunSpec:
    """A task of legal reasoning with short answers.

    Args:
        subset: The task.
    """
    instructions, noun = _SETTINGS[subset]
    return RunSpec(
        name=f"legalbench:subset={subset}",
        scenario_spec=ScenarioSpec(name="legalbench", args={"subset": subset}),
        adapter_spec=generation(instructions, "", noun, max_tokens=30),
        metric_specs=metric_specs(*EXACT_MATCH),
        groups=("legalbench",),
    )
