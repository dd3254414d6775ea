"""Instances and prompts of HELM Classic's and Capabilities' families agree with HELM's in every character."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import evalkit.scenarios.babi_qa
import evalkit.scenarios.bbq
import evalkit.scenarios.blimp
import evalkit.scenarios.code
import evalkit.scenarios.disinformation
import evalkit.scenarios.dyck_language
import evalkit.scenarios.gpqa
import evalkit.scenarios.ifeval
import evalkit.scenarios.mmlu_pro
import evalkit.scenarios.synthetic_reasoning
import evalkit.scenarios.synthetic_reasoning_natural
import evalkit.scenarios.truthful_qa  # noqa: F401 - these imports register the plugins
from evalkit.data import DataStore
from evalkit.instance import Instance
from evalkit.registry import SCENARIOS
from evalkit.scenarios.scenario import with_ids
from tests.adapters.test_golden import check_run
from tests.scenarios.canonical import canonical_sha256

Golden = Callable[[str], Any]
InstancesOf = Callable[[str, dict[str, Any]], list[Instance]]
# Family to the number of observed runs and of observed sets of instances.
OBSERVED = {
    "truthful_qa": (2, 1),
    "bbq": (2, 3),
    "babi_qa": (2, 4),
    "blimp": (2, 2),
    "dyck_language": (2, 3),
    "synthetic_reasoning": (2, 3),
    "synthetic_reasoning_natural": (2, 3),
    "disinformation": (2, 3),
    "code": (1, 1),
    "mmlu_pro": (3, 3),
    "gpqa": (4, 3),
    "ifeval": (1, 1),
}
REAL = ("truthful_qa", "bbq", "code")
# HELM misspells one scenario's name.
NAMES = {"sythetic_reasoning_natural": "synthetic_reasoning_natural"}


def without_nulls(extra: dict[str, Any]) -> dict[str, Any]:
    """HELM's extra data of IFEval, which names every argument that any instruction takes."""
    given = [{k: v for k, v in args.items() if v is not None} for args in extra["instruction_kwargs"]]
    return {**extra, "instruction_kwargs": given}


@pytest.fixture(scope="module")
def instances_of(shared_dir: Path, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> InstancesOf:
    """All instances of a family's scenario with some arguments; made once, since most take long."""
    raw, cache = shared_dir / "golden" / "helm" / "raw", tmp_path_factory.mktemp("cache")
    made: dict[tuple[str, str], list[Instance]] = {}

    def make(family: str, args: dict[str, Any]) -> list[Instance]:
        key = (family, json.dumps(args, sort_keys=True))
        if key not in made:
            store = DataStore(mirror=data_dir if family in REAL else raw, cache=cache, offline=True)
            made[key] = list(with_ids(SCENARIOS.get(family)(**args).instances(store)))
        return made[key]

    return make


@pytest.mark.parametrize("family", OBSERVED)
def test_requests_are_helms(family: str, golden: Golden, instances_of: InstancesOf) -> None:
    rows = [row for row in golden("requests.json") if row["entry"].split(":")[0] == family]
    assert len(rows) == OBSERVED[family][0]
    for row in rows:
        instances = instances_of(family, row["scenario_args"])
        by_id = {instance.id: instance for instance in instances}
        for request in row["requests"]:
            assert by_id[request["instance_id"]].sub_split == request.pop("sub_split", None)
            if extra := request.pop("extra_data", None):
                assert by_id[request["instance_id"]].extra == without_nulls(extra)
        check_run(row, instances)


@pytest.mark.parametrize("family", OBSERVED)
def test_instances_are_helms(family: str, golden: Golden, instances_of: InstancesOf) -> None:
    rows = [
        row
        for row in golden("procedural_instances.json")["scenarios"]
        if NAMES.get(row["scenario_name"], row["scenario_name"]) == family
    ]
    assert len(rows) == OBSERVED[family][1]
    for row in rows:
        instances = instances_of(family, row["scenario_args"])
        assert canonical_sha256(instances) == row["sha256"]
        for split, part in row["splits"].items():
            ours = [i for i in instances if i.split == split]
            assert canonical_sha256(ours) == part["sha256"]
            assert [i.id for i in ours[:5] + ours[5:][-2:]] == [plain["id"] for plain in part["first5_last2"]]
            for instance, plain in zip(ours[:5] + ours[5:][-2:], part["first5_last2"], strict=True):
                assert instance.sub_split == plain.get("sub_split")
