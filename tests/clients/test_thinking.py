"""Thinking as servers send it: set apart from the answer, and never cut by a stop sequence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

import pytest

from evalkit.clients.anthropic import AnthropicClient
from evalkit.clients.client import Client
from evalkit.clients.openai import OpenAIClient
from evalkit.clients.thinking import settled
from evalkit.errors import CutThinkingError, SystemicError
from evalkit.execution.budget import Budget
from evalkit.execution.executor import Executor
from evalkit.execution.sender import Sender
from evalkit.models.deployment import Limits
from evalkit.request import Message, Request, RequestState
from evalkit.response import Completion, Response, Token, Usage, response_from_json, response_to_json
from evalkit.testing.server import ServerConfig, serve
from tests.planted import Planted

Canned = Callable[..., AbstractAsyncContextManager[str]]

GSM = "<think>Step one.\n\nStep two.</think>\n\nThe answer is 5."
STOP = ("\n\n",)


def asked(text: str, request: Request, **args: Any) -> tuple[list[Response], list[dict[str, Any]]]:
    """What a client makes of two answers of a server that applies stop sequences to all of them."""

    async def main() -> tuple[list[Response], list[dict[str, Any]]]:
        import aiohttp

        config = ServerConfig(answers=lambda _: text, record_bodies=True)
        async with serve(config) as url, aiohttp.ClientSession() as session:
            client = OpenAIClient(base_url=f"{url}/v1", **{"model": "m", **args})
            limits = Limits(max_concurrency=1, initial_concurrency=1)
            executor = Executor(Sender(client, name="double", limits=limits))
            states = [RequestState(str(number), str(number), 0, request) for number in range(2)]
            outcomes = {state.key: outcome async for state, outcome in executor.stream(states)}
            responses = [outcomes[state.key] for state in states]
            await executor.sender.close()
            assert all(isinstance(response, Response) for response in responses), responses
            async with session.get(f"{url}/_bodies") as answer:
                recorded = await answer.json()
            return cast("list[Response]", responses), [entry["body"] for entry in recorded]

    return asyncio.run(main())


def read(canned: Canned, answer: Any, request: Request, **args: Any) -> Response:
    """What a client makes of a body."""

    async def main() -> Response:
        async with canned(200, json.dumps(answer).encode()) as url:
            client: Client
            if "type" in answer:
                client = AnthropicClient(model="m", base_url=url, **args)
            else:
                client = OpenAIClient(model="m", base_url=url, **args)
            try:
                return await client.send(request)
            except CutThinkingError:
                return await client.send(request)
            finally:
                await client.close()

    return asyncio.run(main())


@pytest.mark.parametrize("mode", ["chat", "completions"])
def test_a_stop_that_cut_the_thinking_is_applied_to_the_answer(mode: str) -> None:
    responses, bodies = asked(GSM, Request("q", stop_sequences=STOP), mode=mode)
    for response in responses:
        (completion,) = response.completions
        assert (completion.text, completion.finish_reason) == ("The answer is 5.", "stop")
        assert (completion.thinking, completion.raw) == ("Step one.\n\nStep two.", GSM)
    # It is sent once, shown to be wrong, and never sent again; what it cost counts.
    assert ["stop" in body for body in bodies] == [True, False, False]
    assert responses[0].usage.total_tokens > responses[1].usage.total_tokens
    assert [response.attempts for response in responses] == [2, 1]


@pytest.mark.parametrize("concurrency", [1, 4, 32])
def test_a_second_send_is_paid_for_before_it_is_made(concurrency: int) -> None:
    """Each request of the first wave is cut and sent again: the budget has room for each send, or it is not
    made."""

    async def main() -> tuple[Budget, int]:
        import aiohttp

        half = " ".join(["step"] * 100)
        text = f"<think> {half}\n\n{half} </think> 5"
        config = ServerConfig(answers=lambda _: text, record_bodies=True)
        async with serve(config) as url, aiohttp.ClientSession() as session:
            client = OpenAIClient(base_url=f"{url}/v1", model="m")
            budget = Budget(max_tokens=concurrency * (1 + 16 + 8 + 205) + 3)
            limits = Limits(max_concurrency=concurrency, initial_concurrency=concurrency)
            executor = Executor(Sender(client, name="double", limits=limits, budget=budget))
            request = Request("q", max_tokens=205, stop_sequences=STOP)
            states = [RequestState(str(number), str(number), 0, request) for number in range(300)]
            with pytest.raises(SystemicError, match="the budget is spent"):
                async for _ in executor.stream(states):
                    pass
            await executor.sender.close()
            async with session.get(f"{url}/_bodies") as answer:
                return budget, len(await answer.json())

    budget, num_sends = asyncio.run(main())
    assert budget.max_tokens is not None
    assert num_sends >= concurrency
    assert budget.spent.tokens <= budget.max_tokens


@pytest.mark.parametrize(
    ("request_", "args"),
    [
        (Request("q", stop_sequences=STOP), {"thinking": True}),
        (Request("q", stop_sequences=STOP), {"model": "deepseek-ai/DeepSeek-R1"}),
        (Request("q", stop_sequences=STOP, expects_thinking=True), {}),
        (Request("Q: 1\n<think>\n", stop_sequences=STOP, expects_thinking=True), {"mode": "completions"}),
    ],
)
@pytest.mark.parametrize("text", [GSM, GSM.removeprefix("<think>")])
def test_stops_are_not_sent_where_thinking_is_known(
    request_: Request, args: dict[str, Any], text: str
) -> None:
    responses, bodies = asked(f"{text}\n\nQ: 2", request_, **args)
    assert [response.completions[0].text for response in responses] == ["The answer is 5."] * 2
    assert [response.completions[0].raw for response in responses] == [f"{text}\n\nQ: 2"] * 2
    assert not any("stop" in body for body in bodies)


def test_other_models_are_asked_as_before() -> None:
    responses, bodies = asked("The answer is 5.\n\nQ: 2", Request("q", stop_sequences=STOP))
    assert [response.completions[0] for response in responses] == [Completion("The answer is 5.", "stop")] * 2
    assert [response.completions[0].raw for response in responses] == [None, None]
    assert [body["stop"] for body in bodies] == [["\n\n"], ["\n\n"]]


def test_a_mark_at_the_end_of_a_message_opens_nothing() -> None:
    """A continued text begins inside the thinking, an answer to a message does not."""
    request = Request("Think between marks: <think>", max_tokens=40)
    (chat, _), _ = asked("It is 5.", request)
    assert chat.completions[0].text == "It is 5."
    (continued, _), _ = asked("It is 5.", request, mode="completions")
    assert continued.completions[0].lacks_answer


def test_marks_of_ones_own() -> None:
    declared = {"open": "Thoughts:", "close": "Reply:"}
    (response, _), _ = asked(
        "Thoughts: a\n\nb Reply: 5", Request("q", stop_sequences=STOP), thinking=declared
    )
    assert (response.completions[0].text, response.completions[0].thinking) == (" 5", "a\n\nb")
    (response, _), _ = asked(GSM, Request("q"), thinking=False)
    assert response.completions == (Completion(GSM, "stop"),)


def test_a_completion_that_ends_inside_its_thinking_has_no_answer() -> None:
    (response, _), _ = asked(GSM, Request("q", max_tokens=3))
    (completion,) = response.completions
    assert (completion.text, completion.finish_reason, completion.lacks_answer) == ("", "length", True)
    assert completion.thinking
    assert completion.raw == f"<think>{completion.thinking}"


def test_a_prefilled_answer_may_open_the_thinking() -> None:
    messages = (Message("user", "q"), Message("assistant", "<think>\nWell,"))
    (response, _), _ = asked(" it is 5", Request("", messages))
    assert response.completions[0].lacks_answer
    closed = (Message("user", "q"), Message("assistant", "<think>\n</think>\n"))
    (response, _), _ = asked(" it is 5", Request("", closed))
    assert response.completions[0].text == " it is 5"


def choice(finish_reason: str, usage: dict[str, Any] | None = None, **message: Any) -> dict[str, Any]:
    answer: dict[str, Any] = {"choices": [{"message": message, "finish_reason": finish_reason}]}
    return answer if usage is None else {**answer, "usage": usage}


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thinking_in_a_field_of_its_own(canned: Canned, field: str) -> None:
    message: dict[str, Any] = {field: "Step one.\n\nStep two."}
    answer = choice("stop", content="\n\nThe answer is 5.\n\nQ:", **message)
    response = read(canned, answer, Request("q", stop_sequences=STOP))
    (completion,) = response.completions
    assert (completion.text, completion.thinking) == ("The answer is 5.", "Step one.\n\nStep two.")


@pytest.mark.parametrize(
    "answer",
    [
        choice("length", content=None, reasoning_content="Step one."),
        choice("length", content="", reasoning="Step one."),
        choice("stop", content=None, reasoning_content="Step one."),
        choice("length", content=None),
        choice("stop", {"completion_tokens_details": {"reasoning_tokens": 9}}, content=None),
        choice("length", content="<think>Step one."),
        {
            "type": "message",
            "content": [{"type": "thinking", "thinking": "Step"}],
            "stop_reason": "max_tokens",
            "usage": {},
        },
        {
            "type": "message",
            "content": [{"type": "redacted_thinking", "data": "x"}],
            "stop_reason": "max_tokens",
            "usage": {},
        },
    ],
)
def test_all_tokens_spent_on_thinking_is_no_answer(
    canned: Canned, planted: Planted, answer: dict[str, Any]
) -> None:
    planted.set("ANTHROPIC_API_KEY")
    response = read(canned, answer, Request("q", stop_sequences=STOP))
    assert response.completions[0].text == ""
    assert response.completions[0].lacks_answer
    assert response_from_json(response_to_json(response)).completions[0].lacks_answer


@pytest.mark.parametrize(
    "answer",
    [choice("stop", content="5", reasoning="a"), choice("stop", content=""), choice("stop", content="5")],
)
def test_answers_are_none_of_those(canned: Canned, answer: dict[str, Any]) -> None:
    assert not read(canned, answer, Request("q")).completions[0].lacks_answer


def test_tokens_and_their_sum_are_the_answers() -> None:
    pieces = ["<think>", "a", "\n\n", "</think>", "\n\n", "5", ".", "\n\n", "Q"]
    tokens = tuple(Token(piece, -float(2**place)) for place, piece in enumerate(pieces))
    text = "".join(pieces)
    answer = settled(Completion(text, "length", -511.0, tokens), STOP)
    assert (answer.text, answer.tokens, answer.logprob) == ("5.", tokens[5:7], -96.0)
    # A server that gives thinking in a field of its own lists all tokens the same.
    apart = settled(Completion("\n\n5.", "stop", -511.0, tokens[:7], "a"), STOP)
    assert (apart.text, apart.tokens, apart.logprob) == ("5.", tokens[5:7], -96.0)


def test_special_tokens_that_vllms_server_spells_are_no_part_of_answers() -> None:
    from evalkit.clients.thinking import AnswerReader

    special = ["<|im_end|>", "<|channel|>", "<|message|>", "<|start|>", "<|end|>"]
    client = OpenAIClient(model="m", base_url="http://localhost:1/v1")
    assert "skip_special_tokens" not in client.body(Request("q"))
    client.show_special_tokens(special)
    assert client.body(Request("q"))["skip_special_tokens"] is False
    scored = OpenAIClient(model="m", base_url="http://localhost:1/v1", mode="completions")
    scored.show_special_tokens(special)
    assert "skip_special_tokens" not in scored.body(Request("q", echo_prompt=True, max_tokens=0))

    reader = AnswerReader(None)
    reader.special = tuple(special)
    text = "<|channel|>analysis<|message|>B?<|end|><|start|>assistant<|channel|>final<|message|>D<|im_end|>"
    answer = reader.answer(Request("q"), Completion(text))
    assert (answer.text, answer.thinking, answer.raw) == ("D", "B?", text)
    tokens = (Token("D", -1.0), Token("<|im_end|>", -2.0), Token("\n", -3.0))
    plain = reader.answer(Request("q", stop_sequences=("<|im_end|>",)), Completion("D<|im_end|>\n", "length"))
    assert (plain.text, plain.finish_reason) == ("D", "stop")
    kept = reader.answer(Request("q"), Completion("D<|im_end|>\n", "length", -6.0, tokens))
    assert (kept.text, kept.logprob, kept.raw) == ("D\n", -6.0, "D<|im_end|>\n")
    assert [token.text for token in kept.tokens or ()] == ["D", "", "\n"]


def test_the_whole_text_is_in_the_journal() -> None:
    answer = settled(Completion(GSM, "length"), STOP)
    plain = response_to_json(Response((answer,), Usage(1, 2)))
    assert plain["completions"] == [
        {
            "text": "The answer is 5.",
            "finish_reason": "length",
            "thinking": "Step one.\n\nStep two.",
            "raw": GSM,
        }
    ]
    (kept,) = response_from_json(plain).completions
    assert (kept, kept.raw) == (answer, GSM)
