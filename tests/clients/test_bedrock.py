from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

import pytest

from evalkit.clients.bedrock import BedrockClient
from evalkit.clients.sigv4 import AwsKeys, Signer
from evalkit.errors import AuthenticationError, BadRequestError, OverloadError, TransientError, UsageError
from evalkit.request import Message, Request
from evalkit.response import Response, Usage
from evalkit.testing.server import Faults, ServerConfig, serve
from tests.planted import KEYS, Planted

Canned = Callable[..., AbstractAsyncContextManager[str]]
MODEL = "anthropic.claude-3-5-sonnet-20240620-v1:0"
# AWS's published test suite of Signature Version 4.
SUITE_KEYS = AwsKeys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SUITE_TIME = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _environment(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "ap-northeast-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    planted.set("AWS_SECRET_ACCESS_KEY")


def ask(request: Request, config: ServerConfig | None = None, **args: Any) -> Response:
    async def main() -> Response:
        async with serve(config) as url:
            client = BedrockClient(model=MODEL, base_url=url, **args)
            try:
                return await client.send(request)
            finally:
                await client.close()

    return asyncio.run(main())


def read(canned: Canned, answer: Any) -> Response:
    async def main() -> Response:
        async with canned(200, json.dumps(answer).encode()) as url:
            client = BedrockClient(model=MODEL, base_url=url)
            try:
                return await client.send(Request("q"))
            finally:
                await client.close()

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "url", "signature"),
    [
        ("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "GET",
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
    ],
)
def test_signatures_are_those_of_the_published_suite(method: str, url: str, signature: str) -> None:
    signer = Signer(SUITE_KEYS, "us-east-1", "service")
    headers = signer.headers(method, f"https://example.amazonaws.com{url}", b"", SUITE_TIME)
    assert headers == {
        "x-amz-date": "20150830T123600Z",
        "Authorization": (
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
            f"SignedHeaders=host;x-amz-date, Signature={signature}"
        ),
    }


def test_temporary_keys_are_signed_with_their_token() -> None:
    signer = Signer(AwsKeys("A", "s", "token"), "us-east-1", "bedrock")
    headers = signer.headers("POST", "https://h/model/a%3A0/converse", b"{}", SUITE_TIME, {"B": " c "})
    assert headers["x-amz-security-token"] == "token"
    assert "SignedHeaders=b;host;x-amz-date;x-amz-security-token," in headers["Authorization"]


def test_a_body_with_everything() -> None:
    request = Request(
        "ignored",
        messages=(Message("system", "s"), Message("user", "u"), Message("assistant", "a")),
        temperature=1.5,
        top_p=0.9,
        max_tokens=7,
        stop_sequences=("x", "\n", "y"),
    )
    client = BedrockClient(
        model=MODEL, reasoning_tokens=100, extra_body={"additionalModelRequestFields": {"top_k": 5}}
    )
    assert client.body(request) == {
        "messages": [
            {"role": "user", "content": [{"text": "u"}]},
            {"role": "assistant", "content": [{"text": "a"}]},
        ],
        "system": [{"text": "s"}],
        "inferenceConfig": {
            "maxTokens": 107,
            "temperature": 1.0,
            "topP": 0.9,
            "stopSequences": ["x", "y"],
        },
        "additionalModelRequestFields": {"top_k": 5},
    }


def test_it_is_asked_signed_and_with_an_api_key(planted: Planted) -> None:
    request = Request("first line\nthe answer", max_tokens=5)
    answered = ask(request, ServerConfig(required_key="AKIDEXAMPLE"))
    assert answered.completions[0].text == "the answer"
    assert answered.usage == Usage(6, 2)
    assert answered.served_model == MODEL
    planted.set("AWS_BEARER_TOKEN_BEDROCK", "header")
    assert ask(request, ServerConfig(required_key=KEYS["header"])).completions[0].text == "the answer"
    with pytest.raises(AuthenticationError):
        ask(request, ServerConfig(required_key="another"))
    several = ask(Request("x", num_completions=3, max_tokens=5))
    assert [c.text for c in several.completions] == ["x"] * 3


def test_overload_and_stops() -> None:
    with pytest.raises(OverloadError):
        ask(Request("x"), ServerConfig(faults=Faults(rate_limited=1)))
    cut = ask(Request("x", stop_sequences=("b",)), ServerConfig(answers={"x": "a b c"}))
    assert cut.completions[0].text == "a "


def test_thinking_is_kept_apart(canned: Canned) -> None:
    answer = {
        "output": {
            "message": {
                "role": "assistant",
                "content": [{"reasoningContent": {"reasoningText": {"text": "hm"}}}, {"text": "yes"}],
            }
        },
        "stopReason": "end_turn",
        "usage": {"inputTokens": 3, "outputTokens": 4, "cacheReadInputTokens": 2},
    }
    response = read(canned, answer)
    assert (response.completions[0].text, response.completions[0].thinking) == ("yes", "hm")
    assert response.usage == Usage(5, 4)


@pytest.mark.parametrize(
    "answer",
    [
        {"output": {"message": {"role": "user", "content": [{"text": "x"}]}}, "stopReason": "end_turn"},
        {"output": {"message": {"role": "assistant", "content": [{"image": {}}]}}, "stopReason": "end_turn"},
        {"output": {"message": {"role": "assistant", "content": []}}},
        {"output": 3},
    ],
)
def test_other_shapes_are_malformed(canned: Canned, answer: Any) -> None:
    with pytest.raises(TransientError) as raised:
        read(canned, answer)
    assert raised.value.reason == "malformed"


@pytest.mark.parametrize(
    "request_",
    [
        Request("x", echo_prompt=True),
        Request("x", presence_penalty=1),
        Request("x", top_k=5),
        Request("x", repetition_penalty=1.2),
    ],
)
def test_what_converse_has_no_field_for_is_refused(request_: Request) -> None:
    with pytest.raises(BadRequestError, match="Converse"):
        BedrockClient(model=MODEL).body(request_)


def test_missing_keys_and_regions_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(UsageError, match=r"AWS_SECRET_ACCESS_KEY is not set.*AWS_BEARER_TOKEN_BEDROCK"):
        BedrockClient(model=MODEL)
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(UsageError, match="set AWS_REGION, or region"):
        BedrockClient(model=MODEL)
