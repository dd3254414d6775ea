"""What a model refuses goes by the model, whoever serves it."""

from __future__ import annotations

from typing import Any

import pytest

from evalkit.clients.factory import allowances, check_client
from evalkit.clients.openai import OpenAIClient
from evalkit.models.catalog import ModelCatalog
from evalkit.models.deployment import ClientSpec, ModelDeployment
from evalkit.plugins import load_builtins
from evalkit.request import Request
from tests.planted import Planted

load_builtins()

ASKED = Request("q", temperature=0.0, max_tokens=5, stop_sequences=("\n",), top_p=0.9, top_k_per_token=3)


@pytest.fixture(autouse=True)
def _addresses(monkeypatch: pytest.MonkeyPatch, planted: Planted) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "http://localhost:1")
    planted.set("A_KEY")


def body_of(deployment: ModelDeployment) -> dict[str, Any]:
    return OpenAIClient(**{**check_client(deployment), "api_key_env": "A_KEY"}).body(ASKED)


@pytest.mark.parametrize(
    "name",
    [
        *("openai/gpt-5-mini", "openai/gpt-5-mini-2025-08-07", "openai/gpt-5.1", "openai/gpt-5.2-pro"),
        *("openai/o1", "openai/o1-mini", "openai/o3", "openai/o3-mini", "openai/o4-mini"),
        *("openai/o3-mini-2025-01-31", "openai/o4-mini-2025-04-16", "azure/gpt-5-mini", "azure/o3-mini"),
        *("openrouter/openai/gpt-5-mini", "openrouter/openai/o3-mini:free", "litellm/azure/o4-mini"),
    ],
)
def test_a_reasoning_model_is_not_asked_for_what_it_refuses(name: str) -> None:
    body = body_of(ModelCatalog.load().deployment(name))
    assert body.keys() - {"max_tokens", "max_completion_tokens"} == {"model", "messages"}
    assert {body.get("max_tokens"), body.get("max_completion_tokens")} == {None, 5 + 8192}


@pytest.mark.parametrize(
    "name",
    [
        *("openai/gpt-4o", "openai/gpt-5-chat-latest", "openai/gpt-50", "openrouter/openai/gpt-4.1"),
        *("openrouter/someone/o1-merge", "together/deepseek-ai/o3", "openrouter/openai/omni-1"),
    ],
)
def test_other_models_are_asked_in_full(name: str) -> None:
    body = body_of(ModelCatalog.load().deployment(name))
    assert {"temperature", "top_p", "stop", "logprobs", "top_logprobs"} <= body.keys()


@pytest.mark.parametrize(
    ("name", "omitted"),
    [
        ("anthropic/claude-opus-4-7", True),
        ("anthropic/claude-sonnet-5", True),
        ("openrouter/anthropic/claude-opus-4.8", True),
        ("anthropic/claude-opus-4-6", False),
        ("anthropic/claude-sonnet-4-5", False),
        ("anthropic/claude-opus-4-20250514", False),
        ("openrouter/anthropic/claude-3.5-sonnet", False),
    ],
)
def test_newer_claude_models_take_no_temperature(name: str, omitted: bool) -> None:
    args = ModelCatalog.load().deployment(name).client_spec.args
    assert ("temperature" in args.get("omit_fields", ())) is omitted


def test_a_deployment_of_ones_own_says_more_than_its_family() -> None:
    def deployed(**args: Any) -> ModelDeployment:
        catalog = ModelCatalog.load()
        spec = ClientSpec(class_name="openai", args={"base_url": "http://localhost:1/v1", **args})
        catalog.add_deployment(ModelDeployment(name="mine/x", model_name="openai/o3-mini", client_spec=spec))
        return catalog.deployment("mine/x")

    assert "temperature" not in body_of(deployed())
    assert "temperature" not in body_of(deployed(model="o3-mini"))
    assert body_of(deployed(omit_fields=[], reasoning_tokens=0))["temperature"] == 0.0
    assert body_of(deployed(reasoning_tokens=0))["max_tokens"] == 5
    # What is billed at most is known before anything is sent.
    allowed = allowances(deployed())(ASKED)
    assert (allowed.completion_tokens, allowed.thinking_tokens) == (5 + 8192, 8192)
