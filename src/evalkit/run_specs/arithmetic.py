"""Sums with whole numbers: data-free, with right answers that are beyond doubt."""

from __future__ import annotations

from typing import Literal

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import generation
from evalkit.specs.run_spec import RunSpec, ScenarioSpec, metric_specs


@run_spec_function("arithmetic")
def arithmetic(
    operation: Literal["add", "subtract", "multiply"] = "add", digits: int = 2, num_test: int = 100
) -> RunSpec:
    """Sums with two random whole numbers.

    Args:
        operation: What is done with them.
        digits: Digits of each number.
        num_test: Questions asked.
    """
    return RunSpec(
        name=f"arithmetic:operation={operation},digits={digits},num_test={num_test}",
        scenario_spec=ScenarioSpec(
            name="arithmetic", args={"operation": operation, "digits": digits, "num_test": num_test}
        ),
        # A product has twice the digits; some tokenizers spend a token on each, on the sign and on blanks.
        adapter_spec=generation("", "Question", "Answer", max_tokens=max(5, 2 * digits + 3)),
        metric_specs=metric_specs("exact_match", "quasi_exact_match", "final_number_exact_match"),
        groups=("arithmetic",),
    )
