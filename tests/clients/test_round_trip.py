"""What any client makes of any answer, a journal keeps and gives back as it was."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit.clients.anthropic import AnthropicClient
from evalkit.clients.baselines import EchoClient, MajorityClient, RandomChoiceClient, SimpleClient
from evalkit.clients.client import Client
from evalkit.clients.openai import OpenAIClient
from evalkit.execution.executor import Executor
from evalkit.execution.journal import Journal
from evalkit.execution.journal_index import read_journal, scan_journal
from evalkit.execution.journal_line import Record
from evalkit.execution.sender import Sender
from evalkit.models.deployment import Limits
from evalkit.request import Hints, Request, RequestState
from evalkit.response import Outcome, Response
from tests.planted import Planted

REQUESTS = (
    Request("2 + 2 =", temperature=0, max_tokens=5),
    Request("2 + 2 =", num_completions=2, top_k_per_token=2, stop_sequences=("\n",)),
    Request("2 + 2 = 4", max_tokens=0, echo_prompt=True, top_k_per_token=1),
)
_ODD = st.sampled_from(
    [
        None,
        True,
        False,
        -1,
        0,
        1,
        1.0,
        10.5,
        1e30,
        2**70,
        "",
        "12",
        "NaN",
        "\ud800",
        "null",
        [],
        {},
        [1],
        {"a": None},
    ]
) | st.floats(allow_nan=True, allow_infinity=True)
_TEXT = st.text(st.characters(exclude_categories=()), max_size=8) | st.just("4")
_WORD = st.sampled_from(["stop", "length", "end_turn", "max_tokens", "content_filter", "tool_calls"])
_TOPS = st.dictionaries(_TEXT, st.floats(-9, 0) | _ODD, max_size=2)
_PART = st.fixed_dictionaries({"type": st.sampled_from(["text", "thinking"]) | _ODD, "text": _TEXT | _ODD})
_LOGPROBS = st.fixed_dictionaries(
    {
        "tokens": st.lists(_TEXT | _ODD, max_size=3) | _ODD,
        "token_logprobs": st.lists(st.floats(-9, 0) | _ODD, max_size=3) | _ODD,
        "top_logprobs": st.lists(st.dictionaries(_TEXT, st.floats(-9, 0) | _ODD, max_size=2), max_size=3)
        | _ODD,
        "content": st.lists(
            st.fixed_dictionaries({"token": _TEXT | _ODD, "logprob": st.floats(-9, 0) | _ODD}), max_size=3
        ),
    }
)
_CHOICE = st.fixed_dictionaries(
    {
        "message": st.fixed_dictionaries(
            {"content": _TEXT | _ODD}, optional={"reasoning_content": _TEXT | _ODD, "refusal": _TEXT | _ODD}
        ),
        "text": _TEXT | _ODD,
        "finish_reason": _WORD | _ODD,
    },
    optional={"logprobs": _LOGPROBS | _ODD, "index": _ODD},
)
_USAGE = st.fixed_dictionaries(
    {},
    optional={
        name: st.integers(0, 99) | _ODD
        for name in ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens")
    },
)
_BODIES = st.fixed_dictionaries(
    {
        "choices": st.lists(_CHOICE, max_size=3) | _ODD,
        "content": st.lists(
            st.fixed_dictionaries(
                {"type": st.sampled_from(["text", "thinking"]) | _ODD, "text": _TEXT | _ODD}
            ),
            max_size=2,
        )
        | _ODD,
        "stop_reason": _WORD | _ODD,
    },
    optional={"usage": _USAGE | _ODD, "model": _TEXT | _ODD, "error": _ODD, "id": _ODD},
)


def state_of(request: Request) -> RequestState:
    return RequestState("t0/id1", "id1", 0, request)


async def outcome_of(client: Client, request: Request) -> Outcome:
    """What the executor gets of a client in one attempt; nothing but an outcome comes out of it."""
    executor = Executor(Sender(client, name="acme/text", limits=Limits(max_attempts=1, timeout_s=60)))
    try:
        (outcome,) = [outcome async for _, outcome in executor.stream([state_of(request)])]
    finally:
        await executor.sender.close()
    return outcome


def comes_back(outcome: Outcome, request: Request, path: Path) -> bool:
    """Whether a journal gives an outcome back as it was: whole, and with the same standing."""
    path.unlink(missing_ok=True)
    with Journal.open(path) as journal:
        journal.append(state_of(request), outcome)
    (record,) = read_journal(path)
    assert isinstance(record, Record), (record, outcome)
    index = scan_journal(path)
    assert not index.damage
    assert bool(index.answered) == isinstance(outcome, Response)
    # NaN is unequal to itself, so the texts are compared; times are kept to the microsecond.
    return text_of(record.outcome) == text_of(outcome)


def text_of(outcome: Outcome) -> str:
    if not isinstance(outcome, Response):
        return repr(outcome)
    whole = (outcome.completions, outcome.usage, outcome.served_model, outcome.attempts, outcome.embedding)
    # Two surrogates that spell one character come back as that character.
    return repr(whole).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def openai_chat(url: str) -> Client:
    return OpenAIClient(model="m", base_url=url)


def openai_completions(url: str) -> Client:
    return OpenAIClient(model="m", base_url=url, mode="completions")


def anthropic(url: str) -> Client:
    return AnthropicClient(model="claude", base_url=url)


@pytest.fixture(scope="module")
def served() -> Iterator[Callable[[Callable[[str], Client], Request, bytes], Outcome]]:
    """`served(make, request, body)`: what a client makes of a body, which a server on loopback sends."""
    from aiohttp import web
    from aiohttp.web_runner import ServerRunner

    body = b""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        return web.Response(body=body, content_type="application/json")

    @contextlib.asynccontextmanager
    async def serving() -> AsyncIterator[str]:
        server = ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.1)
        await server.setup()
        await web.TCPSite(server, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{server.addresses[0][1]}"
        finally:
            await server.cleanup()

    with asyncio.Runner() as runner:
        context = serving()
        url = runner.run(context.__aenter__())

        def ask(make: Callable[[str], Client], request: Request, content: bytes) -> Outcome:
            nonlocal body
            body = content

            async def main() -> Outcome:
                client = make(url)
                try:
                    return await outcome_of(client, request)
                finally:
                    await client.close()

            return runner.run(main())

        yield ask
        runner.run(context.__aexit__(None, None, None))


@pytest.mark.parametrize("make", [openai_chat, openai_completions, anthropic], ids=lambda make: make.__name__)
@given(plain=_BODIES, number=st.integers(0, len(REQUESTS) - 1))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_any_body_that_a_server_sends(
    served: Callable[[Callable[[str], Client], Request, bytes], Outcome],
    tmp_path: Path,
    planted: Planted,
    make: Callable[[str], Client],
    plain: dict[str, Any],
    number: int,
) -> None:
    planted.set("ANTHROPIC_API_KEY")
    request = REQUESTS[number]
    outcome = served(make, request, json.dumps(plain).encode())
    assert comes_back(outcome, request, tmp_path / "journal.jsonl"), outcome


@pytest.mark.parametrize("make", [EchoClient, MajorityClient, RandomChoiceClient, SimpleClient])
@given(
    prompt=st.text(st.characters(exclude_categories=()), max_size=20),
    choices=st.lists(_TEXT, min_size=1, max_size=3).map(tuple),
    number=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_the_baselines(
    tmp_path: Path, make: Callable[[], Client], prompt: str, choices: tuple[str, ...], number: int
) -> None:
    request = Request(prompt, num_completions=number, hints=Hints(choices=choices, train_outputs=choices))
    outcome = asyncio.run(outcome_of(make(), request))
    assert comes_back(outcome, request, tmp_path / "journal.jsonl"), outcome


@pytest.mark.parametrize("request_", REQUESTS, ids=["one", "several", "scored"])
def test_of_a_model_in_this_process(tmp_path: Path, request_: Request) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from evalkit.clients.transformers.client import TransformersClient

    client = TransformersClient(model="evalkit/tiny")
    outcome = asyncio.run(outcome_of(client, request_))
    assert isinstance(outcome, Response), outcome
    assert comes_back(outcome, request_, tmp_path / "journal.jsonl"), outcome
