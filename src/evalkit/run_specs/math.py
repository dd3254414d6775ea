"""MATH: problems from mathematics competitions (Hendrycks et al. 2021)."""

from __future__ import annotations

from typing import Literal

from evalkit.errors import UsageError
from evalkit.registry import run_spec_function
from evalkit.specs.run_spec import AdapterSpec, RunSpec, ScenarioSpec, metric_specs

Subject = Literal[
    "number_theory",
    "intermediate_algebra",
    "algebra",
    "prealgebra",
    "geometry",
    "counting_and_probability",
    "precalculus",
]
Level = Literal[1, 2, 3, 4, 5]


@run_spec_function("math")
def math(
    subject: Subject, level: Level, use_official_examples: bool = False, use_chain_of_thought: bool = False
) -> RunSpec:
    """Problems from mathematics competitions, answered with a formula or with the whole solution.

    Args:
        subject: Their field.
        level: Their difficulty.
        use_official_examples: Show the eight examples of the paper instead of drawing some.
        use_chain_of_thought: Show and ask for solutions that end in a box; not with the official examples,
            which have none.
    """
    if use_official_examples and use_chain_of_thought:
        raise UsageError(
            "math: the official examples hold no reasoning; use_official_examples and use_chain_of_thought "
            "exclude each other"
        )
    args = {
        "subject": subject,
        "level": level,
        "use_official_examples": use_official_examples,
        "use_chain_of_thought": use_chain_of_thought,
    }
    return RunSpec(
        name="math:" + ",".join(f"{key}={value}" for key, value in args.items()),
        scenario_spec=ScenarioSpec(name="math", args=args),
        adapter_spec=_with_reasoning() if use_chain_of_thought else _answer_only(),
        metric_specs=metric_specs(
            "math_equiv_chain_of_thought" if use_chain_of_thought else "math_equiv", "basic_reference"
        ),
        groups=("math_chain_of_thought" if use_chain_of_thought else "math_regular",),
    )


def _answer_only() -> AdapterSpec:
    return _adapter(output_prefix="Answer: $", output_suffix="$\n", max_tokens=20, stop="$")


def _with_reasoning() -> AdapterSpec:
    return _adapter(output_prefix="Answer: ", output_suffix="\n", max_tokens=400, stop="###")


def _adapter(*, output_prefix: str, output_suffix: str, max_tokens: int, stop: str) -> AdapterSpec:
    return AdapterSpec(
        method="generation",
        instructions=(
            "Given a mathematics problem, determine the answer. Simplify your answer as much as possible.\n"
        ),
        input_prefix="Problem: ",
        output_prefix=output_prefix,
        output_suffix=output_suffix,
        instance_prefix="###\n",
        max_train_instances=8,
        num_outputs=1,
        temperature=0,
        max_tokens=max_tokens,
        stop_sequences=(stop,),
    )
