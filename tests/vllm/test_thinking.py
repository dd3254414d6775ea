"""Special tokens, stop sequences and thinking in vLLM, with a model of which every token is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from evalkit.clients.vllm.client import VllmClient
from evalkit.request import Request
from evalkit.response import Completion
from tests.clients.local.chain import make_chain
from tests.vllm.conftest import ARGS, OpenEngine

ANSWERS = {
    ":": " 7<|im_end|> and the of",
    "?": "<think>One two</think>The answer is",
    "=": "<|channel|>think<|message|>It<|end|><|start|>say D<|return|>",
}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenEngine]:
    folder = make_chain(tmp_path_factory.mktemp("chain"), ANSWERS)
    opened = OpenEngine(VllmClient(**{**ARGS, "model": str(folder), "max_length": 128, "logprobs": True}))
    try:
        opened.do(opened.client.open())
        yield opened
    finally:
        opened.end()


def said(chain: OpenEngine, prompt: str, *stops: str, **fields: Any) -> Completion:
    request = Request(prompt, **{"temperature": 0.0, "max_tokens": 20, "stop_sequences": stops, **fields})
    return chain.ask([request])[0].completions[0]


def test_a_stop_that_is_a_special_token(chain: OpenEngine) -> None:
    stopped = said(chain, "Answer:", "<|im_end|>")
    assert (stopped.text, stopped.finish_reason) == (" 7", "stop")
    assert [token.text for token in stopped.tokens or ()] == [" 7"]
    whole = said(chain, "Answer:")
    assert (whole.text, whole.raw) == (" 7 and the of", ANSWERS[":"])


def test_channels_are_told_apart(chain: OpenEngine) -> None:
    completion = said(chain, "Answer =")
    assert (completion.text, completion.thinking, completion.raw) == ("say D", "It", ANSWERS["="])


@pytest.mark.parametrize("fields", [{"expects_thinking": True}, {}])
@pytest.mark.parametrize("prompt", ["Why?", "Answer: <think>"])
def test_stops_end_the_answer_and_not_the_thinking(
    chain: OpenEngine, prompt: str, fields: dict[str, Any]
) -> None:
    completion = said(chain, prompt, "w", **fields)
    assert (completion.text, completion.finish_reason) == ("The ans", "stop")
    assert completion.thinking == "One two"
    assert completion.raw is not None
    assert completion.raw.endswith("One two</think>The answer is")
    assert [token.text for token in completion.tokens or ()] == ["The", " ans"]


def test_a_completion_that_ends_inside_its_thinking(chain: OpenEngine) -> None:
    assert said(chain, "Why?", max_tokens=2).lacks_answer
