from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from evalkit.clients.openai import OpenAIClient
from evalkit.errors import AuthenticationError, BadRequestError, TransientError, UsageError
from evalkit.request import Message, Request
from evalkit.response import Completion, Response, Token, Usage
from evalkit.testing.server import ServerConfig, logprob_of, serve
from tests.planted import Planted

Canned = Callable[..., AbstractAsyncContextManager[str]]


def local(**args: Any) -> OpenAIClient:
    return OpenAIClient(**{"model": "m", "base_url": "http://localhost:1/v1", **args})


def ask(request: Request, config: ServerConfig | None = None, **args: Any) -> Response:
    async def main() -> Response:
        async with serve(config) as url:
            client = local(base_url=f"{url}/v1", **args)
            try:
                return await client.send(request)
            finally:
                await client.close()

    return asyncio.run(main())


def read(canned: Canned, answer: Any, request: Request | None = None, **args: Any) -> Response:
    async def main() -> Response:
        async with canned(200, json.dumps(answer).encode()) as url:
            client = local(base_url=url, **args)
            try:
                return await client.send(request or Request("q"))
            finally:
                await client.close()

    return asyncio.run(main())


def choice(**message: Any) -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": "stop"}]}


def test_a_plain_request_sends_no_more_than_it_must() -> None:
    assert local().body(Request("q", temperature=0, max_tokens=5)) == {
        "model": "m",
        "messages": [{"role": "user", "content": "q"}],
        "max_tokens": 5,
        "temperature": 0,
    }


def test_a_request_with_everything() -> None:
    request = Request(
        "ignored",
        messages=(Message("system", "s"), Message("user", "u")),
        temperature=0.5,
        num_completions=3,
        top_k_per_token=50,
        max_tokens=7,
        stop_sequences=("a", "b", "c", "d", "e"),
        top_p=0.9,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        random="12",
    )
    client = local(
        max_tokens_field="max_completion_tokens",
        reasoning_tokens=1000,
        extra_body={"reasoning_effort": "low"},
    )
    assert client.body(request) == {
        "model": "m",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
        "max_completion_tokens": 1007,
        "temperature": 0.5,
        "n": 3,
        "top_p": 0.9,
        "logprobs": True,
        "top_logprobs": 20,
        "stop": ["a", "b", "c", "d"],
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "seed": 12,
        "reasoning_effort": "low",
    }


def test_a_schema_is_sent_as_response_format_to_a_chat() -> None:
    request = Request("q", response_schema='{"type":"object"}')
    schema = {"name": "answer", "schema": {"type": "object"}}
    assert local().body(request)["response_format"] == {"type": "json_schema", "json_schema": schema}
    assert "response_format" not in local(mode="completions").body(request)
    assert "response_format" not in local().body(Request("q"))


def test_omitted_fields_are_not_sent() -> None:
    body = local(omit_fields=("temperature", "stop")).body(Request("q", stop_sequences=("x",)))
    assert set(body) == {"model", "messages", "max_tokens"}


def test_a_completions_body() -> None:
    request = Request("q", echo_prompt=True, max_tokens=0, temperature=0)
    assert local(mode="completions").body(request) == {
        "model": "m",
        "prompt": "q",
        "echo": True,
        "logprobs": 1,
        "max_tokens": 0,
        "temperature": 0,
    }
    assert "logprobs" not in local(mode="completions").body(Request("q"))
    assert local(mode="completions", logprobs=True).body(Request("q"))["logprobs"] == 1
    assert local(mode="completions").body(Request("q", top_k_per_token=5))["logprobs"] == 5


def test_what_a_mode_cannot_do_is_refused_before_it_is_sent() -> None:
    with pytest.raises(BadRequestError, match="mode: completions"):
        local().body(Request("q", echo_prompt=True))
    with pytest.raises(BadRequestError, match="mode: chat"):
        local(mode="completions").body(Request("q", messages=(Message("user", "u"),)))
    with pytest.raises(UsageError, match="model"):
        OpenAIClient(base_url="http://localhost:1/v1")


def test_a_chat_answer() -> None:
    config = ServerConfig(answers={"q": "one two\nthree"})
    response = ask(Request("q", num_completions=2, top_k_per_token=2, stop_sequences=("\n",)), config)
    first, second = logprob_of("one"), logprob_of(" two")
    tokens = (
        Token("one", first, {"one": first, "one~1": first - 1}),
        Token(" two", second, {" two": second, " two~1": second - 1}),
    )
    completion = Completion("one two", "stop", first + second, tokens)
    assert response.completions == (completion, completion)
    assert response.usage == Usage(1, 4)
    assert response.served_model == "m"
    assert response.latency_s > 0


@pytest.mark.parametrize("omitted", [(), ("n",)])
def test_when_a_request_was_sent_is_told(omitted: tuple[str, ...]) -> None:
    before = time.time()
    response = ask(Request("q", num_completions=2), ServerConfig(latency_s=0.02), omit_fields=omitted)
    assert response.efficiency is not None
    sent_at = response.efficiency.started_at
    # The two clocks need not agree to the millisecond.
    assert before - 0.01 <= sent_at <= time.time() - response.latency_s + 0.01
    assert response.efficiency.batch_size is None


def test_the_length_limit_is_told() -> None:
    assert ask(Request("a b c", max_tokens=2)).completions == (Completion("a b", "length"),)


def test_more_stop_sequences_than_the_server_takes_still_stop() -> None:
    stops = ("1", "2", "3", "4", "five")
    completion = ask(Request("a five b", stop_sequences=stops)).completions[0]
    assert (completion.text, completion.finish_reason) == ("a ", "stop")


def test_a_server_without_n_is_asked_several_times_with_different_seeds() -> None:
    async def main() -> tuple[Response, list[Any]]:
        import aiohttp

        async with serve(ServerConfig(record_bodies=True)) as url:
            client = local(base_url=f"{url}/v1", omit_fields=("n",))
            response = await client.send(Request("q", num_completions=3, random="5"))
            await client.close()
            async with aiohttp.ClientSession() as session, session.get(f"{url}/_bodies") as page:
                return response, await page.json()

    response, bodies = asyncio.run(main())
    assert [c.text for c in response.completions] == ["q", "q", "q"]
    assert response.usage == Usage(3, 3)
    assert sorted(b["body"]["seed"] for b in bodies) == [5, 6, 7]


def test_a_scored_prompt() -> None:
    request = Request("a b", echo_prompt=True, max_tokens=0, stop_sequences=("b",))
    completion = ask(request, mode="completions").completions[0]
    assert completion.text == "a b"
    assert completion.tokens is not None
    assert [(t.text, t.logprob) for t in completion.tokens] == [("a", None), (" b", logprob_of(" b"))]
    assert completion.tokens[0].top_logprobs is None
    assert completion.tokens[1].top_logprobs == {" b": logprob_of(" b")}
    assert completion.logprob == logprob_of(" b")


def test_a_continued_text() -> None:
    request = Request("q", num_completions=2, top_k_per_token=2)
    response = ask(request, ServerConfig(answers={"q": "x"}), mode="completions")
    assert [c.text for c in response.completions] == ["x", "x"]
    assert response.completions[0].logprob == logprob_of("x")


@pytest.mark.parametrize(
    ("message", "completion"),
    [
        ({"content": None}, Completion("", "stop")),
        ({"content": None, "refusal": "I won't."}, Completion("I won't.", "stop")),
        ({"content": "a", "reasoning_content": "hm"}, Completion("a", "stop", thinking="hm")),
        ({"content": "a", "reasoning": "hm"}, Completion("a", "stop", thinking="hm")),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "a"},
                ]
            },
            Completion("a", "stop", thinking="hm"),
        ),
    ],
)
def test_forms_of_a_message(canned: Canned, message: dict[str, Any], completion: Completion) -> None:
    assert read(canned, choice(**message)).completions == (completion,)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": 3}}]},
        {"choices": ["text"]},
    ],
)
def test_answers_of_another_shape_are_malformed(canned: Canned, answer: dict[str, Any]) -> None:
    with pytest.raises(TransientError) as caught:
        read(canned, answer)
    assert caught.value.reason == "malformed"


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{"text": None}]},
    ],
)
def test_completions_of_another_shape_are_malformed(canned: Canned, answer: dict[str, Any]) -> None:
    with pytest.raises(TransientError) as caught:
        read(canned, answer, mode="completions")
    assert caught.value.reason == "malformed"


ASKED = Request("q", top_k_per_token=2)
TWO_ALIKE = [{"token": "\ufffd", "logprob": -2.5}, {"token": "\ufffd", "logprob": -7.0}]


@pytest.mark.parametrize(
    ("mode", "logprobs", "tokens"),
    [
        ("chat", None, None),
        ("chat", {}, None),
        ("chat", {"content": None, "refusal": None}, None),
        ("chat", {"content": []}, None),
        (
            "chat",
            {"content": [{"token": "a", "logprob": -1, "top_logprobs": TWO_ALIKE}]},
            (Token("a", -1.0, {"\ufffd": -2.5}),),
        ),
        (
            "chat",
            {"content": [{"token": "a", "logprob": -1, "top_logprobs": TWO_ALIKE[::-1]}]},
            (Token("a", -1.0, {"\ufffd": -2.5}),),
        ),
        # Together's and the completions protocol's shape.
        (
            "chat",
            {"tokens": ["a"], "token_logprobs": [-1.5], "top_logprobs": [{"a": -1.5, "b": -2}]},
            (Token("a", -1.5, {"a": -1.5, "b": -2.0}),),
        ),
        ("chat", {"tokens": ["a"], "token_logprobs": [-1.5], "top_logprobs": None}, (Token("a", -1.5),)),
        (
            "completions",
            {"tokens": ["a"], "token_logprobs": [-1.5], "top_logprobs": [TWO_ALIKE]},
            (Token("a", -1.5, {"\ufffd": -2.5}),),
        ),
    ],
)
def test_shapes_of_log_probabilities(
    canned: Canned, mode: str, logprobs: Any, tokens: tuple[Token, ...] | None
) -> None:
    message = {"message": {"content": "a"}} if mode == "chat" else {"text": "a"}
    answer = {"choices": [{**message, "finish_reason": "stop", "logprobs": logprobs}]}
    (completion,) = read(canned, answer, ASKED, mode=mode).completions
    assert completion.tokens == tokens
    assert completion.logprob == (None if tokens is None else sum(t.logprob or 0 for t in tokens))


@pytest.mark.parametrize(
    ("mode", "logprobs"),
    [
        ("chat", {"content": [{"token": "a"}]}),
        ("chat", {"content": [{"token": "a", "logprob": None}]}),
        ("chat", {"content": [{"token": "a", "logprob": "NaN"}]}),
        ("chat", {"tokens": [17], "token_logprobs": [-1.5]}),  # mlx_lm: numbers of tokens
        ("chat", {"probs": [0.5]}),
        ("chat", [-1.5]),
        ("completions", {"tokens": ["a"], "token_logprobs": []}),
        ("completions", {"tokens": ["a"], "token_logprobs": [None]}),
        ("completions", {"probs": [0.5]}),
    ],
)
def test_log_probabilities_of_another_shape_are_malformed_if_they_were_asked_for(
    canned: Canned, mode: str, logprobs: Any
) -> None:
    message = {"message": {"content": "a"}} if mode == "chat" else {"text": "a"}
    answer = {"choices": [{**message, "finish_reason": "stop", "logprobs": logprobs}]}
    for args in ({"request": ASKED}, {"logprobs": True}):
        with pytest.raises(TransientError) as caught:
            read(canned, answer, mode=mode, **args)
        assert caught.value.reason == "malformed"
    assert read(canned, answer, mode=mode).completions == (Completion("a", "stop"),)


def test_fewer_choices_than_asked_for_are_malformed(canned: Canned) -> None:
    with pytest.raises(TransientError, match="1 of 2 completions") as caught:
        read(canned, choice(content="a"), Request("q", num_completions=2))
    assert caught.value.reason == "malformed"


def test_an_upstream_that_broke_off_is_no_answer(canned: Canned) -> None:
    broken = {"choices": [{"message": {"content": "ha"}, "finish_reason": "error", "error": {"code": 502}}]}
    with pytest.raises(TransientError, match="502"):
        read(canned, broken)


def test_usage_may_be_missing_or_null(canned: Canned) -> None:
    assert read(canned, choice(content="a")).usage == Usage()
    nulls = {**choice(content="a"), "usage": {"prompt_tokens": 3, "completion_tokens": None}}
    assert read(canned, nulls).usage == Usage()
    nulls["usage"]["total_tokens"] = 5
    assert read(canned, nulls).usage == Usage(3, 2)


def test_the_key_is_sent_and_never_shown(planted: Planted) -> None:
    key = planted.set("MY_KEY")
    assert ask(Request("q"), ServerConfig(required_key=key), api_key_env="MY_KEY").completions[0].text == "q"
    with pytest.raises(AuthenticationError) as caught:
        ask(Request("q"), ServerConfig(required_key="other"), api_key_env="MY_KEY")
    assert key not in repr(caught.value)
    assert key not in repr(local(api_key_env="MY_KEY"))


def test_the_time_limit_is_kept() -> None:
    async def main() -> None:
        async with serve(ServerConfig(latency_s=30)) as url:
            client = local(base_url=f"{url}/v1")
            client.configure(timeout_s=0.1)
            with pytest.raises(TransientError, match=r"0\.1 s") as caught:
                await client.send(Request("q"))
            assert caught.value.reason == "timeout"
            await client.close()

    asyncio.run(main())
