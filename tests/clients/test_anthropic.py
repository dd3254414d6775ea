from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from evalkit.clients.anthropic import AnthropicClient
from evalkit.errors import AuthenticationError, BadRequestError, OverloadError, TransientError, UsageError
from evalkit.request import Message, Request
from evalkit.response import Completion, Response, Usage
from evalkit.testing.server import Faults, ServerConfig, serve
from tests.planted import KEYS, Planted

Canned = Callable[..., AbstractAsyncContextManager[str]]
KEY = KEYS["plain"]


@pytest.fixture(autouse=True)
def _key(planted: Planted) -> None:
    planted.set("ANTHROPIC_API_KEY")


def local(**args: Any) -> AnthropicClient:
    return AnthropicClient(**{"model": "claude", "base_url": "http://localhost:1", **args})


def ask(request: Request, config: ServerConfig | None = None, **args: Any) -> Response:
    async def main() -> Response:
        async with serve(config) as url:
            client = local(base_url=url, **args)
            try:
                return await client.send(request)
            finally:
                await client.close()

    return asyncio.run(main())


def read(canned: Canned, answer: Any) -> Response:
    async def main() -> Response:
        async with canned(200, json.dumps(answer).encode()) as url:
            client = local(base_url=url)
            try:
                return await client.send(Request("q"))
            finally:
                await client.close()

    return asyncio.run(main())


def test_a_body_with_everything() -> None:
    request = Request(
        "ignored",
        messages=(Message("system", "s"), Message("user", "u"), Message("assistant", "a")),
        temperature=1.5,
        max_tokens=9,
        stop_sequences=("\n", "###"),
        top_p=0.9,
        top_k_per_token=5,
        random="1",
    )
    client = local(reasoning_tokens=100, extra_body={"thinking": {"type": "adaptive"}})
    assert client.body(request) == {
        "model": "claude",
        "messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}],
        "system": "s",
        "max_tokens": 109,
        "temperature": 1.0,
        "top_p": 0.9,
        "stop_sequences": ["###"],
        "thinking": {"type": "adaptive"},
    }


def test_a_plain_body_and_omitted_fields() -> None:
    client = local(omit_fields=("temperature",))
    assert client.body(Request("q", stop_sequences=("\n\n",))) == {
        "model": "claude",
        "messages": [{"role": "user", "content": "q"}],
        "max_tokens": 100,
    }


@pytest.mark.parametrize(
    "request_",
    [Request("q", echo_prompt=True), Request("q", presence_penalty=1), Request("q", frequency_penalty=1)],
)
def test_what_the_api_cannot_do_is_refused_before_it_is_sent(request_: Request) -> None:
    with pytest.raises(BadRequestError):
        local().body(request_)


def test_an_answer_is_cut_at_blank_stop_sequences_here() -> None:
    response = ask(Request("q", stop_sequences=("\n",)), ServerConfig(answers={"q": "one two\nthree"}))
    assert response.completions == (Completion("one two", "stop"),)
    assert response.usage == Usage(1, 3)
    assert response.served_model == "claude"


def test_several_completions_are_several_sends() -> None:
    response = ask(Request("a b", num_completions=3, max_tokens=1))
    assert response.completions == (Completion("a", "length"),) * 3
    assert response.usage == Usage(3, 3)


def test_thinking_and_cached_tokens(canned: Canned) -> None:
    answer = {
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "x"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "a"},
            {"type": "text", "text": "b"},
        ],
        "stop_reason": "stop_sequence",
        "model": "claude-20260101",
        "usage": {
            "input_tokens": 1,
            "cache_creation_input_tokens": 10,
            "cache_read_input_tokens": 100,
            "output_tokens": 7,
        },
    }
    response = read(canned, answer)
    assert response.completions == (Completion("ab", "stop", thinking="hm"),)
    assert response.usage == Usage(111, 7)
    assert response.served_model == "claude-20260101"


@pytest.mark.parametrize(
    ("word", "reason"), [("end_turn", "stop"), ("max_tokens", "length"), ("tool_use", "tool_calls")]
)
def test_stop_reasons(canned: Canned, word: str, reason: str) -> None:
    answer = {"content": [], "stop_reason": word, "usage": {"input_tokens": 1, "output_tokens": 0}}
    assert read(canned, answer).completions[0].finish_reason == reason


@pytest.mark.parametrize(
    "answer",
    [{}, {"content": None, "usage": {}}, {"content": [{"type": "text"}], "usage": {}}, {"content": []}],
)
def test_answers_of_another_shape_are_malformed(canned: Canned, answer: dict[str, Any]) -> None:
    with pytest.raises(TransientError) as caught:
        read(canned, answer)
    assert caught.value.reason == "malformed"


def test_overload_and_wrong_key() -> None:
    with pytest.raises(OverloadError, match="529: overloaded"):
        ask(Request("q"), ServerConfig(faults=Faults(overloaded=1)))
    with pytest.raises(AuthenticationError) as caught:
        ask(Request("q"), ServerConfig(required_key="other"))
    assert KEY not in repr(caught.value)
    assert ask(Request("q"), ServerConfig(required_key=KEY)).completions[0].text == "q"


def test_a_model_is_needed() -> None:
    with pytest.raises(UsageError, match="model"):
        AnthropicClient()


def test_when_a_request_was_sent_is_told() -> None:
    before = time.time()
    response = ask(Request("q"), ServerConfig(latency_s=0.02))
    assert response.efficiency is not None
    # The two clocks need not agree to the millisecond.
    assert before - 0.01 <= response.efficiency.started_at <= time.time() - response.latency_s + 0.01
