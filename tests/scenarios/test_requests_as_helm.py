"""Instances and prompts of the families with files agree with HELM's, character by character."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import evalkit.scenarios.boolq
import evalkit.scenarios.commonsense
import evalkit.scenarios.imdb
import evalkit.scenarios.legalbench
import evalkit.scenarios.math
import evalkit.scenarios.med_qa
import evalkit.scenarios.narrative_qa
import evalkit.scenarios.natural_qa
import evalkit.scenarios.wmt_14  # noqa: F401 - these imports register the plugins
from evalkit.data import DataStore
from evalkit.registry import SCENARIOS
from evalkit.scenarios.scenario import with_ids
from tests.adapters.test_golden import SCENARIO_NAMES, check_run
from tests.scenarios.canonical import canonical_sha256
from tests.scenarios.test_classic_as_helm import NAMES as HELMS_NAMES
from tests.scenarios.test_classic_as_helm import OBSERVED
from tests.scenarios.test_golden import BY_HELM_CLASS

Golden = Callable[[str], Any]
# HELM's name of a scenario to the number of its observed sets of instances.
INSTANCES_OBSERVED = {
    **dict.fromkeys(("hellaswag", "openbookqa", "commonsenseqa", "piqa", "siqa", "med_qa", "narrativeqa"), 1),
    **{"legalbench": 5, "MATH": 4, "natural_qa": 3, "WMT_14": 2, "boolq": 2, "imdb": 2},
}
NAMES = {"MATH": "math", "WMT_14": "wmt_14", "narrativeqa": "narrative_qa"}
ROWS_OBSERVED = {
    "commonsense": 7,
    "legalbench": 4,
    "math": 3,
    "med_qa": 2,
    "narrative_qa": 2,
    "natural_qa": 3,
    "wmt_14": 3,
    "boolq": 2,
    "imdb": 2,
}


@pytest.mark.parametrize("family", ROWS_OBSERVED)
def test_requests_are_helms(family: str, golden: Golden, shared_dir: Path, tmp_path: Path) -> None:
    raw = shared_dir / "golden" / "helm" / "raw"
    store = DataStore(mirror=raw, cache=tmp_path, offline=True, verify=False)
    rows = [row for row in golden("requests.json") if row["entry"].split(":")[0] == family]
    assert len(rows) == ROWS_OBSERVED[family]
    for row in rows:
        name = row["scenario_name"] if family == "commonsense" else family
        args = {key: _typed(value) for key, value in row["scenario_args"].items()}
        scenario = SCENARIOS.get(name)(**args)
        assert store.digest(scenario.files()) is not None
        check_run(row, list(with_ids(scenario.instances(store))))


def _typed(value: Any) -> Any:
    """HELM takes `only_contrast=True` for the text "True"."""
    return {"True": True, "False": False}.get(value, value) if isinstance(value, str) else value


def test_every_observed_family_is_compared_by_one_of_the_tests(golden: Golden) -> None:
    families = Counter(row["entry"].split(":")[0] for row in golden("requests.json"))
    assert set(families) == {*ROWS_OBSERVED, *OBSERVED, *SCENARIO_NAMES}
    assert sum(families.values()) == 94


@pytest.mark.parametrize("name", INSTANCES_OBSERVED)
def test_instances_are_helms(name: str, golden: Golden, shared_dir: Path, tmp_path: Path) -> None:
    raw = shared_dir / "golden" / "helm" / "raw"
    store = DataStore(mirror=raw, cache=tmp_path, offline=True, verify=False)
    rows = [row for row in golden("procedural_instances.json")["scenarios"] if row["scenario_name"] == name]
    assert len(rows) == INSTANCES_OBSERVED[name]
    for row in rows:
        args = {key: _typed(value) for key, value in row["scenario_args"].items()}
        instances = list(with_ids(SCENARIOS.get(NAMES.get(name, name))(**args).instances(store)))
        assert canonical_sha256(instances) == row["sha256"], args


def test_all_observed_instances_are_compared_by_one_of_the_tests(golden: Golden) -> None:
    rows = golden("procedural_instances.json")["scenarios"]
    others = [
        row
        for row in rows
        if HELMS_NAMES.get(row["scenario_name"], row["scenario_name"]) in OBSERVED
        or row["scenario_class"].rpartition(".")[2] in BY_HELM_CLASS
    ]
    assert len(others) + sum(INSTANCES_OBSERVED.values()) == len(rows) == 63
