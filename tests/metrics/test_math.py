from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.metrics import math as latex
from evalkit.notation import boxes

METRICS: dict[str, Callable[[str, str], float]] = {
    name: getattr(latex, name)
    for name in ("math_equiv", "math_equiv_chain_of_thought", "math_equiv_boxed", "cleva_math_result_match")
}


@pytest.mark.parametrize("name", [name for name in METRICS if name != "math_equiv_boxed"])
def test_scores_are_helms(name: str, golden: Callable[[str], Any]) -> None:
    for case in golden("metrics.json")["reference_metrics"]:
        assert METRICS[name](case["gold"], case["pred"]) == case["scores"][name], (case["gold"], case["pred"])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (r"\dfrac{1}{2}", r"\frac12", 1),
        (r"\frac1{72}", r"\frac{1}{72}", 1),
        ("x=5", "5", 1),
        ("abc=5", "5", 0),
        (r"\left(1, 2\right)", "(1,2)", 1),
        (".5", "0.5", 1),
        ("{.5}", "{0.5}", 1),
        ("3/4", r"\frac{3}{4}", 1),
        ("x/4", r"\frac{x}{4}", 0),
        ("03/4", r"\frac{3}{4}", 0),
        (r"50\%", "50", 1),
        (r"90^\circ", "90", 1),
        (r"\$12", "12", 1),
        (r"2\sqrt3x", r"2\sqrt{3}x", 1),
        (r"1\text{ m}\text{ s}", "1", 0),
        (r"1\text{ m}\text{ s}", r"1\text{ m}\text{ s}", 1),
        (r"\sqrt", r"\sqrt", 1),
        (r"\frac1", r"\frac1", 1),
    ],
)
def test_spellings(one: str, other: str, same: int) -> None:
    assert latex.math_equiv(one, other) == latex.math_equiv(other, one) == same


def test_boxes() -> None:
    assert boxes.last_boxed(r"\boxed{1} then \boxed{\frac{1}{2}}.") == r"\frac{1}{2}"
    assert boxes.last_boxed(r"\boxed{1") is None
    assert boxes.last_boxed(r"\fbox{1}") is None
    assert boxes.last_boxed("1") is None
    assert latex.math_equiv_chain_of_thought(r"so \boxed{2}", "2") == 0
    assert latex.math_equiv_chain_of_thought("no box", "none either") == 1
    assert latex.math_equiv_boxed("no box", "none either") == 0
    assert latex.math_equiv_boxed(r"so \boxed{0.5}", r"\boxed{\frac12}") == 1


def test_the_last_expression_counts() -> None:
    assert latex.cleva_math_result_match("7", "3+4 is (7)") == 0
    assert latex.cleva_math_result_match("7", "3+4 = 7") == 1
    assert latex.cleva_math_result_match("-1/2", "x = -1/2") == 1


@given(st.text(alphabet=r"\frac{}12sqtx=./ $%", max_size=20))
def test_equal_texts_are_equivalent(text: str) -> None:
    assert latex.math_equiv(text, text) == 1


@pytest.mark.parametrize(
    ("gold", "prediction"),
    [
        (r"so \boxed 5.", r"thus \boxed{5}"),
        (r"so $\fbox{5}$", r"thus \boxed{5}"),
        (r"so \boxed{5}", r"thus \boxed 5"),
        (r"so \boxed{5}", r"thus \fbox{5}"),
        (r"so \boxed{5}", r"thus \boxed{5}, written in \boxed."),
        (r"so \boxed{5}", r"thus \boxed{5} \boxed{}"),
        (r"so \boxed{72}", r"thus \boxed{\$72.00}"),
        (r"so \boxed{\frac{1}{4}}", r"thus \boxed{0.25}"),
        (r"so \boxed{1,000}", r"thus \boxed{1000}"),
    ],
)
def test_both_sides_are_read_by_one_reader_of_boxes(gold: str, prediction: str) -> None:
    assert latex.math_equiv_boxed(gold, prediction) == 1
    assert latex.math_equiv_boxed(gold, "no box") == latex.math_equiv_boxed(gold, r"\boxed{17}") == 0


def test_helms_metric_reads_only_the_gold_text_better() -> None:
    assert latex.math_equiv_chain_of_thought(r"so \boxed 5.", r"thus \boxed{5}") == 1
    assert latex.math_equiv_chain_of_thought(r"so $\fbox{5}$", r"thus \boxed{5}") == 1
    assert latex.math_equiv_chain_of_thought(r"so \boxed 5.", "no box") == 0
    assert latex.math_equiv_chain_of_thought(r"so \boxed{5}", r"thus \boxed 5") == 0


@pytest.mark.parametrize(
    ("prediction", "same"),
    [
        ("12", 1),
        ("12.", 1),
        ("The answer is $12$.", 1),
        (r"$x$ is \(12\)", 1),
        (r"\boxed{12}, $y$", 1),
        ("12.0", 1),
        ("1", 0),
    ],
)
def test_the_final_expression_counts(prediction: str, same: int) -> None:
    assert latex.math_equiv_final("12", prediction) == same
