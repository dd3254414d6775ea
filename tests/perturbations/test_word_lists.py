"""Perturbations that exchange words of a list: misspellings, dialect, gender, names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.data import DataStore
from evalkit.errors import DataError, UsageError
from evalkit.perturbations.augmenter import Augmenter
from tests.perturbations.copies import changed, copy_of, instance, spec

SAE_TO_AAVE = {"prob": 1.0, "source_class": "sae", "target_class": "aave"}
NAMES: dict[str, Any] = {
    "prob": 1.0,
    "source_class": {"race": "white_american"},
    "target_class": {"race": "black_american"},
}


def put(data: DataStore, path: str, text: str) -> None:
    assert data.mirror is not None
    (data.mirror / path).write_text(text, encoding="utf-8")


def test_a_phrase_is_misspelt_only_where_no_word_of_it_comes_first(data: DataStore) -> None:
    # In the list, "about" stands before "about the", "a lot" alone.
    assert changed("about the a lot", data, "misspellings", prob=1.0).startswith("abbout ")
    assert changed("x a lot", data, "misspellings", prob=1.0) == "x alot"
    assert changed("The allot", data, "misspellings", prob=1.0) == "The allot"


def test_mild_mix_does_its_parts_one_after_the_other(data: DataStore) -> None:
    texts = [
        copy_of(instance("SHE IS not available about the", id=f"id{i}"), data, "mild_mix").input
        for i in range(60)
    ]
    assert all(text.startswith("she's ") and text == text.lower() for text in texts)
    assert any("  " in text for text in texts)
    assert any("abbout" in text for text in texts)
    assert sum("abbout" in text for text in texts) < 20


def test_dialect_wants_something_on_both_sides_of_a_word(data: DataStore) -> None:
    assert changed("this, this my-my this", data, "dialect", **SAE_TO_AAVE) == "this, dis my-my this"
    assert changed(" THIS  Will ", data, "dialect", **SAE_TO_AAVE) == " DIS  Gon "
    assert changed("see 'em run", data, "dialect", **SAE_TO_AAVE) == "see em run"
    # The blank between two words is used up by the first.
    assert changed("so my my my own", data, "dialect", **SAE_TO_AAVE) == "so mah my mah own"


def test_other_dialects_come_from_a_file(data: DataStore) -> None:
    put(data, "scots.json", json.dumps({"Small": ["wee"]}))
    args = {"source_class": "SAE", "target_class": "Scots", "mapping_file_path": "scots.json"}
    assert changed("a small dog", data, "dialect", prob=1.0, **args) == "a wee dog"
    with pytest.raises(UsageError, match="no dictionary from SAE to SCOTS is known, only SAE to AAVE"):
        changed("a", data, "dialect", prob=1.0, source_class="SAE", target_class="Scots")


def test_gender_goes_both_ways_where_asked(data: DataStore) -> None:
    text = " he and she and her brother "
    args = {"mode": "pronouns", "prob": 1.0, "source_class": "male", "target_class": "female"}
    assert changed(text, data, "gender", **args) == " she and she and her brother "
    assert changed(text, data, "gender", **args, bidirectional=True) == " he and he and him brother "
    neutral = {**args, "mode": "terms", "target_class": "Neutral"}
    assert changed(text, data, "gender", **neutral) == " he and she and her sibling "


def test_other_genders_come_from_a_file(data: DataStore) -> None:
    put(data, "words.json", '[["Old", "young"], ["grey", "blond"]]')
    args: dict[str, Any] = {
        "mode": "terms",
        "prob": 1.0,
        "source_class": "old",
        "target_class": "young",
        "mapping_file_path": "words.json",
    }
    assert changed(" OLD, grey ", data, "gender", **args, mapping_file_genders=["Old", "Young"]) == (
        " YOUNG, blond "
    )
    with pytest.raises(UsageError, match="set both mapping_file_path and"):
        changed("", data, "gender", **args)
    with pytest.raises(UsageError, match="'young' is not one of old, middle"):
        changed("", data, "gender", **args, mapping_file_genders=["old", "middle"])
    with pytest.raises(DataError, match="row 1 does not hold 3 words"):
        changed("", data, "gender", **args, mapping_file_genders=["old", "middle", "young"])
    put(data, "words.json", '[["old", "yo')
    with pytest.raises(DataError, match=r"words\.json: not valid JSON"):
        changed("", data, "gender", **args, mapping_file_genders=["old", "young"])


def test_a_name_becomes_the_same_name_everywhere(data: DataStore) -> None:
    for i in range(20):
        original = instance("Peter, JACK and peter", "jack", "Peter's", id=f"id{i}")
        copy = copy_of(original, data, "person_name", **NAMES)
        first, second, third = copy.input.replace(",", "").replace(" and", "").split()
        assert (third, second) == (first.lower(), copy.references[0].text.upper())
        assert copy.references[1].text == f"{first}'s"
        assert {first.lower(), second.lower()} <= {"lamar", "tyree"}


def test_a_name_that_is_kept_is_kept_everywhere(data: DataStore) -> None:
    found = set()
    for i in range(30):
        copy = copy_of(
            instance("Peter Peter Peter", id=f"id{i}"), data, "person_name", **{**NAMES, "prob": 0.5}
        )
        assert len(set(copy.input.split())) == 1
        found.add(copy.input.split()[0])
    assert found == {"Peter", "Lamar", "Tyree"}


def test_gender_of_names_is_kept_where_known(data: DataStore) -> None:
    def others(name: str, **args: Any) -> set[str]:
        return {
            copy_of(instance(name, id=f"id{i}"), data, "person_name", **NAMES, **args).input
            for i in range(40)
        }

    assert others("lauren") == {"sharise"}
    assert others("sam") == {"lamar", "tyree", "sharise"}
    assert others("lauren", preserve_gender=False) == {"lamar", "tyree", "sharise"}


def test_last_names(data: DataStore) -> None:
    args = {"source_class": {"Race": "White"}, "target_class": {"race": "hispanic"}}
    last = {"person_name_type": "last_name", "preserve_gender": False}
    assert changed("Mr. Smith (jack)", data, "person_name", prob=1.0, **args, **last) == "Mr. Garcia (jack)"
    with pytest.raises(UsageError, match="only first names have a gender"):
        changed("", data, "person_name", prob=1.0, **args, person_name_type="last_name")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("jack,first_name,race\n", ":1: not of the form"),
        ("jack,first_name,race,white_american\n\njill,first_name\n", ":3: not of the form"),
        ("jack,first_name,race,white_american\n", "there are no names of race black_american"),
        (
            "jack,first_name,race,white_american\nlamar,first_name,race,black_american\n",
            "no name has a gender to preserve",
        ),
    ],
)
def test_a_damaged_list_of_names_is_named(data: DataStore, lines: str, problem: str) -> None:
    put(data, "perturbations/person_name/data/person_names.txt", lines)
    with pytest.raises(DataError, match=problem):
        changed("", data, "person_name", **NAMES)


def test_a_missing_word_list_is_an_error_that_says_where_it_comes_from(tmp_path: Path) -> None:
    nowhere = DataStore(cache=tmp_path, offline=True)
    for name, args in (("misspellings", {"prob": 1.0}), ("dialect", SAE_TO_AAVE), ("person_name", NAMES)):
        augmenter = Augmenter.of(spec((name, args)))
        with pytest.raises(DataError, match=r"'perturbations/.*' is missing: .* https://"):
            nowhere.path(augmenter.files()[0])
        with pytest.raises(DataError, match="is missing"):
            augmenter.augmented([instance("a")], [], nowhere)
