"""A server that refuses a parameter is asked without it, once, if that changes no result."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from evalkit.clients.anthropic import AnthropicClient
from evalkit.clients.client import Client
from evalkit.clients.openai import OpenAIClient
from evalkit.errors import BadRequestError
from evalkit.request import Request
from evalkit.response import Response
from tests.planted import Planted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

Bodies = list[dict[str, Any]]
Refusing = Callable[[dict[str, Any]], AbstractAsyncContextManager[tuple[str, Bodies]]]

UNSUPPORTED = {
    "temperature": {
        "message": "Unsupported value: 'temperature' does not support 0 with this model. Only…",
        "type": "invalid_request_error",
        "param": "temperature",
        "code": "unsupported_value",
    },
    "max_tokens": {
        "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead.",
        "param": "max_tokens",
        "code": "unsupported_parameter",
    },
    "stop": {"message": "Unsupported parameter: 'stop' is not supported with this model.", "param": "stop"},
    "seed": {"message": "Unrecognized request argument supplied: seed", "param": None, "code": None},
    "top_p": {"message": "Unsupported parameter: 'top_p' is not supported with this model."},
    "logprobs": {"message": "no", "param": "logprobs", "code": "unsupported_parameter"},
    "presence_penalty": {"message": "Unknown parameter: 'presence_penalty'.", "code": "unknown_parameter"},
}


@asynccontextmanager
async def refusing(*names: str, **errors: Any) -> AsyncIterator[tuple[str, Bodies]]:
    """A server that refuses these parameters, one at a time; its URL, and the bodies it saw."""
    from aiohttp import web
    from aiohttp.web_runner import ServerRunner

    bodies: Bodies = []
    known = {name: UNSUPPORTED[name] for name in names} | errors

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        body = json.loads(await request.read())
        bodies.append(body)
        for name, error in known.items():
            if name in body:
                return web.json_response({"error": error}, status=400)
        text = "one two\nthree"
        return web.json_response(
            {
                "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
                "content": [{"type": "text", "text": text}],
                "stop_reason": "end_turn",
            }
        )

    runner = ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", bodies
    finally:
        await runner.cleanup()


def ask(
    make: Callable[[str], Client], requests: list[Request], *names: str, **errors: Any
) -> tuple[list[Response], Bodies, tuple[str, ...]]:
    async def main() -> tuple[list[Response], Bodies, tuple[str, ...]]:
        async with refusing(*names, **errors) as (url, bodies):
            client = make(url)
            try:
                responses = [await client.send(request) for request in requests]
            finally:
                await client.close()
            return responses, bodies, client.notes

    return asyncio.run(main())


def local(url: str, **args: Any) -> OpenAIClient:
    return OpenAIClient(model="m", base_url=url, **args)


def test_what_changes_no_result_is_left_out_once_and_noted() -> None:
    request = Request("q", temperature=0.0, max_tokens=7, stop_sequences=("\n",), random="3")
    responses, bodies, notes = ask(local, [request, request], "temperature", "max_tokens", "stop", "seed")
    # One refusal each, then none any more.
    assert len(bodies) == 4 + 1 + 1
    assert (
        bodies[-1]
        == bodies[-2]
        == {
            "model": "m",
            "messages": [{"role": "user", "content": "q"}],
            "max_completion_tokens": 7,
        }
    )
    assert [r.completions[0].text for r in responses] == ["one two", "one two"]  # cut here
    assert len(notes) == 4
    for name in ("temperature", "max_tokens", "stop", "seed"):
        assert any(f"refuses {name}" in note for note in notes)


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (Request("q", temperature=0.7), "temperature"),
        (Request("q", temperature=0, top_p=0.5), "top_p"),
        (Request("q", temperature=0, top_k_per_token=5), "logprobs"),
        (Request("q", temperature=0, presence_penalty=1.0), "presence_penalty"),
    ],
)
def test_what_would_change_the_result_is_refused_clearly(request_: Request, name: str) -> None:
    with pytest.raises(BadRequestError, match=f"refuses {name}.*would change the result.*omit_fields"):
        ask(local, [request_], name)


def test_a_refusal_of_something_else_stays_what_it_is() -> None:
    error = {"message": "Unsupported value: 'messages' does not support 'system'", "param": "messages[0]"}
    with pytest.raises(BadRequestError, match="does not support 'system'"):
        ask(local, [Request("q", temperature=0)], messages=error)
    # Without its own words on what it wants instead, the length limit is not dropped.
    with pytest.raises(BadRequestError, match="HTTP 400"):
        ask(local, [Request("q")], max_tokens={"message": "Unsupported parameter: 'max_tokens'"})


def test_what_the_deployment_insists_on_is_not_left_out() -> None:
    def insisting(url: str) -> OpenAIClient:
        return local(url, extra_body={"temperature": 0})

    with pytest.raises(BadRequestError, match="does not support 0"):
        ask(insisting, [Request("q")], "temperature")


def test_many_at_once_each_meet_the_refusal_at_most_once() -> None:
    async def main() -> tuple[Bodies, tuple[str, ...]]:
        async with refusing("temperature") as (url, bodies):
            client = local(url)
            try:
                await asyncio.gather(*(client.send(Request(f"{i}", temperature=0)) for i in range(20)))
            finally:
                await client.close()
            return bodies, client.notes

    bodies, notes = asyncio.run(main())
    assert sum("temperature" not in body for body in bodies) == 20
    assert len(bodies) <= 40
    assert len(notes) == 1


def test_anthropic(planted: Planted) -> None:
    planted.set("ANTHROPIC_API_KEY")
    error = {"type": "invalid_request_error", "message": "`temperature` is deprecated for this model."}
    responses, bodies, notes = ask(
        lambda url: AnthropicClient(model="m", base_url=url),
        [Request("q", temperature=0.0, stop_sequences=("\n",))],
        temperature=error,
    )
    assert ["temperature" in body for body in bodies] == [True, False]
    assert responses[0].completions[0].text == "one two"
    assert len(notes) == 1


def test_a_server_without_schemas_is_asked_without_one() -> None:
    async def ask() -> tuple[Response, Bodies, tuple[str, ...]]:
        error = {"message": "response_format is not supported by this model", "param": "response_format"}
        async with refusing(response_format=error) as (url, bodies):
            client = OpenAIClient(model="m", base_url=url)
            try:
                response = await client.send(Request("q", response_schema='{"type":"object"}'))
            finally:
                await client.close()
            return response, bodies, client.notes

    response, bodies, notes = asyncio.run(ask())
    assert response.completions
    assert ["response_format" in body for body in bodies] == [True, False]
    assert notes == ("the server refuses response_format; evalkit leaves it out: answers are plain texts",)
