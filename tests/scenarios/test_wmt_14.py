from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.data import DataStore
from evalkit.errors import DataError, UsageError
from evalkit.scenarios.wmt_14 import Language, WMT14Scenario
from tests.scenarios.mirror import json_lines, mirror


def store_with(folder: Path, train: list[dict[str, str]], test: list[dict[str, str]]) -> DataStore:
    paths = [f"hf/wmt14/de-en/{part}.jsonl" for part in ("train", "validation", "test")]
    rows = [[{"translation": pair} for pair in pairs] for pairs in (train, [], test)]
    return mirror(folder, {path: json_lines(part) for path, part in zip(paths, rows, strict=True)})


def test_train_translations_come_once_and_test_stays(tmp_path: Path) -> None:
    pairs = [{"de": f"Satz {i}", "en": f"Sentence {i % 4}"} for i in range(9)]
    store = store_with(tmp_path, pairs, pairs)
    instances = list(WMT14Scenario("de", "en").instances(store))
    train = [i for i in instances if i.split == "train"]
    assert sorted(i.references[0].text for i in train) == [f"Sentence {i}" for i in range(4)]
    test = [i for i in instances if i.split == "test"]
    assert [(i.input, i.references[0].text) for i in test] == [(p["de"], p["en"]) for p in pairs]
    backwards = list(WMT14Scenario("en", "de").instances(store))
    assert len([i for i in backwards if i.split == "train"]) == 9, "the German sentences all differ"


def test_both_directions_read_the_same_files() -> None:
    assert WMT14Scenario("en", "hi").files() == WMT14Scenario("hi", "en").files()


@pytest.mark.parametrize(("source", "target"), [("de", "fr"), ("en", "en"), ("de", "de")])
def test_one_side_is_english(source: Language, target: Language) -> None:
    with pytest.raises(UsageError, match=f"{source}-{target} is no pair"):
        WMT14Scenario(source, target)


def test_a_row_without_translation_is_an_error(tmp_path: Path) -> None:
    store = store_with(tmp_path, [], [{"de": "Satz"}])
    with pytest.raises(DataError, match=r"test\.jsonl: a row has no translation for 'en'"):
        list(WMT14Scenario("de", "en").instances(store))
