"""Special tokens, stop sequences and thinking, with models of which every token is known."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pytest

import evalkit
from evalkit.request import Message, Request
from evalkit.response import Completion
from tests.clients.local.chain import make_chain

pytest.importorskip("torch")
pytest.importorskip("transformers")

PROMPT = "Question: 3 + 4\nAnswer:"
OPENED = (
    "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}<|im_start|>{{ '<think>\\n' }}"
)


def said(folder: Path, request: Request, **args: Any) -> Completion:
    """What the model in a folder says to a request."""
    from evalkit.clients.transformers.client import TransformersClient

    async def main() -> Completion:
        client = TransformersClient(model=str(folder), device_map="cpu", **args)
        try:
            await client.open()
            return (await client.send(request)).completions[0]
        finally:
            await client.close()

    return asyncio.run(main())


def greedy(*stops: str, **fields: Any) -> Request:
    return Request(PROMPT, **{"temperature": 0.0, "max_tokens": 40, "stop_sequences": stops, **fields})


def test_a_stop_that_is_a_special_token(tmp_path: Path) -> None:
    folder = make_chain(tmp_path, {":": " 7<|im_end|> and the of"})
    stopped = said(folder, greedy("<|im_end|>"), logprobs=True)
    assert (stopped.text, stopped.finish_reason) == (" 7", "stop")
    assert stopped.tokens is not None
    assert "".join(token.text for token in stopped.tokens) == " 7"
    assert stopped.logprob == pytest.approx(math.fsum(t.logprob or 0 for t in stopped.tokens))
    whole = said(folder, greedy())
    assert (whole.text, whole.finish_reason, whole.thinking) == (" 7 and the of", "stop", None)
    assert whole.raw == " 7<|im_end|> and the of"


def test_a_run_with_a_stop_that_is_a_special_token(tmp_path: Path) -> None:
    folder = make_chain(tmp_path / "model", {":": " 7<|im_end|> and the of"})
    path = tmp_path / "deployments.yaml"
    spec = {"class_name": "transformers", "args": {"model": str(folder), "device_map": "cpu"}}
    path.write_text(json.dumps({"model_deployments": [{"name": "test/chain", "client_spec": spec}]}))
    (result,) = evalkit.run(
        "arithmetic:digits=1,add_to_stop=<|im_end|>,model=test/chain",
        model_deployments=path,
        output_path=tmp_path / "out",
    )
    assert result.path is not None
    lines = (Path(result.path) / "instances.jsonl").read_text(encoding="utf-8").splitlines()
    golds = [json.loads(line)["references"][0]["text"] for line in lines]
    means = {stat.name: stat.mean for stat in result.stats if stat.split == "all"}
    assert means["exact_match"] == pytest.approx(golds.count("7") / len(golds))
    assert means["exact_match"] == pytest.approx(0.08)


def test_channels_are_told_apart(tmp_path: Path) -> None:
    answer = "<|channel|>think<|message|>It is B or C?<|end|><|start|>say D<|return|>"
    completion = said(make_chain(tmp_path, {":": answer}), greedy())
    assert (completion.text, completion.thinking) == ("say D", "It is B or C?")
    assert completion.raw == answer


@pytest.mark.parametrize("expects", [False, True])
def test_stops_end_the_answer_and_not_the_thinking(tmp_path: Path, expects: bool) -> None:
    folder = make_chain(tmp_path, {":": "<think>One two</think>The answer is 5"})
    completion = said(folder, greedy("w", expects_thinking=expects), logprobs=True)
    assert (completion.text, completion.finish_reason) == ("The ans", "stop")
    assert (completion.thinking, completion.raw) == ("One two", "<think>One two</think>The answer")
    assert [token.text for token in completion.tokens or ()] == ["The", " ans"]


@pytest.mark.parametrize("messages", [None, (Message("user", "3 + 4"),)])
def test_thinking_that_the_prompt_has_opened(tmp_path: Path, messages: Any) -> None:
    folder = make_chain(tmp_path, {"\n": "One; two</think> Five. Q"}, chat_template=OPENED)
    prompt = f"{PROMPT}<think>\n"
    asked = Request(prompt, messages, temperature=0.0, max_tokens=40, stop_sequences=(";", "."))
    completion = said(folder, asked)
    assert (completion.text, completion.thinking) == (" Five", "One; two")
    cut = said(folder, Request(prompt, messages, temperature=0.0, max_tokens=2))
    assert (cut.text, cut.finish_reason, cut.lacks_answer) == ("", "length", True)


def test_only_a_closing_mark(tmp_path: Path) -> None:
    folder = make_chain(tmp_path, {":": "One; two</think> Five. Q"})
    assert said(folder, greedy()).text == " Five. Q"
    assert said(folder, greedy(";", ".", expects_thinking=True)).text == " Five"
    assert said(folder, greedy(";", "."), thinking=True).text == " Five"
    assert said(folder, greedy(), thinking=False).text == "One; two</think> Five. Q"
