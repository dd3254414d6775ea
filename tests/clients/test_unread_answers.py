"""Answers in places that are not read, and ends that are none: a failure, never an empty answer scored 0."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from evalkit.clients.anthropic import AnthropicClient
from evalkit.clients.client import Client
from evalkit.clients.openai import OpenAIClient
from evalkit.errors import ClientError
from evalkit.request import Request
from evalkit.response import Response
from tests.planted import Planted

Canned = Callable[..., AbstractAsyncContextManager[str]]
EMPTY = {"role": "assistant", "content": ""}


def ask(canned: Canned, answer: Any, kind: Callable[..., Client] = OpenAIClient, **args: Any) -> Response:
    async def main() -> Response:
        async with canned(200, json.dumps(answer).encode()) as url:
            client: Client = kind(model="m", base_url=url, **args)
            try:
                return await client.send(Request("q"))
            finally:
                await client.close()

    return asyncio.run(main())


def chat(message: Any = EMPTY, reason: Any = "stop", choice: Any = None, **fields: Any) -> dict[str, Any]:
    choices = [{"index": 0, "message": message, "finish_reason": reason, **(choice or {})}]
    return {"choices": choices, "usage": {"prompt_tokens": 5, "completion_tokens": 2}, **fields}


UNREAD: dict[str, dict[str, Any]] = {
    "a field of the message in place of the content": chat({"role": "assistant", "response": "7"}),
    "beside a content that is null": chat({**EMPTY, "content": None, "answer": "7"}),
    "beside an empty content": chat({**EMPTY, "result": ["7"]}),
    "an object": chat({**EMPTY, "value": {"text": "7"}}),
    "the text of the choice": chat(choice={"text": "7"}),
    "the delta of the choice": chat(choice={"delta": {"content": "7"}}),
    "the content of the choice": chat(choice={"content": "7"}),
    "the output of the whole": chat(output=[{"type": "message", "content": [{"text": "7"}]}]),
    "the result of the whole": chat(result="7"),
    "an error in the message": chat({**EMPTY, "error": "the model died"}),
    "a whole that failed": chat(status="failed"),
    "no success": chat(success=False, message="quota"),
}
BROKEN_OFF = (
    *("network_error", "interrupted", "error: the upstream died", "engineOverloaded", "request-cancelled"),
    {"type": "abort"},
    {"reason": "error"},
)


@pytest.mark.parametrize("case", UNREAD)
def test_an_answer_in_another_place_is_no_empty_one(canned: Canned, case: str) -> None:
    with pytest.raises(ClientError):
        ask(canned, UNREAD[case])


@pytest.mark.parametrize("reason", BROKEN_OFF, ids=str)
def test_what_broke_off_is_no_answer(canned: Canned, planted: Planted, reason: Any) -> None:
    planted.set("ANTHROPIC_API_KEY")
    with pytest.raises(ClientError, match="ended the answer early"):
        ask(canned, chat({**EMPTY, "content": "The answer is"}, reason))
    begun = {"content": [{"type": "text", "text": "The answer is"}], "stop_reason": reason}
    with pytest.raises(ClientError, match="ended the answer early"):
        ask(canned, begun, kind=AnthropicClient)


def test_a_turn_of_a_chat_is_no_continuation(canned: Canned) -> None:
    answer = {"choices": [{"text": "", "message": {"content": "7"}, "finish_reason": "stop"}]}
    with pytest.raises(ClientError, match="the answer is in 'message'"):
        ask(canned, answer, mode="completions")


@pytest.mark.parametrize("content", [{}, 0, False], ids=str)
def test_content_of_another_kind_is_no_empty_answer(canned: Canned, planted: Planted, content: Any) -> None:
    planted.set("ANTHROPIC_API_KEY")
    with pytest.raises(ClientError):
        ask(canned, {"content": content, "stop_reason": "end_turn"}, kind=AnthropicClient)


@pytest.mark.parametrize(
    "answer",
    [
        chat(),
        chat({"role": "assistant"}, "length"),
        chat({**EMPTY, "annotations": [{"type": "x"}], "refusal": None, "audio": None, "id": "msg_1"}),
        chat(id="1", object="chat.completion", system_fingerprint="fp", status="completed", success=True),
        chat(reason={"type": "stop"}),
        chat({**EMPTY, "content": None, "tool_calls": [{"function": {"name": "f"}}]}, "tool_calls"),
    ],
    ids=str,
)
def test_an_empty_answer_stays_one(canned: Canned, answer: dict[str, Any]) -> None:
    assert ask(canned, answer).completions[0].text == ""


OTHERS = (
    "user",
    "system",
    "tool",
    "function",
    "developer",
    "User",
    "human",
    7,
    ["assistant"],
    {"a": 1},
    False,
)
OF_THE_MODEL = ("assistant", "ASSISTANT", "model", "", None)


@pytest.mark.parametrize("role", OTHERS, ids=str)
def test_a_message_of_someone_else_is_no_answer(canned: Canned, planted: Planted, role: Any) -> None:
    planted.set("ANTHROPIC_API_KEY")
    fields: list[dict[str, Any]] = [{}, {"reasoning": "hm"}, {"content": [{"type": "text", "text": "7"}]}]
    for more in fields:
        with pytest.raises(ClientError, match="the message has the role") as caught:
            ask(canned, chat({"role": role, "content": "7", **more}))
        assert caught.value.reason == "malformed"
    answer = {"role": role, "content": [{"type": "text", "text": "7"}], "stop_reason": "end_turn"}
    with pytest.raises(ClientError, match="the message has the role"):
        ask(canned, answer, kind=AnthropicClient)


def test_one_of_several_messages_of_someone_else_spoils_the_answer(canned: Canned) -> None:
    answer = chat({"role": "assistant", "content": "7"})
    answer["choices"].append(
        {"index": 1, "message": {"role": "user", "content": "q"}, "finish_reason": "stop"}
    )

    async def main() -> Response:
        async with canned(200, json.dumps(answer).encode()) as url:
            client = OpenAIClient(model="m", base_url=url)
            try:
                return await client.send(Request("q", num_completions=2))
            finally:
                await client.close()

    with pytest.raises(ClientError, match="the message has the role 'user', not 'assistant'"):
        asyncio.run(main())


@pytest.mark.parametrize("role", OF_THE_MODEL, ids=str)
def test_a_message_of_the_model_or_of_no_role_is_an_answer(
    canned: Canned, planted: Planted, role: Any
) -> None:
    planted.set("ANTHROPIC_API_KEY")
    assert ask(canned, chat({"role": role, "content": "7"})).completions[0].text == "7"
    assert ask(canned, chat({"content": "7"})).completions[0].text == "7"
    answer = {"role": role, "content": [{"type": "text", "text": "7"}], "stop_reason": "end_turn"}
    assert ask(canned, answer, kind=AnthropicClient).completions[0].text == "7"
