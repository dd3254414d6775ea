from __future__ import annotations

import pytest

from evalkit.clients import anthropic, openai
from evalkit.clients.factory import check_client
from evalkit.models.deployment import ClientSpec, ModelDeployment
from evalkit.models.provider import PROVIDERS, prefixed_deployment, served_name

assert anthropic
assert openai


@pytest.mark.parametrize("prefix", PROVIDERS)
def test_every_provider_makes_a_deployment_its_client_accepts(prefix: str) -> None:
    deployment = prefixed_deployment(f"{prefix}/some-model")
    assert deployment is not None
    assert check_client(deployment)["model"] == "some-model"
    assert deployment.model_name == f"{prefix}/some-model"


@pytest.mark.parametrize(
    "name", ["openai", "openai/", "nobody/model", "openai//x", "openai/a b", "openai/x/", ""]
)
def test_other_names_make_none(name: str) -> None:
    assert prefixed_deployment(name) is None


def test_three_components_name_model_and_organization() -> None:
    deployment = prefixed_deployment("together/Qwen/Qwen3-8B")
    assert deployment is not None
    assert deployment.model_name == "Qwen/Qwen3-8B"
    assert deployment.client_spec.args["model"] == "Qwen/Qwen3-8B"


@pytest.mark.parametrize(
    ("name", "model_name", "served"),
    [
        ("openai/gpt-4o", "openai/gpt-4o", "gpt-4o"),
        ("local/gpt-4o", "openai/gpt-4o", "openai/gpt-4o"),
        ("local/llama", "meta-llama/Llama-3", "meta-llama/Llama-3"),
        ("mine", "mine", "mine"),
    ],
)
def test_served_name(name: str, model_name: str, served: str) -> None:
    spec = ClientSpec(class_name="openai")
    assert served_name(ModelDeployment(name=name, model_name=model_name, client_spec=spec)) == served
