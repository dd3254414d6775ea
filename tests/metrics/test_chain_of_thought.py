from __future__ import annotations

import pytest

import evalkit.metrics.chain_of_thought  # noqa: F401 - registers the metric
from evalkit.errors import DataError
from tests.scoring.units import built, instance, unit

NAME = "chain_of_thought_correctness"
MAPPING = {"A": "no", "B": "yes"}


@pytest.mark.parametrize(
    ("text", "fixed", "right"),
    [
        ("So the answer is (B).", False, 1),
        ("The correct answer is B", False, 1),
        ("the correct answer is **(B)**", False, 1),
        ("The correct answer is option B, not A", False, 1),
        ("The answer is (A). No: the correct answer is (B)", False, 0),
        ("Answer: B", False, 0),
        ("Answer: B", True, 1),
        ("[aA]nswer: (B)", False, 1),
        ("The answer is (J)", False, 0),
        ("B", False, 0),
    ],
)
def test_the_letter_that_the_reasoning_ends_in(text: str, fixed: bool, right: int) -> None:
    scored = unit(instance("yes", wrong=("no",)), text, mapping=MAPPING)
    assert built(NAME, fixed=fixed).score(scored) == {NAME: right}


def test_what_is_no_multiple_choice_is_refused() -> None:
    with pytest.raises(DataError, match="no options"):
        built(NAME).score(unit(instance("yes"), "the answer is A"))
    with pytest.raises(DataError, match="'id0' has none"):
        built(NAME).check(instance())


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("The answer is **B**", 1),
        (r"The answer is \boxed{B}", 1),
        ("The answer is $B$", 1),
        ("**B**", 1),
        ("The answer is (A). No: the correct answer is (B)", 1),
        ("The answer is A lot. So: B", 0),
        ("The answer is (J)", 0),
        ("", 0),
    ],
)
def test_the_robust_metric_takes_the_last_statement(text: str, right: int) -> None:
    scored = unit(instance("yes", wrong=("no",)), text, mapping=MAPPING)
    assert built("final_option_match").score(scored) == {"final_option_match": right}
    with pytest.raises(DataError, match="no options"):
        built("final_option_match").score(unit(instance("yes"), text))
    with pytest.raises(DataError, match="'id0' has none"):
        built("final_option_match").check(instance())
