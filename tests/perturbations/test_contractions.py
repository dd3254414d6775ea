from __future__ import annotations

from random import Random

import pytest

from evalkit.perturbations.contractions import Contraction, Expansion


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is not so.", "It's not so."),
        ("this is not so.", "this isn't so."),
        ("So it is.", "So it is."),
        ("You cannot have it", "You can't have it"),
        ("he would have gone", "he'd have gone"),
        ("How do you do?", "How'd'y do?"),
        ("I AM here, CANNOT you see", "I'm here, CAN'T you see"),
        ("theirs is", "theirs is"),
        ("madam said", "ma'am said"),
    ],
)
def test_contraction(text: str, expected: str) -> None:
    assert Contraction().perturb(text, Random(0)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ain't it so?", "Is not it so?"),
        ("I can't've gone", "I cannot've gone"),
        ("CAN'T won't Shan't", "Cannot will not Shall not"),
        ("how'd they do", "how did they do"),
        ("the dog's bone", "the dog's bone"),
        ("ısn't", "ısn't"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert Expansion().perturb(text, Random(0)) == expected
