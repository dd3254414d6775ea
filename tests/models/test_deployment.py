from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from evalkit.models.deployment import ClientSpec, Limits, ModelDeployment, Prices
from evalkit.response import Usage

CLIENT = ClientSpec(
    class_name="openai",
    args={"base_url": "http://localhost:1/v1", "api_key_env": "A_KEY", "extra_body": {"min_p": 0.1}},
)


def deployment(**changes: Any) -> ModelDeployment:
    return ModelDeployment.model_validate({"name": "local/llama", "client_spec": CLIENT, **changes})


def test_defaults_follow_the_name_and_the_sequence_length() -> None:
    plain = deployment(max_sequence_length=4096)
    assert plain.model_name == "local/llama"
    assert plain.max_request_length == 4096
    assert deployment(max_sequence_length=4096, max_request_length=4000).max_request_length == 4000
    assert deployment(model_name="meta/llama").model_name == "meta/llama"


def test_unknown_keys_and_impossible_values_are_refused() -> None:
    with pytest.raises(ValidationError):
        deployment(tokeniser_name="x")
    with pytest.raises(ValidationError):
        deployment(limits={"max_concurrency": 0})
    with pytest.raises(ValidationError):
        deployment(name="a b")


def test_identity_leaves_out_what_cannot_change_an_answer() -> None:
    plain = deployment()
    fast = deployment(limits=Limits(max_concurrency=1), prices=None)
    paid = deployment(prices=Prices(input_usd_per_million_tokens=1, output_usd_per_million_tokens=2))
    assert plain.identity() == fast.identity() == paid.identity()
    assert plain.identity()["args"] == {"base_url": "http://localhost:1/v1", "extra_body": {"min_p": 0.1}}


def test_the_url_counts_only_without_a_revision() -> None:
    moved = ClientSpec(class_name="openai", args={**CLIENT.args, "base_url": "http://localhost:2/v1"})
    assert deployment().identity() != deployment(client_spec=moved).identity()
    assert deployment(revision="r1").identity() == deployment(revision="r1", client_spec=moved).identity()
    assert deployment(revision="r1").identity() != deployment(revision="r2").identity()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "local/other"},
        {"model_name": "meta/llama"},
        {"tokenizer_name": "bytes"},
        {"max_sequence_length": 10},
        {"max_request_length": 10},
        {"max_sequence_and_generated_tokens_length": 10},
        {"client_spec": {"class_name": "anthropic", "args": CLIENT.args}},
        {"client_spec": {"class_name": "openai", "args": {**CLIENT.args, "mode": "completions"}}},
    ],
)
def test_identity_holds_all_that_changes_an_answer(change: dict[str, Any]) -> None:
    assert deployment(**change).identity() != deployment().identity()


def test_cost() -> None:
    prices = Prices(input_usd_per_million_tokens=2.5, output_usd_per_million_tokens=10)
    assert prices.cost_usd(Usage(2_000_000, 300_000)) == pytest.approx(8.0)
    assert prices.cost_usd(Usage()) == 0
