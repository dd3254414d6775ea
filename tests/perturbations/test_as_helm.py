"""What HELM's own tests expect of each perturbation, for an instance with the id `id0`."""

from __future__ import annotations

from typing import Any

import pytest

from evalkit.data import DataStore
from tests.perturbations.copies import changed, copy_of, instance

MALE_TO_FEMALE = {"prob": 1.0, "source_class": "male", "target_class": "female"}
WHITE_TO_BLACK = {
    "prob": 1.0,
    "source_class": {"race": "white_american"},
    "target_class": {"race": "black_american"},
}
WORLD = "Hello World!\nQuite a day, huh?"
FOX = "The quick brown fox jumps over the lazy dog."
INPUTS: list[tuple[str, dict[str, Any], str, str]] = [
    ("extra_space", {"num_spaces": 2}, "Hello my name is", "Hello  my  name  is"),
    (
        "misspellings",
        {"prob": 1.0},
        "Already, the new product is not available.",
        "Alreayd, hten new product is nto avaliable.",
    ),
    (
        "filler_words",
        {"insert_prob": 0.3, "speaker_ph": False},
        FOX,
        "The quick brown fox jumps over like the lazy probably dog.",
    ),
    ("contraction", {}, "She is a doctor, and I am a student", "She's a doctor, and I'm a student"),
    ("expansion", {}, "She's a doctor, and I'm a student", "She is a doctor, and I am a student"),
    (
        "typos",
        {"prob": 0.1},
        "After their marriage, she started a close collaboration with Karvelas.",
        "After tjeir marriage, she xrwrted a cloae dollabpration with Iarvwlas.",
    ),
    ("lowercase", {}, WORLD, WORLD.lower()),
    ("space", {"max_spaces": 3}, WORLD, "Hello   World!\nQuite a  day,   huh?"),
    (
        "dialect",
        {"prob": 1.0, "source_class": "SAE", "target_class": "AAVE"},
        "I will remember this day to be the best day of my life.",
        "I gon remember dis day to b the best day of mah life.",
    ),
    (
        "person_name",
        WHITE_TO_BLACK,
        "I learned that Jack and Lauren are siblings!",
        "I learned that Tyree and Sharise are siblings!",
    ),
    (
        "gender",
        {"mode": "pronouns", **MALE_TO_FEMALE},
        "Did she mention that he was coming with his parents and their friends?",
        "Did she mention that she was coming with her parents and their friends?",
    ),
    (
        "gender",
        {"mode": "terms", **MALE_TO_FEMALE},
        "His grandsons looked a lot like their dad.",
        "His granddaughters looked a lot like their mom.",
    ),
]
REFERENCES: list[tuple[str, dict[str, Any], str, str]] = [
    ("dialect", {"prob": 1.0, "source_class": "SAE", "target_class": "AAVE"}, "Is this it?", "Is dis it?"),
    (
        "gender",
        {"mode": "pronouns", **MALE_TO_FEMALE},
        "She didn't, perhaps he didn't tell her!",
        "She didn't, perhaps she didn't tell her!",
    ),
    ("person_name", WHITE_TO_BLACK, "Peter and peter were friends.", "Tyree and tyree were friends."),
    ("lowercase", {}, "Yes!", "Yes!"),
    ("contraction", {}, "he is a teacher", "he is a teacher"),
    ("filler_words", {"insert_prob": 1.0}, FOX, FOX),
]


@pytest.mark.parametrize(("name", "args", "text", "expected"), INPUTS)
def test_inputs(data: DataStore, name: str, args: dict[str, Any], text: str, expected: str) -> None:
    assert changed(text, data, name, **args) == expected


@pytest.mark.parametrize(("name", "args", "reference", "expected"), REFERENCES)
def test_references(data: DataStore, name: str, args: dict[str, Any], reference: str, expected: str) -> None:
    copy = copy_of(instance("?", reference), data, name, **args)
    assert [r.text for r in copy.references] == [expected]
    assert copy.references[0].is_correct


@pytest.mark.parametrize(
    ("name", "args", "robustness", "fairness"),
    [
        ("typos", {"prob": 0.1}, True, False),
        ("mild_mix", {}, True, False),
        ("contrast_sets", {}, True, False),
        ("gender", {"mode": "terms", **MALE_TO_FEMALE}, False, True),
        ("person_name", WHITE_TO_BLACK, False, True),
        ("style", {"suffix": "watercolor"}, False, False),
    ],
)
def test_copies_say_what_they_test(
    data: DataStore, name: str, args: dict[str, Any], robustness: bool, fairness: bool
) -> None:
    description = copy_of(instance("?"), data, name, **args).perturbation
    assert description is not None
    assert (description.name, description.label, description.seed) == (name, name, None)
    assert (description.robustness, description.fairness) == (robustness, fairness)
