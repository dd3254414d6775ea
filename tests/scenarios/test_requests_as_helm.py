"""Instances and prompts of the families with files agree with HELM's, character by character."""

from __future__ import annotations

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
from tests.adapters.test_golden import check_run

Golden = Callable[[str], Any]
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
    assert len(rows) >= ROWS_OBSERVED[family]
    for row in rows:
        name = row["scenario_name"] if family == "commonsense" else family
        args = {key: _typed(value) for key, value in row["scenario_args"].items()}
        scenario = SCENARIOS.get(name)(**args)
        assert store.digest(scenario.files()) is not None
        check_run(row, list(with_ids(scenario.instances(store))))


def _typed(value: Any) -> Any:
    """HELM takes `only_contrast=True` for the text "True"."""
    return {"True": True, "False": False}.get(value, value) if isinstance(value, str) else value
