"""What servers say that they bill: counts are counts, and anything else is not reported."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from evalkit.clients.anthropic import AnthropicClient
from evalkit.clients.client import Client
from evalkit.clients.completion_parsing import merged
from evalkit.clients.openai import OpenAIClient
from evalkit.request import Request
from evalkit.response import Completion, Response, Usage
from tests.clients.conftest import Canned
from tests.planted import Planted

NO_COUNTS: dict[str, str] = {
    "negative": "-1000",
    "negative, whole float": "-3.0",
    "negative zero with more": "-0.5",
    "NaN": "NaN",
    "infinite": "Infinity",
    "over a billion": "1000000001",
    "1e30": "1e30",
    "digits without end": "9" * 4000,
    "true": "true",
    "null": "null",
    "a word": '"many"',
    "negative text": '"-5"',
    "text NaN": '"nan"',
    "text infinity": '"inf"',
    "text with underscores": '"1_000"',
    "text with an exponent": '"1e3"',
    "empty text": '""',
    "a list": "[3]",
    "an object": '{"total": 3}',
}
COUNTS = {"3": 3, "3.0": 3, '"3"': 3, '" 3 "': 3, '"3.0"': 3, "1000000000": 10**9}


@pytest.fixture(autouse=True)
def key(planted: Planted) -> None:
    """What the header is filled with where one is needed."""
    planted.set("A_KEY")


def billed(canned: Canned, mode: str, prompt: str, completion: str) -> Usage:
    """What a client makes of these two numbers, as they stand in the server's JSON."""
    if mode == "anthropic":
        answer: dict[str, Any] = {"content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn"}
        names = ("input_tokens", "output_tokens")
    else:
        answer = {"choices": [{"message": {"content": "a"}, "text": "a", "finish_reason": "stop"}]}
        names = ("prompt_tokens", "completion_tokens")
    usage = f'{{"{names[0]}": {prompt}, "{names[1]}": {completion}}}'
    body = f'{json.dumps(answer)[:-1]}, "usage": {usage}}}'.encode()

    async def main() -> Response:
        async with canned(200, body) as url:
            client: Client
            if mode == "anthropic":
                client = AnthropicClient(model="m", base_url=url, headers_from_env={"x-api-key": "A_KEY"})
            elif mode == "chat":
                client = OpenAIClient(model="m", base_url=url)
            else:
                client = OpenAIClient(model="m", base_url=url, mode="completions")
            try:
                return await client.send(Request("q"))
            finally:
                await client.close()

    response = asyncio.run(main())
    assert response.completions[0].text == "a"
    return response.usage


@pytest.mark.parametrize("mode", ["chat", "completions", "anthropic"])
def test_what_is_no_count_is_not_reported(canned: Canned, mode: str) -> None:
    for seen, number in NO_COUNTS.items():
        assert billed(canned, mode, number, "3") == Usage(), seen
        assert billed(canned, mode, "3", number) == Usage(), seen
    assert billed(canned, mode, "0", "0") == Usage()
    # It has written something.
    assert billed(canned, mode, "3", "0") == Usage()


@pytest.mark.parametrize("mode", ["chat", "completions", "anthropic"])
def test_what_is_a_count_is_one_however_it_is_spelled(canned: Canned, mode: str) -> None:
    for spelled, number in COUNTS.items():
        assert billed(canned, mode, spelled, spelled) == Usage(number, number), spelled


def test_of_several_sends_all_are_reported_or_none() -> None:
    one, other = Response((Completion("a"),), Usage(3, 2)), Response((Completion("b"),), Usage())
    assert merged([one, one]).usage == Usage(6, 4)
    assert merged([one, other]).usage == Usage()
