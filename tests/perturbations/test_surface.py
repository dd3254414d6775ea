from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.perturbations.surface import FillerWords, Lowercase, Space, Style, Typos


@given(st.text(), st.integers(1, 4), st.integers())
def test_space_changes_nothing_but_the_number_of_blanks(text: str, most: int, seed: int) -> None:
    changed = Space(most).perturb(text, Random(seed))
    assert changed.replace(" ", "") == text.replace(" ", "")
    assert " " * (most + 1) not in changed
    assert (" " in changed) == (" " in text)


@given(st.text("abcXYZ ,.é"), st.integers())
def test_typos_keep_length_and_case_and_what_no_key_is_near(text: str, seed: int) -> None:
    changed = Typos(1.0).perturb(text, Random(seed))
    assert [c.isupper() for c in changed] == [c.isupper() for c in text]
    for before, after in zip(text, changed, strict=True):
        assert (before == after) == (before in " ,.é")


@given(st.text(), st.integers())
def test_without_probability_nothing_is_typed_wrong(text: str, seed: int) -> None:
    assert Typos(0.0).perturb(text.lower(), Random(seed)) == text.lower()


def test_fillers_stop_at_the_limit() -> None:
    fillers = FillerWords(insert_prob=1.0, max_num_insert=2, speaker_ph=False, uncertain_ph=False)
    words = fillers.perturb("one two three", Random(0)).replace("you know", "know").split(" ")
    assert len(words) == 5
    assert [word for word in words if word in ("one", "two", "three")] == ["one", "two", "three"]
    assert words[-1] == "three"
    assert words[-2] == "two"


def test_fixed_changes() -> None:
    assert Lowercase().perturb("ÀB c", Random(0)) == "àb c"
    assert Style("watercolor").perturb("a dog", Random(0)) == "a dog, watercolor"


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Typos(1.5), "between 0 and 1"),
        (lambda: FillerWords(-0.1), "between 0 and 1"),
        (lambda: Space(0), "at least 1"),
        (lambda: FillerWords(speaker_ph=False, uncertain_ph=False, fill_ph=False), "no kind of filler"),
    ],
)
def test_impossible_arguments_are_refused(make: object, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        make()  # type: ignore[operator]
