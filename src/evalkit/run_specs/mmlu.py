"""MMLU: multiple-choice exam questions in 57 subjects (Hendrycks et al. 2021)."""

from __future__ import annotations

from typing import Literal

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import EXACT_MATCH, MultipleChoiceMethod, multiple_choice
from evalkit.specs.run_spec import RunSpec, ScenarioSpec, metric_specs

Subject = Literal[
    "abstract_algebra",
    "anatomy",
    "astronomy",
    "business_ethics",
    "clinical_knowledge",
    "college_biology",
    "college_chemistry",
    "college_computer_science",
    "college_mathematics",
    "college_medicine",
    "college_physics",
    "computer_security",
    "conceptual_physics",
    "econometrics",
    "electrical_engineering",
    "elementary_mathematics",
    "formal_logic",
    "global_facts",
    "high_school_biology",
    "high_school_chemistry",
    "high_school_computer_science",
    "high_school_european_history",
    "high_school_geography",
    "high_school_government_and_politics",
    "high_school_macroeconomics",
    "high_school_mathematics",
    "high_school_microeconomics",
    "high_school_physics",
    "high_school_psychology",
    "high_school_statistics",
    "high_school_us_history",
    "high_school_world_history",
    "human_aging",
    "human_sexuality",
    "international_law",
    "jurisprudence",
    "logical_fallacies",
    "machine_learning",
    "management",
    "marketing",
    "medical_genetics",
    "miscellaneous",
    "moral_disputes",
    "moral_scenarios",
    "nutrition",
    "philosophy",
    "prehistory",
    "professional_accounting",
    "professional_law",
    "professional_medicine",
    "professional_psychology",
    "public_relations",
    "security_studies",
    "sociology",
    "us_foreign_policy",
    "virology",
    "world_religions",
]


@run_spec_function("mmlu")
def mmlu(subject: Subject, method: MultipleChoiceMethod = "multiple_choice_joint") -> RunSpec:
    """Multiple-choice exam questions in one subject.

    Args:
        subject: The exam.
        method: How the options are put to the model.
    """
    topic = subject.replace("_", " ")
    return RunSpec(
        name=f"mmlu:subject={subject},method={method}",
        scenario_spec=ScenarioSpec(name="mmlu", args={"subject": subject}),
        adapter_spec=multiple_choice(
            f"The following are multiple choice questions (with answers) about {topic}.",
            "Question",
            "Answer",
            method=method,
        ),
        metric_specs=metric_specs(*EXACT_MATCH),
        groups=("mmlu",),
    )
