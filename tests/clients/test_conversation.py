from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evalkit.clients.conversation import Conversation
from evalkit.clients.openai import OpenAIClient
from evalkit.errors import UsageError
from evalkit.request import Message, Request
from evalkit.testing.server import ServerConfig, serve

# Neo's defaults for Japanese.
NEO = {
    "system": "以下は、指示です。",
    "roles": ["指示", "応答"],
    "separator": "\n\n### ",
    "role_message_separator": ": \n",
    "role_only_separator": ": \n",
    "stop": ["###"],
    "stop_token_ids": [2],
}
TWO_TURNS = (Message("user", "問1"), Message("assistant", "答1"), Message("user", "問2"))


def test_a_chat_is_written_as_fastchat_writes_it() -> None:
    conversation = Conversation.of(NEO)
    assert conversation is not None
    assert conversation.text(TWO_TURNS) == (
        "以下は、指示です。\n\n### 指示: \n問1\n\n### 応答: \n答1\n\n### 指示: \n問2\n\n### 応答: \n"
    )
    # A system message of the chat takes the place of the format's own.
    assert conversation.text((Message("system", "別"), Message("user", "問"))) == (
        "別\n\n### 指示: \n問\n\n### 応答: \n"
    )
    # What the model has begun is gone on with.
    begun = conversation.text((Message("user", "問"), Message("assistant", "答は")))
    assert begun.endswith("### 応答: \n答は")


def test_stops_are_added_and_texts_stay_as_they_are() -> None:
    conversation = Conversation.of(NEO)
    assert conversation is not None
    asked = conversation.applied(Request("", messages=TWO_TURNS, stop_sequences=("\n\n", "###")))
    assert asked.messages is None
    assert asked.stop_sequences == ("\n\n", "###")
    plain = Request("a text", stop_sequences=("x",))
    assert conversation.applied(plain) is plain

    class Tokenizer:
        def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
            assert not skip_special_tokens
            return {2: "</s>"}[ids[0]]

    assert conversation.with_tokens(Tokenizer()).stop == ("###", "</s>")


def test_a_completions_endpoint_is_asked_with_the_text() -> None:
    async def main() -> Any:
        async with serve(ServerConfig(record_bodies=True)) as url:
            client = OpenAIClient(model="m", base_url=f"{url}/v1", mode="completions", conversation=NEO)
            await client.send(Request("", messages=TWO_TURNS, temperature=0.0, max_tokens=9))
            await client.close()
            import aiohttp

            async with aiohttp.ClientSession() as session, session.get(f"{url}/_bodies") as answer:
                return await answer.json()

    (sent,) = asyncio.run(main())
    assert sent["path"] == "/v1/completions"
    assert sent["body"]["prompt"].endswith("### 指示: \n問2\n\n### 応答: \n")
    assert sent["body"]["stop"] == ["###"]
    assert sent["body"]["stop_token_ids"] == [2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sytem": "x"}, "no setting 'sytem'; did you mean 'system'"),
        ({"roles": ["one"]}, "roles must be two texts"),
        ({"roles": "('a', 'b')"}, "roles must be a list of texts"),
        ({"stop_token_ids": ["2"]}, "stop_token_ids must be a list of numbers"),
        ({"separator": 3}, "separator must be a text"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Conversation.of(settings)


def test_a_chat_endpoint_takes_no_format() -> None:
    with pytest.raises(UsageError, match="needs mode: completions"):
        OpenAIClient(model="m", base_url="http://localhost:1/v1", conversation=NEO)
