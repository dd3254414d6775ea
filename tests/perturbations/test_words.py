from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import DataError
from evalkit.perturbations.words import alternation, match_case, read_substitutes

PHRASES = st.lists(st.text("ab -.'", min_size=1, max_size=4), min_size=1, max_size=8)


@given(PHRASES, st.text("ab -.'", max_size=30))
def test_an_alternation_matches_what_the_plain_one_does(phrases: list[str], text: str) -> None:
    plain = "|".join(map(re.escape, phrases))
    for frame in (r"\b({})\b", r"({})", r"[^\w-]({})[^\w-]"):
        found = [m.span(1) for m in re.finditer(frame.format(alternation(phrases)), text)]
        assert found == [m.span(1) for m in re.finditer(frame.format(plain), text)]


def test_of_several_alternatives_the_first_in_the_list_matches() -> None:
    assert re.sub(alternation(["can't", "can't've"]), "#", "can't've") == "#'ve"
    assert re.sub(alternation(["can't've", "can't"]), "#", "can't've can't") == "# #"
    assert re.sub(alternation(["ab1", "a", "ab2"]), "#", "ab1 ab2") == "# #b2"


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("word", "Wort", "wort"),
        ("WORD", "wort", "WORT"),
        ("Word", "wort", "Wort"),
        ("I am", "i'm", "I'm"),
        ("i am", "I'm", "I'm"),
        ("wOrd", "worT", "worT"),
    ],
)
def test_case_is_carried_over(source: str, target: str, expected: str) -> None:
    assert match_case(source, target) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": ["b"', "not valid JSON"),
        ("[]", "a JSON object of words is expected"),
        ("{}", "a JSON object of words is expected"),
        ('{"a": []}', "'a' has no list of words"),
        ('{"a": "b"}', "'a' has no list of words"),
        ('{"a": [1]}', "'a' has no list of words"),
    ],
)
def test_a_damaged_word_list_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "words.json"
    path.write_text(text)
    with pytest.raises(DataError, match=problem) as caught:
        read_substitutes(path)
    assert str(path) in str(caught.value)
