"""Routed deployments in files: what is refused, where, and what identifies one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import evalkit
from evalkit.errors import ConfigError, DataError, UsageError
from evalkit.instance import Instance
from evalkit.models.catalog import ModelCatalog
from evalkit.models.routed import RoutedDeployment
from evalkit.plugins import load_builtins
from evalkit.registry import isolated_registries
from evalkit.routers.router import Router, build_router
from evalkit.runs.plan import PlannedRun

PRICES = {"input_usd_per_million_tokens": 1.0, "output_usd_per_million_tokens": 2.0}
ENTRY = "arithmetic:num_test=5,model=test/both"


@pytest.fixture(autouse=True)
def builtins() -> None:
    load_builtins()


def member(name: str, **fields: Any) -> dict[str, Any]:
    args = {"base_url": "http://127.0.0.1:9/v1", "model": name}
    return {"name": name, "client_spec": {"class_name": "openai", "args": args}, **fields}


def routed(name: str = "test/both", **fields: Any) -> dict[str, Any]:
    return {"name": name, "members": ["test/a", "test/b"], "router_spec": {"name": "hash"}, **fields}


def written(folder: Path, *deployments: dict[str, Any], members: Any = None) -> Path:
    path = folder / "deployments.yaml"
    members = [member("test/a"), member("test/b")] if members is None else members
    path.write_text(json.dumps({"model_deployments": members, "routed_deployments": deployments}, indent=1))
    return path


def planned(path: Path, entry: str = ENTRY, **options: Any) -> PlannedRun:
    (run,) = evalkit.plan(entry, model_deployments=path, **options).runs
    return run


@pytest.mark.parametrize(
    ("deployments", "problem"),
    [
        ([routed(members=["test/a", "test/c"])], "member of 'test/both': unknown model or model deployment"),
        ([routed(members=["test/both"])], "'test/both' has the member itself"),
        ([routed(members=["test/a", "test/a"])], "'test/a' is there twice"),
        ([routed(members=[])], "'members' of 'test/both'"),
        ([routed(routers={})], "unknown key 'routers' of 'test/both'; did you mean 'router_spec'"),
        ([routed(limits={})], "unknown key 'limits'"),
        ([routed(), routed("test/more", members=["test/both"])], "'test/both', which is routed too"),
        (
            [routed(members=["test/more"]), routed("test/more", members=["test/both"])],
            "'test/more', which is routed too",
        ),
        ([routed("test/a")], "the model deployment 'test/a' is already defined at"),
    ],
)
def test_wrong_files_are_refused_with_the_line(
    tmp_path: Path, deployments: list[dict[str, Any]], problem: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        ModelCatalog.load([written(tmp_path, *deployments)])
    assert problem in str(raised.value)
    assert "deployments.yaml:" in str(raised.value)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"name": "hasch"}, "unknown router 'hasch'; did you mean 'hash'"),
        ({"name": "hash", "args": {"weight": [1]}}, "no parameter 'weight'; did you mean 'weights'"),
        ({"name": "hash", "args": {"weights": [1]}}, "1 weights for 2 members"),
        ({"name": "hash", "args": {"weights": [0, 0]}}, "not all of them 0"),
        ({"name": "hash", "args": {"weights": [1, -1]}}, "numbers of 0 or more"),
        ({"name": "hash", "args": {"members": ["x"]}}, "no parameter 'members'"),
        ({"name": "field"}, "needs field, routes"),
        (
            {"name": "field", "args": {"field": "group", "routes": {"x": "test/c"}}},
            "'test/c' (x) is not a member",
        ),
        ({"name": "hash", "args": {"seed": "sk-1234567890abcdef1234567890abcdef"}}, "must not hold a secret"),
    ],
)
def test_a_wrong_router_is_refused_by_the_plan(tmp_path: Path, spec: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError) as raised:
        planned(written(tmp_path, routed(router_spec=spec)))
    assert problem in str(raised.value)
    assert "sk-123" not in str(raised.value)


def test_a_budget_in_money_needs_prices_of_every_member(tmp_path: Path) -> None:
    path = written(tmp_path, routed(), members=[member("test/a", prices=PRICES), member("test/b")])
    with pytest.raises(UsageError, match="test/b has no prices"):
        planned(path, budget_usd=1.0)
    planned(path)
    free = routed(members=["test/a", "evalkit/echo"])
    planned(written(tmp_path, free, members=[member("test/a", prices=PRICES)]), budget_usd=1.0)


def test_the_identity_is_that_of_router_and_members(tmp_path: Path) -> None:
    def requests(*deployments: dict[str, Any], members: Any = None) -> str:
        digest = planned(written(tmp_path, *deployments, members=members)).digest
        assert digest is not None
        return digest.requests

    plain = requests(routed())
    # Limits and prices are no part of it; everything that may change an answer is.
    cheap = [member("test/a", prices=PRICES, limits={"max_concurrency": 3}), member("test/b")]
    assert requests(routed(), members=cheap) == plain
    others = [
        requests(routed(router_spec={"name": "hash", "args": {"weights": [1, 2]}})),
        requests(routed(members=["test/b", "test/a"])),
        requests(routed(members=["test/a"])),
        requests(routed(), members=[member("test/a", revision="2"), member("test/b")]),
        requests(routed(model_name="test/mix")),
    ]
    assert len({plain, *others}) == 6
    run = planned(written(tmp_path, routed()))
    assert run.identity["deployment"]["router"] == {"name": "hash", "version": 1, "args": {}}
    alone = planned(written(tmp_path, routed()), ENTRY.replace("both", "b"))
    assert run.identity["deployment"]["members"][1] == alone.identity["deployment"]


def test_another_version_of_a_router_is_another_run(tmp_path: Path) -> None:
    digests = set()
    for number in (1, 2):
        with isolated_registries():

            @evalkit.router("first")
            class First(Router):
                """The first."""

                version = number

                def choose(self, instance: Instance) -> str:
                    return self.members[0]

            run = planned(written(tmp_path, routed(router_spec={"name": "first"})))
            assert run.digest is not None
            digests.add(run.digest.requests)
    assert len(digests) == 2


def test_language_modeling_needs_one_tokenizer(tmp_path: Path) -> None:
    plugin = tmp_path / "lines.py"
    plugin.write_text(
        '''
import evalkit
from evalkit import AdapterSpec, Instance, RunSpec, ScenarioSpec

@evalkit.scenario("lines")
class Lines(evalkit.Scenario):
    """Texts."""
    def instances(self, data):
        yield Instance("12 + 30 = 42", (), split="test")

@evalkit.run_spec_function("lines")
def lines() -> RunSpec:
    """Texts."""
    adapter = AdapterSpec(method="language_modeling", max_train_instances=0, max_tokens=0, temperature=0)
    metrics = evalkit.metric_specs("basic_generation")
    return RunSpec(
        name="lines", scenario_spec=ScenarioSpec(name="lines"), adapter_spec=adapter, metric_specs=metrics
    )
'''
    )
    one = [member(name, tokenizer_name="bytes", max_sequence_length=50) for name in ("test/a", "test/b")]
    assert planned(written(tmp_path, routed(), members=one), "lines:model=test/both", plugins=[str(plugin)])
    other = [one[0], member("test/b", tokenizer_name="simple/tokenizer1", max_sequence_length=50)]
    with pytest.raises(UsageError, match="tokens of one tokenizer"):
        planned(written(tmp_path, routed(), members=other), "lines:model=test/both", plugins=[str(plugin)])


def test_tags_are_those_that_members_share_and_what_any_of_them_can_not_read(tmp_path: Path) -> None:
    path = tmp_path / "deployments.yaml"
    plain = {"name": "plain", "tags": ["TEXT_MODEL_TAG", "INSTRUCTION_FOLLOWING_MODEL_TAG"]}
    odd = {"name": "odd", "tags": ["TEXT_MODEL_TAG", "NO_NEWLINES_TAG"]}
    members = [member("test/a", model_name="plain"), member("test/b", model_name="odd")]
    content = {"models": [plain, odd], "model_deployments": members, "routed_deployments": [routed()]}
    path.write_text(json.dumps(content))
    assert ModelCatalog.load([path]).tags("test/both") == ("TEXT_MODEL_TAG", "NO_NEWLINES_TAG")


def test_shares_of_the_hash_follow_the_weights_and_stay() -> None:
    def chosen(weights: list[float] | None, seed: int = 0) -> list[str]:
        spec = {"name": "hash", "args": {"weights": weights, "seed": seed}}
        router = build_router(RoutedDeployment.model_validate(routed(router_spec=spec)))
        return [router.choose(Instance("?", (), split="test", id=f"id{n}")) for n in range(2000)]

    assert chosen([3, 1]) == chosen([0.75, 0.25])
    assert 1400 <= Counter(chosen([3, 1]))["test/a"] <= 1600
    assert 900 <= Counter(chosen(None))["test/a"] <= 1100
    assert set(chosen([0, 2])) == {"test/b"}
    assert set(chosen([2, 0])) == {"test/a"}
    assert chosen(None) != chosen(None, seed=1)


def test_a_field_sends_where_it_says() -> None:
    def router(**args: Any) -> Router:
        spec = {"name": "field", "args": args}
        return build_router(RoutedDeployment.model_validate(routed(router_spec=spec)))

    easy = Instance("?", (), split="test", id="id1", sub_split="easy", extra={"level": 3})
    hard = Instance("?", (), split="test", id="id2", sub_split="hard")
    by_split = router(field="sub_split", routes={"easy": "test/a", "hard": "test/b"})
    assert [by_split.choose(each) for each in (easy, hard)] == ["test/a", "test/b"]
    by_level = router(field="level", routes={"3": "test/a"}, otherwise="test/b")
    assert [by_level.choose(each) for each in (easy, hard)] == ["test/a", "test/b"]
    with pytest.raises(DataError, match=r"no member for instance 'id2', whose level has no such field"):
        router(field="level", routes={"3": "test/a"}).choose(hard)
