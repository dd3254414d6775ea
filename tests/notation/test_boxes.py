from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.notation.boxes import boxed_answer, last_box, last_boxed


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{5}", "5"),
        (r"so \boxed 5.", "5"),
        (r"so $\boxed 5$ it is", "5"),
        (r"so $\boxed x + 1$ it is", "x + 1"),
        (r"\(\boxed 7\)", "7"),
        (r"\boxed {7}", "7"),
        (r"\boxed\frac12", r"\frac12"),
        (r"so $\fbox{5}$", "5"),
        (r"\fbox{$5$}", "5"),
        (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{x\right.}", r"\left\{x\right."),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{5} (write it in \boxed.)", "5"),
        (r"\boxed{5} and \boxed{}", "5"),
        (r"\boxed{5}, as in \boxed{...} or \boxed{your answer}", "5"),
        (r"\boxed{5}. Wait, \boxed{1", "5"),
        (r"\boxed{5} then \fbox{6}", "5"),
        (r"put it in \boxed and pay $5$ or $6$", None),
        (r"\boxedeq{3}", None),
        (r"\boxed{cut o", None),
        (r"\boxed{}", ""),
        (r"5", None),
        ("", None),
    ],
)
def test_the_last_box_that_holds_something(text: str, answer: str | None) -> None:
    assert boxed_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "helms"),
    [(r"\boxed{5}", "5"), (r"\boxed 5", None), (r"\fbox{5}", None), (r"\boxed{5} \boxed{}", "")],
)
def test_helms_reader_stays_helms(text: str, helms: str | None) -> None:
    assert last_boxed(text) == helms


_INSIDE = st.recursive(
    st.text(alphabet="ab12+-", min_size=1, max_size=5),
    lambda inner: inner.map(lambda text: f"\\frac{{{text}}}{{2}}"),
    max_leaves=4,
)


@given(st.text(alphabet="ab 12.\n", max_size=20), _INSIDE, st.text(alphabet="ab 12.\n{}", max_size=20))
def test_a_box_is_found_in_any_surroundings(before: str, inside: str, after: str) -> None:
    text = f"{before}\\boxed{{{inside}}}{after}"
    assert boxed_answer(text) == inside
    assert boxed_answer(f"{text} Write it in \\boxed{{}}.") == inside
    assert last_box(text) == (len(before), inside)


@given(st.text(alphabet="\\boxedf{}$ 5.\n", max_size=60))
def test_every_text_can_be_read(text: str) -> None:
    answer = boxed_answer(text)
    assert answer is None or answer in text
