"""Instances agree with HELM's, checksum by checksum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalkit.data import DataStore
from evalkit.scenarios.arithmetic import ArithmeticScenario
from evalkit.scenarios.gsm import GSM8KScenario
from evalkit.scenarios.mmlu import MMLUScenario
from evalkit.scenarios.scenario import Scenario, with_ids
from evalkit.scenarios.simple import (
    Simple1Scenario,
    SimpleClassificationScenario,
    SimpleMCQAScenario,
    SimpleShortAnswerQAScenario,
)
from tests.scenarios.canonical import canonical_sha256

Golden = Callable[[str], Any]
BY_HELM_CLASS: dict[str, type[Scenario]] = {
    "GSM8KScenario": GSM8KScenario,
    "MMLUScenario": MMLUScenario,
    "SimpleMCQAScenario": SimpleMCQAScenario,
    "SimpleShortAnswerQAScenario": SimpleShortAnswerQAScenario,
    "SimpleClassificationScenario": SimpleClassificationScenario,
    "Simple1Scenario": Simple1Scenario,
}


@pytest.fixture
def store(data_dir: Path, tmp_path: Path) -> DataStore:
    return DataStore(mirror=data_dir, cache=tmp_path, offline=True)


@pytest.mark.parametrize("class_name", BY_HELM_CLASS)
def test_instances_are_helms(class_name: str, golden: Golden, store: DataStore) -> None:
    rows = [
        row
        for row in golden("procedural_instances.json")["scenarios"]
        if row["scenario_class"].endswith("." + class_name)
    ]
    assert rows
    for row in rows:
        made = BY_HELM_CLASS[class_name](**row["scenario_args"])
        instances = list(with_ids(made.instances(store)))
        assert Counter(i.split for i in instances) == row["counts"]
        assert canonical_sha256(instances) == row["sha256"]
        for split, part in row["splits"].items():
            ours = [i for i in instances if i.split == split]
            assert canonical_sha256(ours) == part["sha256"]
            ids = [plain["id"] for plain in part["first5_last2"]]
            assert [i.id for i in ours[:5] + ours[5:][-2:]] == ids


def test_files_are_the_pinned_ones(store: DataStore) -> None:
    gsm = GSM8KScenario()
    assert [store.path(file).name for file in gsm.files()] == ["train.jsonl", "test.jsonl"]
    assert all(file.url and "3101c7d5" in file.url and file.sha256 for file in gsm.files())
    assert store.digest(gsm.files()) == DataStore(offline=True, cache=store.cache).digest(gsm.files())
    mmlu = MMLUScenario("anatomy")
    assert store.digest(mmlu.files()) is not None
    assert DataStore(offline=True, cache=store.cache).digest(mmlu.files()) is None
    assert [f.member for f in mmlu.files()] == [
        f"data/{part}/anatomy_{part}.csv" for part in ("dev", "val", "test")
    ]
    assert ArithmeticScenario().files() == ()
