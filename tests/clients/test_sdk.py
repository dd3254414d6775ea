"""The vendors' own SDKs against the same double: our requests and our reading of the answers are theirs."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from evalkit.clients.anthropic import AnthropicClient
from evalkit.clients.openai import OpenAIClient
from evalkit.request import Message, Request
from evalkit.response import Response
from evalkit.testing.server import Faults, ServerConfig, serve
from tests.planted import KEYS, Planted

CONFIG = ServerConfig(record_bodies=True, required_key=KEYS["plain"], answers={"u": "one two three four"})
CHAT = Request(
    "u",
    messages=(Message("system", "s"), Message("user", "u")),
    temperature=0.5,
    num_completions=2,
    top_k_per_token=3,
    max_tokens=3,
    stop_sequences=("###",),
    top_p=0.9,
    presence_penalty=0.25,
    frequency_penalty=0.5,
    random="7",
)
TEXT = Request("u", temperature=0, num_completions=2, top_k_per_token=3, max_tokens=3, echo_prompt=True)


@pytest.fixture(autouse=True)
def _keys(planted: Planted) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        planted.set(name)


async def bodies(url: str) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/_bodies") as page:
        recorded: list[dict[str, Any]] = await page.json()
        return recorded


async def ours(client: OpenAIClient | AnthropicClient, request: Request) -> Response:
    try:
        return await client.send(request)
    finally:
        await client.close()


def test_openai_chat() -> None:
    import openai

    async def main() -> tuple[Response, Any, list[dict[str, Any]]]:
        async with serve(CONFIG) as url:
            own = OpenAIClient(model="m", base_url=f"{url}/v1", api_key_env="OPENAI_API_KEY")
            mine = await ours(own, CHAT)
            async with openai.AsyncOpenAI(base_url=f"{url}/v1") as sdk:
                theirs = await sdk.chat.completions.create(
                    model="m",
                    messages=[{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
                    temperature=0.5,
                    n=2,
                    logprobs=True,
                    top_logprobs=3,
                    max_tokens=3,
                    stop=["###"],
                    top_p=0.9,
                    presence_penalty=0.25,
                    frequency_penalty=0.5,
                    seed=7,
                )
            return mine, theirs, await bodies(url)

    mine, theirs, sent = asyncio.run(main())
    assert sent[0] == sent[1]
    assert [c.text for c in mine.completions] == [c.message.content for c in theirs.choices]
    assert [c.finish_reason for c in mine.completions] == [c.finish_reason for c in theirs.choices]
    for completion, choice in zip(mine.completions, theirs.choices, strict=True):
        assert completion.tokens is not None
        assert [(t.text, t.logprob, t.top_logprobs) for t in completion.tokens] == [
            (t.token, t.logprob, {a.token: a.logprob for a in t.top_logprobs})
            for t in choice.logprobs.content
        ]
    assert mine.usage.prompt_tokens == theirs.usage.prompt_tokens
    assert mine.usage.completion_tokens == theirs.usage.completion_tokens
    assert mine.served_model == theirs.model


def test_openai_completions() -> None:
    import openai

    async def main() -> tuple[Response, Any, list[dict[str, Any]]]:
        async with serve(CONFIG) as url:
            own = OpenAIClient(
                model="m", base_url=f"{url}/v1", api_key_env="OPENAI_API_KEY", mode="completions"
            )
            mine = await ours(own, TEXT)
            async with openai.AsyncOpenAI(base_url=f"{url}/v1") as sdk:
                theirs = await sdk.completions.create(
                    model="m", prompt="u", temperature=0, n=2, logprobs=3, max_tokens=3, echo=True
                )
            return mine, theirs, await bodies(url)

    mine, theirs, sent = asyncio.run(main())
    assert sent[0] == sent[1]
    assert [c.text for c in theirs.choices] == ["uone two three"] * 2
    assert [c.text for c in mine.completions] == ["u"] * 2
    tokens = mine.completions[0].tokens
    logprobs = theirs.choices[0].logprobs
    assert tokens is not None
    # What it generated behind the prompt is not scored.
    assert [t.text for t in tokens] == logprobs.tokens[:1] == ["u"]
    assert [t.logprob for t in tokens] == logprobs.token_logprobs[:1] == [None]
    assert [t.top_logprobs for t in tokens] == logprobs.top_logprobs[:1]


def test_anthropic() -> None:
    import anthropic

    request = Request(
        "u",
        messages=(Message("system", "s"), Message("user", "u")),
        temperature=0.5,
        max_tokens=3,
        stop_sequences=("###",),
    )

    async def main() -> tuple[Response, Any, list[dict[str, Any]]]:
        async with serve(CONFIG) as url:
            mine = await ours(AnthropicClient(model="m", base_url=url), request)
            async with anthropic.AsyncAnthropic(base_url=url) as sdk:
                theirs = await sdk.messages.create(
                    model="m",
                    system="s",
                    messages=[{"role": "user", "content": "u"}],
                    max_tokens=3,
                    stop_sequences=["###"],
                    extra_body={"temperature": 0.5},  # newer SDKs have no argument for it
                )
            return mine, theirs, await bodies(url)

    mine, theirs, sent = asyncio.run(main())
    assert sent[0] == sent[1]
    assert mine.completions[0].text == theirs.content[0].text == "one two three"
    assert mine.completions[0].finish_reason == "length"
    assert theirs.stop_reason == "max_tokens"
    assert mine.usage.prompt_tokens == theirs.usage.input_tokens
    assert mine.usage.completion_tokens == theirs.usage.output_tokens


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        (Faults(rate_limited=1), "RateLimitError"),
        (Faults(server_error=1), "InternalServerError"),
        (Faults(dropped=1), "APIConnectionError"),
    ],
)
def test_the_sdks_know_the_doubles_faults(faults: Faults, kind: str) -> None:
    import anthropic
    import openai

    async def main() -> None:
        async with serve(ServerConfig(faults=faults)) as url:
            async with openai.AsyncOpenAI(base_url=f"{url}/v1", max_retries=0) as sdk:
                with pytest.raises(getattr(openai, kind)):
                    await sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "u"}])
            async with anthropic.AsyncAnthropic(base_url=url, max_retries=0) as other:
                with pytest.raises(getattr(anthropic, kind)):
                    await other.messages.create(
                        model="m", max_tokens=1, messages=[{"role": "user", "content": "u"}]
                    )

    asyncio.run(main())
