from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.web_runner import ServerRunner

from evalkit.clients.anthropic import AnthropicClient
from evalkit.clients.credentials import missing_header, read_key, sent_headers
from evalkit.clients.openai import OpenAIClient
from evalkit.errors import AuthenticationError, TransientError, UsageError
from evalkit.request import Request
from tests.planted import KEYS, Planted, pieces


def test_a_key_comes_from_a_variable_or_a_file(
    monkeypatch: pytest.MonkeyPatch, planted: Planted, tmp_path: Path
) -> None:
    monkeypatch.setenv("A_KEY", f" {planted.use()}\n")
    path = tmp_path / "key.txt"
    path.write_text(f"{planted.use('file')}\n", encoding="utf-8")
    planted.own.add(path.name)
    assert read_key("A_KEY", None) == KEYS["plain"]
    assert read_key("A_KEY", str(path)) == KEYS["file"]
    assert read_key(None, None) is None


def test_a_missing_key_names_its_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("A_KEY", raising=False)
    with pytest.raises(UsageError, match="environment variable A_KEY is not set"):
        read_key("A_KEY", None)
    with pytest.raises(UsageError, match=f"the folder {tmp_path} has no file none, which api_key_file"):
        read_key(None, str(tmp_path / "none"))
    with pytest.raises(UsageError, match=f"from the file {tmp_path}: it is not a regular file but a folder"):
        read_key(None, str(tmp_path))


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize(
    "spelled", ["{}", "~{}", "~/{}", "/{}", "./{}", "{}/x", "/nowhere/{}", "{}\0", "{}" * 300]
)
def test_a_key_in_the_place_of_a_path_is_not_shown(name: str, spelled: str, planted: Planted) -> None:
    key = planted.use(name)
    with pytest.raises(UsageError, match="the API key can't be read") as caught:
        read_key(None, spelled.replace("{}", key))
    assert not [piece for piece in pieces(key) if piece.decode() in str(caught.value)]


@pytest.mark.parametrize("variable", ["tk9fQuietOtter77riverLamp", "AKQ8ZT3XW9PL2M7N5B1V"])
def test_a_key_in_the_place_of_a_variable_is_not_shown(variable: str) -> None:
    for told in (missing_header({"X-A": variable}), _refusal(variable)):
        assert "is not set" in str(told)
        assert variable not in str(told)


def _refusal(variable: str) -> str:
    with pytest.raises(UsageError) as caught:
        read_key(variable, None)
    return str(caught.value)


@pytest.mark.parametrize("content", ["one\ntwo", "schlüssel", "a\tb"])
def test_what_is_no_key_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setenv("A_KEY", content)
    with pytest.raises(UsageError, match="holds no API key") as caught:
        read_key("A_KEY", None)
    assert content not in str(caught.value)


def test_headers_with_secrets_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, planted: Planted
) -> None:
    monkeypatch.setenv("TOKEN_VARIABLE", f" {planted.use('basic')} \n")
    headers = sent_headers({" X-Title ": " evals "}, {"X-Auth-Token": "TOKEN_VARIABLE"})
    assert headers == {"X-Title": "evals", "X-Auth-Token": KEYS["basic"]}
    assert str(TransientError(f"refused {KEYS['basic'].split()[1]}")) == "refused ***"


@pytest.mark.parametrize("held", ["one\ntwo", "schlüssel", ""])
def test_what_can_be_no_header_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, held: str) -> None:
    monkeypatch.setenv("TOKEN_VARIABLE", held)
    with pytest.raises(UsageError, match="TOKEN_VARIABLE") as caught:
        sent_headers(None, {"X-Auth-Token": "TOKEN_VARIABLE"})
    assert not held or held not in str(caught.value)


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ("", "the environment variable RELAY is not set; it must hold the whole value of the header X-Relay"),
        (
            "one\ntwo",
            "the environment variable RELAY can't be sent as the header X-Relay: it must hold one line",
        ),
    ],
)
def test_what_is_wrong_with_a_header_speaks_of_the_header(
    monkeypatch: pytest.MonkeyPatch, held: str, told: str
) -> None:
    monkeypatch.setenv("RELAY", held)
    with pytest.raises(UsageError) as caught:
        sent_headers(None, {" X-Relay ": "RELAY"})
    assert told in str(caught.value)
    assert "API key" not in str(caught.value)


def test_advice_names_what_the_deployment_has(planted: Planted, tmp_path: Path) -> None:
    planted.set("GATEWAY", "bearer")
    planted.set("A_KEY")
    path = tmp_path / "key.txt"
    path.write_text(planted.use("file"), encoding="utf-8")
    planted.own.add(path.name)

    def advice(make: Any = OpenAIClient, **args: Any) -> str:
        return str(make(model="m", base_url="http://127.0.0.1/v1", **args).key_advice)

    header = "check the environment variable GATEWAY, the whole value of the header {}"
    for make in (OpenAIClient, AnthropicClient):
        assert advice(make, api_key_env="A_KEY") == "check the API key in the environment variable A_KEY"
        assert advice(make, api_key_file=str(path)) == f"check the API key in the file {path}"
        named = {"Authorization": "GATEWAY"}
        assert advice(make, headers_from_env=named) == header.format("Authorization")
        assert advice(make, api_key_env="A_KEY", headers_from_env={"X-Relay": "GATEWAY"}) == (
            "check the API key in the environment variable A_KEY, and the environment variable GATEWAY, the "
            "whole value of the header X-Relay"
        )
    assert advice().startswith("the deployment names no API key")
    # The header takes the place of the key, which is not read then.
    other = advice(AnthropicClient, api_key_env="NOT_SET", headers_from_env={"x-api-key": "GATEWAY"})
    assert other == header.format("x-api-key")


def test_a_header_has_one_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITLE", "x")
    with pytest.raises(UsageError, match="remove one of them"):
        sent_headers({"x-title": "a"}, {"X-Title": "TITLE"})


@pytest.mark.parametrize("make", [OpenAIClient, AnthropicClient])
def test_a_client_sends_the_header_instead_of_a_key(
    make: Any, monkeypatch: pytest.MonkeyPatch, planted: Planted
) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    key = planted.set("GATEWAY", "bearer")
    sent: list[Mapping[str, str]] = []

    async def main() -> None:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            sent.append(dict(request.headers))
            return web.json_response({"error": f"{key} is not known"}, status=401)

        runner = ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        client = make(model="m", base_url=url, headers_from_env={"authorization": "GATEWAY"})
        try:
            with pytest.raises(AuthenticationError, match=r"^HTTP 401: \*\*\* is not known$"):
                await client.send(Request("hello"))
        finally:
            await client.close()
            await runner.cleanup()

    asyncio.run(main())
    assert sent[0]["Authorization"] == key
    assert "x-api-key" not in {name.lower() for name in sent[0]}


def test_a_key_is_named_once(planted: Planted) -> None:
    planted.set("GATEWAY", "bearer")
    planted.set("A_KEY")
    with pytest.raises(UsageError, match="names the key, and so does"):
        OpenAIClient(
            model="m",
            base_url="http://127.0.0.1/v1",
            api_key_env="A_KEY",
            headers_from_env={"Authorization": "GATEWAY"},
        )
