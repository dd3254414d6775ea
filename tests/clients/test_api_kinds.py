"""Every API kind of Nejumi's configs is asked at the double, which speaks each protocol that differs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evalkit.clients.factory import build_client
from evalkit.interchange.nejumi.apis import API_KINDS, ApiKind, api_deployment, api_kind
from evalkit.models.catalog import ModelCatalog
from evalkit.models.provider import PROVIDERS
from evalkit.request import Message, Request
from evalkit.response import Response
from evalkit.testing.server import ServerConfig, serve
from tests.planted import KEYS, Planted

ASKED = Request(
    "",
    messages=(Message("system", "s"), Message("user", "first line\nthe answer")),
    temperature=0.1,
    top_p=0.9,
    max_tokens=20,
    random="1",
)
PATHS = {"anthropic": "/v1/messages", "bedrock": "/model/m/converse"}


def sent_and_answered(kind: ApiKind) -> tuple[dict[str, Any], Response]:
    async def main() -> tuple[dict[str, Any], Response]:
        import aiohttp

        config = ServerConfig(record_bodies=True, required_key=KEYS["plain"])
        async with serve(config) as url:
            plain = api_deployment(kind, "m", ModelCatalog.load())
            spec = plain.client_spec
            there = url if kind.prefix in PATHS else f"{url}/v1"
            args = {**spec.args, "base_url": there}
            here = plain.model_copy(update={"client_spec": spec.model_copy(update={"args": args})})
            client = build_client(here)
            try:
                answer = await client.send(ASKED)
            finally:
                await client.close()
            async with aiohttp.ClientSession() as session, session.get(f"{url}/_bodies") as recorded:
                (sent,) = await recorded.json()
            return sent, answer

    return asyncio.run(main())


@pytest.mark.parametrize("kind", API_KINDS, ids=lambda kind: str(kind.names[0]))
def test_each_kind_is_asked_in_its_protocol(
    kind: ApiKind, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = PROVIDERS[kind.prefix]
    if provider.base_url_env is not None:
        monkeypatch.setenv(provider.base_url_env, "http://localhost:1")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    planted.set(provider.api_key_env or "AWS_BEARER_TOKEN_BEDROCK")
    sent, answer = sent_and_answered(kind)
    assert answer.completions[0].text == "the answer"
    assert answer.completions[0].finish_reason == "stop"
    assert answer.usage.total_tokens > 0
    body = sent["body"]
    assert sent["path"] == PATHS.get(kind.prefix, "/v1/chat/completions")
    if kind.prefix == "bedrock":
        assert body["system"] == [{"text": "s"}]
        assert body["inferenceConfig"] == {"maxTokens": 20, "temperature": 0.1, "topP": 0.9}
        return
    assert (body["model"], body["temperature"], body["top_p"]) == ("m", 0.1, 0.9)
    if kind.prefix == "anthropic":
        assert (body["system"], body["max_tokens"]) == ("s", 20)
        return
    assert body["messages"][0] == {"role": "system", "content": "s"}
    limit = "max_completion_tokens" if kind.prefix in ("openai", "azure") else "max_tokens"
    assert body[limit] == 20
    assert ("seed" in body) == (kind.prefix != "mistral")


@pytest.mark.parametrize(
    ("kind", "variable"),
    [(kind, name) for kind in API_KINDS for name in kind.key_variables],
    ids=lambda value: value if isinstance(value, str) else str(value.names[0]),
)
def test_nejumis_variable_is_read_where_evalkits_is_not_set(
    kind: ApiKind, variable: str, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = PROVIDERS[kind.prefix]
    assert provider.api_key_env is not None
    monkeypatch.delenv(provider.api_key_env, raising=False)
    if provider.base_url_env is not None:
        monkeypatch.setenv(provider.base_url_env, "http://localhost:1")
    planted.set(variable)
    made = api_deployment(kind, "m", ModelCatalog.load())
    assert made.client_spec.args["api_key_env"] == variable
    assert sent_and_answered(kind)[1].completions[0].text == "the answer"
    planted.set(provider.api_key_env)
    assert (
        api_deployment(kind, "m", ModelCatalog.load()).client_spec.args["api_key_env"] == provider.api_key_env
    )


def test_a_server_of_the_users_may_want_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_COMPATIBLE_API_KEY", "VLLM_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_COMPATIBLE_BASE_URL", "http://localhost:1/v1")
    kind = api_kind("vllm-external")
    assert "api_key_env" not in api_deployment(kind, "m", ModelCatalog.load()).client_spec.args
