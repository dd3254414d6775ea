"""Tiny benchmarks that make their own instances: for trying a model, a server or an installation."""

from __future__ import annotations

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import EXACT_MATCH, OPEN_ENDED, generation, multiple_choice
from evalkit.specs.run_spec import AdapterSpec, RunSpec, ScenarioSpec, metric_specs


@run_spec_function("simple_mcqa")
def simple_mcqa() -> RunSpec:
    """Is a number even or odd? As multiple choice."""
    return RunSpec(
        name="simple_mcqa",
        scenario_spec=ScenarioSpec(name="simple_mcqa"),
        adapter_spec=multiple_choice(
            "Answer the following questions with a single letter only.", "Question", "Answer", max_tokens=5
        ),
        metric_specs=metric_specs(*EXACT_MATCH),
        groups=("simple_mcqa",),
    )


@run_spec_function("simple_short_answer_qa")
def simple_short_answer_qa() -> RunSpec:
    """Is a number even or odd? Answered in one word."""
    return RunSpec(
        name="simple_short_answer_qa",
        scenario_spec=ScenarioSpec(name="simple_short_answer_qa"),
        adapter_spec=generation(
            "Answer the following questions with a single word only.", "Question", "Answer"
        ),
        metric_specs=metric_specs(*OPEN_ENDED),
        groups=("simple_short_answer_qa",),
    )


@run_spec_function("simple_classification")
def simple_classification() -> RunSpec:
    """A number, classified as even or odd."""
    return RunSpec(
        name="simple_classification",
        scenario_spec=ScenarioSpec(name="simple_classification"),
        adapter_spec=generation(
            'Classify the following numbers by their parity. The classes are "Even" and "Odd".',
            "Number",
            "Parity",
        ),
        metric_specs=metric_specs(*EXACT_MATCH, "classification_macro_f1", "classification_micro_f1"),
        groups=("simple_classification",),
    )


@run_spec_function("simple1")
def simple1() -> RunSpec:
    """Random numbers in, one of them out: exercises sampling and repeated trials, scores nothing."""
    sizes = {"num_input_tokens": 5, "vocab_size": 20, "num_train_instances": 10, "num_test_instances": 10}
    return RunSpec(
        name="simple1",
        scenario_spec=ScenarioSpec(name="simple1", args=sizes),
        adapter_spec=AdapterSpec(
            method="generation",
            instructions="Please solve the following problem.\n",
            max_eval_instances=10,
            num_outputs=3,
            num_train_trials=3,
            stop_sequences=(".",),
        ),
    )
