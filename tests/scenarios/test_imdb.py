from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from evalkit.data import DataStore
from evalkit.errors import DataError
from evalkit.scenarios.imdb import IMDBScenario
from tests.scenarios.mirror import mirror

HOME = "scenarios/imdb/data"
FILES = {
    f"{HOME}/train/pos/0_9.txt": " Fine.<br />\n",
    f"{HOME}/train/pos/1_8.txt": "Good.",
    f"{HOME}/train/neg/0_1.txt": "Bad.",
    f"{HOME}/test/pos/0_10.txt": "Great.",
    f"{HOME}/test/neg/0_2.txt": "Awful.",
    f"{HOME}/imdb_scenario_pinned_file_order.json": json.dumps(
        {
            "train": {"pos": ["1_8.txt", "0_9.txt"], "neg": ["0_1.txt"]},
            "valid": {"pos": ["0_10.txt"], "neg": ["0_2.txt"]},
        }
    ),
    f"{HOME}/test_original.tsv": "Sentiment\tText\nNegative\tBad.\n",
    f"{HOME}/test_contrast.tsv": "Sentiment\tText\nPositive\tNot bad.\n",
    f"{HOME}/dev_original.tsv": "Sentiment\tText\n",
    f"{HOME}/dev_contrast.tsv": "Sentiment\tText\n",
}


@pytest.fixture
def store(tmp_path: Path) -> DataStore:
    return mirror(tmp_path, FILES)


def test_reviews_in_the_pinned_order(store: DataStore) -> None:
    instances = list(IMDBScenario().instances(store))
    assert [(i.input, i.references[0].text, i.split) for i in instances] == [
        ("Good.", "Positive", "train"),
        ("Fine.<br />", "Positive", "train"),
        ("Bad.", "Negative", "valid"),
        ("Great.", "Positive", "valid"),
        ("Awful.", "Negative", "valid"),
    ]


def test_a_review_with_a_contrast_set_is_evaluated(store: DataStore) -> None:
    instances = list(IMDBScenario(only_contrast=True).instances(store))
    assert [(i.input, i.split) for i in instances if i.split != "train"] == [("Bad.", "valid")]
    assert instances[-1].extra == {
        "contrast_inputs": ["Not bad."],
        "contrast_references": [[{"text": "Positive", "tags": ["correct"]}]],
    }


def test_the_folders_are_part_of_the_digest(store: DataStore, tmp_path: Path) -> None:
    before = store.digest(IMDBScenario().files())
    folder = tmp_path / HOME / "train" / "pos"
    (folder / "1_8.txt").unlink()
    os.utime(folder, ns=(1, 1))
    assert before != store.digest(IMDBScenario().files())


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("imdb_scenario_pinned_file_order.json", "{}", "is not a list of the reviews' files"),
        ("imdb_scenario_pinned_file_order.json", "[cut o", "is not a list of the reviews' files"),
        (
            "test_original.tsv",
            "Sentiment\tText\nBad.\n",
            r"test_original\.tsv:2: Positive or Negative, a tab",
        ),
        ("test_contrast.tsv", "Sentiment\tText\n", "each review must stand here once"),
        ("test/pos/0_10.txt", None, "holds no review '0_10.txt'"),
    ],
)
def test_bad_files_are_named(
    store: DataStore, tmp_path: Path, name: str, text: str | None, problem: str
) -> None:
    path = tmp_path / HOME / name
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(DataError, match=problem):
        list(IMDBScenario().instances(store))


def test_an_order_that_leads_elsewhere_is_refused(store: DataStore, tmp_path: Path) -> None:
    path = tmp_path / HOME / "imdb_scenario_pinned_file_order.json"
    path.write_text(path.read_text().replace("1_8.txt", "../neg/0_1.txt"))
    with pytest.raises(DataError, match=r"holds no review '\.\./neg/0_1\.txt'"):
        list(IMDBScenario().instances(store))
