"""A managed server, and an attached client."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.clients.openai import OpenAIClient
from evalkit.clients.vllm.server import VllmServerClient
from evalkit.errors import BadRequestError, SystemicError
from evalkit.models.provider import prefixed_deployment
from evalkit.request import Request
from tests.vllm.conftest import ARGS, OpenEngine

pytestmark = pytest.mark.slow
PROMPT = "the quick brown fox"


@pytest.fixture(scope="module")
def server(model_folder: Path) -> Iterator[OpenEngine]:
    patch = pytest.MonkeyPatch()
    # Without it, vLLM compiles for half a minute at the first log-probability.
    patch.setenv("TORCHDYNAMO_DISABLE", "1")
    opened = OpenEngine(VllmServerClient(model=str(model_folder), **ARGS))
    try:
        opened.do(opened.client.open())
        patch.undo()
        yield opened
    finally:
        opened.end()


def test_the_server_says_what_the_engine_says(engine: OpenEngine, server: OpenEngine) -> None:
    settings = {"max_tokens": 12}
    assert server.complete(PROMPT, **settings).text.rstrip("\ufffd") == engine.complete(
        PROMPT, **settings
    ).text.rstrip("\ufffd")
    scored = {"echo_prompt": True, "max_tokens": 0}
    ours, theirs = engine.complete(PROMPT, **scored), server.complete(PROMPT, **scored)
    assert ours.tokens is not None
    assert theirs.tokens is not None
    found = [token.logprob for token in theirs.tokens][-len(ours.tokens) :]
    assert found == pytest.approx([token.logprob for token in ours.tokens], abs=1e-3)
    with pytest.raises(BadRequestError, match="embeddings"):
        server.ask([Request("a", embedding=True)])


def test_a_running_server_is_attached_to(
    engine: OpenEngine, server: OpenEngine, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(server.client, VllmServerClient)
    monkeypatch.setenv("VLLM_BASE_URL", server.client.base_url)
    deployment = prefixed_deployment("vllm/some/model")
    assert deployment is not None
    assert deployment.client_spec.class_name == "openai"
    args = {**deployment.client_spec.args, "model": str(model_folder), "mode": "completions"}

    async def ask() -> str:
        client = OpenAIClient(**args)
        try:
            answer = await client.send(Request(PROMPT, temperature=0.0, max_tokens=8))
        finally:
            await client.close()
        return answer.completions[0].text

    assert asyncio.run(ask()) == server.complete(PROMPT, max_tokens=8).text


def test_a_server_that_died_is_told_and_leaves_nothing(server: OpenEngine) -> None:
    assert isinstance(server.client, VllmServerClient)
    process = server.client._process
    assert process is not None
    os.killpg(process.pid, signal.SIGKILL)
    with pytest.raises(BadRequestError, match="server died") as caught:
        server.complete(PROMPT)
    assert caught.value.reason == "engine_died"


def test_a_server_that_can_not_start_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no_such_type"}')
    opened = OpenEngine(VllmServerClient(model=str(tmp_path), **ARGS))
    try:
        with pytest.raises(SystemicError, match="server can't start"):
            opened.do(opened.client.open())
    finally:
        opened.end()
