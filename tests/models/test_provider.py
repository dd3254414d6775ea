from __future__ import annotations

import pytest

from evalkit.clients.factory import check_client
from evalkit.errors import UsageError
from evalkit.models.deployment import ClientSpec, ModelDeployment
from evalkit.models.provider import PROVIDERS, prefixed_deployment, served_name
from evalkit.plugins import load_builtins

load_builtins()


@pytest.mark.parametrize("prefix", PROVIDERS)
def test_every_provider_makes_a_deployment_its_client_accepts(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable := PROVIDERS[prefix].base_url_env:
        monkeypatch.setenv(variable, "http://localhost:1/v1")
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


def test_an_api_of_ones_own_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://mine.openai.azure.com/")
    azure = prefixed_deployment("azure/gpt-4o")
    assert azure is not None
    assert azure.client_spec.args["base_url"] == "https://mine.openai.azure.com/openai/v1"
    monkeypatch.setenv("VLLM_BASE_URL", "http://gpu:9000/v1")
    vllm = prefixed_deployment("vllm/Qwen/Qwen3-8B")
    assert vllm is not None
    assert vllm.client_spec.class_name == "openai"
    assert vllm.client_spec.args == {"model": "Qwen/Qwen3-8B", "base_url": "http://gpu:9000/v1"}


@pytest.mark.parametrize(
    ("name", "engine", "model", "model_name"),
    [
        ("vllm/Qwen/Qwen3-8B", "vllm", "Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("vllm-server/Qwen/Qwen3-8B", "vllm_server", "Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("huggingface/gpt2", "transformers", "gpt2", "huggingface/gpt2"),
        ("transformers/./out/mine", "transformers", "./out/mine", "out/mine"),
        ("transformers//models/mine", "transformers", "/models/mine", "models/mine"),
        ("transformers/../mine", "transformers", "../mine", "transformers/mine"),
    ],
)
def test_a_model_without_a_server_is_loaded_by_an_engine(
    name: str, engine: str, model: str, model_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for provider in PROVIDERS.values():
        if provider.engine is not None and provider.base_url_env:
            monkeypatch.delenv(provider.base_url_env, raising=False)
    deployment = prefixed_deployment(name)
    assert deployment is not None
    assert deployment.client_spec == ClientSpec(class_name=engine, args={"model": model})
    assert deployment.model_name == model_name


@pytest.mark.parametrize("prefix", ["azure", "openai-compatible"])
def test_an_address_that_only_the_environment_knows_must_be_there(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PROVIDERS[prefix].base_url_env or "", raising=False)
    with pytest.raises(
        UsageError, match=f"{PROVIDERS[prefix].base_url_env} is not set; it must hold the URL"
    ):
        prefixed_deployment(f"{prefix}/x")
