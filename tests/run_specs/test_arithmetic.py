from __future__ import annotations

from typing import Literal

import pytest

from evalkit.run_specs.arithmetic import arithmetic


def test_arithmetic_says_its_sizes() -> None:
    run_spec = arithmetic()
    assert run_spec.name == "arithmetic:operation=add,digits=2,num_test=100"
    assert run_spec.scenario_spec.args == {"operation": "add", "digits": 2, "num_test": 100}
    assert run_spec.adapter_spec.max_train_instances == 5
    assert [m.name for m in run_spec.metric_specs] == [
        "exact_match",
        "quasi_exact_match",
        "final_number_exact_match",
    ]


@pytest.mark.parametrize("operation", ["add", "subtract", "multiply"])
@pytest.mark.parametrize("digits", [1, 2, 5, 12])
def test_the_longest_answer_fits_at_a_token_a_character(
    operation: Literal["add", "subtract", "multiply"], digits: int
) -> None:
    largest = 10**digits - 1
    answers = {"add": largest + largest, "subtract": -largest, "multiply": largest * largest}
    assert arithmetic(operation, digits).adapter_spec.max_tokens > len(f" {answers[operation]}")
