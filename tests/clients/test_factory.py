from __future__ import annotations

from typing import Any

import pytest

from evalkit.clients import anthropic, baselines
from evalkit.clients.client import Client
from evalkit.clients.factory import build_client, check_client
from evalkit.clients.openai import OpenAIClient
from evalkit.errors import UsageError
from evalkit.models.deployment import ModelDeployment
from evalkit.registry import client, isolated_registries
from tests.planted import Planted

assert anthropic
assert baselines

LOCAL = "http://localhost:1/v1"


def deployment(class_name: str = "openai", name: str = "local/llama", **args: Any) -> ModelDeployment:
    return ModelDeployment.model_validate(
        {"name": name, "client_spec": {"class_name": class_name, "args": args}, "limits": {"timeout_s": 7}}
    )


def test_a_local_server_needs_no_key_and_gets_the_whole_name() -> None:
    built = build_client(deployment(base_url=LOCAL))
    assert isinstance(built, OpenAIClient)
    assert built.model == "local/llama"


def test_a_named_model_is_kept() -> None:
    assert check_client(deployment(model="x", base_url=LOCAL)) == {"model": "x", "base_url": LOCAL}


def test_the_providers_prefix_is_dropped(planted: Planted) -> None:
    planted.set("OPENAI_API_KEY")
    built = build_client(deployment(name="openai/gpt-4o"))
    assert isinstance(built, OpenAIClient)
    assert built.model == "gpt-4o"


@pytest.mark.parametrize(
    ("class_name", "variable"), [("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY")]
)
def test_a_missing_key_names_variable_and_deployment(
    monkeypatch: pytest.MonkeyPatch, class_name: str, variable: str
) -> None:
    monkeypatch.delenv(variable, raising=False)
    check_client(deployment(class_name))
    with pytest.raises(UsageError, match=rf"'local/llama'.*{variable} is not set"):
        build_client(deployment(class_name))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (deployment("opnai"), r"'local/llama': unknown client 'opnai'; did you mean 'openai'\?"),
        (deployment(base_ulr=LOCAL), r"no parameter 'base_ulr'; did you mean 'base_url'\?"),
        (deployment(mode="chatty"), "mode|'chat'"),
        (deployment(omit_fields=3), "list of str"),
        (deployment("echo", model="x"), "no parameter 'model'"),
    ],
)
def test_wrong_specs_are_refused(bad: ModelDeployment, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_client(bad)


def test_a_header_with_a_key_is_refused() -> None:
    with pytest.raises(UsageError, match="extra_headers"):
        build_client(deployment(base_url=LOCAL, extra_headers={"Authorization": "Bearer x"}))


def test_plugins_are_built_alike_and_told_the_timeout() -> None:
    with isolated_registries():

        @client("mine")
        class Mine(Client):
            def __init__(self, size: int = 1) -> None:
                self.size, self.timeout_s = size, 0.0

            def configure(self, *, timeout_s: float) -> None:
                self.timeout_s = timeout_s

        built = build_client(deployment("mine", size=3))
        assert isinstance(built, Mine)
        assert (built.size, built.timeout_s) == (3, 7)
