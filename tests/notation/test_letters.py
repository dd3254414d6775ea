from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.notation.letters import settled_option

OPTIONS = {"A": "no", "B": "yes", "C": "42 m/s", "D": "Paris"}
TEN = {letter: letter.lower() for letter in "ABCDEFGHIJ"}


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("So the answer is (B).", "B"),
        ("Answer: C\n\nExplanation: Option A is correct only if it floats.", "C"),
        ("Answer is: A. But actually B is correct.", "B"),
        ("<answer>C</answer>", "C"),
        ("Answer (C)", "C"),
        ('{"answer": "C"}', "C"),
        ("```\nC\n```", "C"),
        ("Let me see.\n```text\nC. 42 m/s\n```\n", "C"),
        ("It floats.\nOption C", "C"),
        ("The correct option (C)", "C"),
        ("Answer：C", "C"),
        ("Answer - C", "C"),
        ("正解はCです。", "C"),
        ("答案是C。", "C"),
        ("It is C", "C"),
        ("It is a dog", None),
        ("The answer is Paris.", "D"),
        ("The answer is Paris or yes.", None),
        ("答案是C", "C"),
        ("正解はC", "C"),
        ("The correct answer is B", "B"),
        ("the correct answer is **(B)**", "B"),
        ("The correct answer is option B, not A", "B"),
        ("The answer is (A). No: the correct answer is (B)", "B"),
        ("If the answer is (A), it floats. It sinks, so the answer is (C).", "C"),
        ("Answer: B", "B"),
        ("ANSWER: C", "C"),
        ("**Answer:** C", "C"),
        ("Answer: **C. Paris**", "C"),
        ("The answer is **C**", "C"),
        (r"The answer is \boxed{C}", "C"),
        (r"the final answer is: $\boxed{\text{(C)}}$", "C"),
        (r"Therefore, the correct choice is \(\mathbf{D}\).", "D"),
        ("The answer is $C$.", "C"),
        ('The answer is "C".', "C"),
        ("The correct answer is C: 42 m/s.", "C"),
        ("The answer is 42 m/s (option C)", "C"),
        ("The answer is the one with mass, (C).", "C"),
        ("The answer is not (A) but (B)", "B"),
        ("Option C is correct.", "C"),
        ("(C) is the correct answer", "C"),
        ("I would go with (D).", "D"),
        ("B", "B"),
        ("**C**", "C"),
        (r"\boxed{C}", "C"),
        ("So we get\n\nC", "C"),
        ("D. Paris", "D"),
        ("answer is b", "B"),
        ("answer is B and A is wrong", "B"),
        ("The answer is A because it is.", "A"),
        ("Thus, the answer is A.", "A"),
        ("The answer is C\n\nLet me explain A lot", "C"),
        ("The answer is (C). The answer is A lot more complex than it looks.", "C"),
    ],
)
def test_what_a_text_settles_on(text: str, letter: str) -> None:
    assert settled_option(text, OPTIONS) == letter


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I think so",
        "The answer is A lot of work.",
        "the answer is a function of x",
        "the answer is A.M. radio",
        "The answer is (J)",
        "The answer isn't A.",
        "The answer is not (A).",
        "the answer is either A or B",
        "The answer is (A) or (B).",
        "The answer is (A) and (C)",
        "option B is incorrect",
        "D) is Rome",
        "Because of A.",
    ],
)
def test_what_settles_on_nothing(text: str) -> None:
    assert settled_option(text, OPTIONS) is None


def test_i_is_a_word_too() -> None:
    assert settled_option("The answer is I think", TEN) is None
    assert settled_option("The answer is I.", TEN) == "I"


_WAYS = ("({})", "**{}**", "${}$", "\\boxed{{{}}}", "**({})**", "\\text{{{}}}", "`{}`", "{}", "[{}]", "{}.")


@given(
    st.sampled_from("ABCDEFGHIJ"),
    st.sampled_from(_WAYS),
    st.sampled_from(
        ["the answer is ", "Answer: ", "The correct answer is: ", "so the best option is ", "\n\n"]
    ),
    st.lists(st.sampled_from("ABCDEFGHIJ"), max_size=3),
)
def test_the_last_statement_counts_however_it_is_written(
    letter: str, way: str, cue: str, earlier: list[str]
) -> None:
    text = "".join(f"Maybe the answer is ({each}). But no. " for each in earlier) + cue + way.format(letter)
    assert settled_option(text, TEN) == letter


@given(st.text(alphabet="ABC answer is()*$\\boxed{}.\n", max_size=60))
def test_only_options_are_found(text: str) -> None:
    assert settled_option(text, OPTIONS) in {None, *OPTIONS}
