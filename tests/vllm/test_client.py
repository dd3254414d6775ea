"""Generation, scoring and limits of one engine, held against transformers."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from random import Random

import pytest

from evalkit.clients.vllm.client import VllmClient
from evalkit.errors import BadRequestError
from evalkit.request import Message, Request
from tests.vllm.conftest import MAX_LENGTH_TOKENS, OpenEngine
from tests.vllm.reference import Reference

TEXT = "the quick brown fox jumps over a lazy dog and what is two plus four question answer naïve 日本"
WORDS = TEXT.split()


@pytest.fixture(scope="module")
def reference(model_folder: Path) -> Reference:
    return Reference(model_folder)


def prompt_of(num_words: int, seed: int) -> str:
    return " ".join(Random(seed).choices(WORDS, k=num_words))


def test_greedy_texts_are_those_of_transformers(engine: OpenEngine, reference: Reference) -> None:
    prompts = [prompt_of(5 + 4 * index, index) for index in range(20)]
    answers = engine.ask([Request(prompt, temperature=0.0, max_tokens=24) for prompt in prompts])
    for prompt, answer in zip(prompts, answers, strict=True):
        assert answer.completions[0].text == reference.generated(prompt, 24)
        assert answer.usage.prompt_tokens == len(reference.tokenizer(prompt)["input_ids"])


def test_prompt_logprobs_are_those_of_transformers(engine: OpenEngine, reference: Reference) -> None:
    texts = [prompt_of(4 + 9 * index, 100 + index) for index in range(8)]
    answers = engine.ask([Request(text, echo_prompt=True, max_tokens=0) for text in texts])
    for text, answer in zip(texts, answers, strict=True):
        scored = answer.completions[0]
        assert scored.tokens is not None
        assert scored.text == text
        found = [token.logprob for token in scored.tokens]
        assert found == pytest.approx(reference.logprobs(text), abs=1e-3)
        assert scored.logprob == pytest.approx(sum(reference.logprobs(text)), abs=1e-2)


def test_choices_share_their_context_and_score_the_same(engine: OpenEngine, reference: Reference) -> None:
    context = prompt_of(120, 7)
    choices = [" fox", " lazy dog", " fox", " four plus two is what"]
    requests = [
        Request(context + choice, echo_prompt=True, max_tokens=0, scored_from=len(context))
        for choice in choices
    ]
    for _ in range(2):
        answers = [engine.ask([request])[0] for request in requests]
        for choice, answer in zip(choices, answers, strict=True):
            scored = answer.completions[0]
            assert scored.text == choice
            assert scored.tokens is not None
            expected = reference.logprobs(context + choice)[-len(scored.tokens) :]
            assert [token.logprob for token in scored.tokens] == pytest.approx(expected, abs=1e-3)
    efficiency = answers[-1].efficiency
    assert efficiency is not None
    assert efficiency.reused_tokens
    # All of it is in the cache by now, and none of it may come from there.
    whole = engine.complete(context, echo_prompt=True, max_tokens=0, scored_from=len(context) // 4)
    assert whole.tokens is not None
    expected = reference.logprobs(context)[-len(whole.tokens) :]
    assert [token.logprob for token in whole.tokens] == pytest.approx(expected, abs=1e-3)


def test_whether_a_continuation_is_greedy(engine: OpenEngine, reference: Reference) -> None:
    prompt = prompt_of(20, 3)
    ids, after = reference.distributions(prompt)
    likeliest = engine.complete(prompt, max_tokens=1, top_k_per_token=5)
    assert likeliest.tokens is not None
    [token] = likeliest.tokens
    assert token.logprob == pytest.approx(float(after[-1].max()), abs=1e-3)
    assert token.top_logprobs is not None
    assert list(token.top_logprobs.values()) == sorted(token.top_logprobs.values(), reverse=True)
    assert next(iter(token.top_logprobs)) == token.text
    scored = engine.complete(
        prompt + token.text, echo_prompt=True, max_tokens=0, scored_from=len(prompt), top_k_per_token=3
    )
    if len(reference.tokenizer(prompt + token.text)["input_ids"]) == len(ids) + 1:
        assert scored.is_greedy
    assert scored.tokens is not None
    for token in scored.tokens:
        assert token.top_logprobs
        assert token.logprob is not None
        assert max(token.top_logprobs.values()) >= token.logprob - 1e-6
    other = engine.complete(prompt + " fox", echo_prompt=True, max_tokens=0, scored_from=len(prompt))
    best = int(after[-1].argmax()) == reference.tokenizer(prompt + " fox")["input_ids"][len(ids)]
    assert other.is_greedy is best


def test_stop_sequences_end_a_text_exactly(engine: OpenEngine) -> None:
    prompt = prompt_of(12, 5)
    whole = engine.complete(prompt, max_tokens=40)
    assert len(whole.text) > 12
    for at in (3, 7, 11):
        stop = whole.text[at : at + 2]
        cut = engine.complete(prompt, max_tokens=40, stop_sequences=("\x00never", stop), top_k_per_token=2)
        assert cut.text == whole.text[: whole.text.find(stop)]
        assert cut.finish_reason == "stop"
        assert cut.tokens is not None
        assert "".join(token.text for token in cut.tokens).startswith(cut.text)
    assert engine.complete(prompt, max_tokens=40, stop_sequences=("",)).text == whole.text
    first = whole.text[0]
    nothing = engine.complete(prompt, max_tokens=40, stop_sequences=(whole.text[:9], first))
    assert nothing.text == ""


def test_a_text_that_is_as_long_as_allowed(engine: OpenEngine) -> None:
    answer = engine.ask([Request(prompt_of(6, 1), temperature=0.0, max_tokens=7)])[0]
    assert answer.completions[0].finish_reason in ("length", "stop")
    assert answer.usage.completion_tokens <= 7
    assert engine.complete("a", max_tokens=0).text == ""


def test_a_drawn_text_depends_on_nothing_but_its_request(engine: OpenEngine) -> None:
    request = Request(prompt_of(9, 2), max_tokens=12, num_completions=3, random="r1")
    alone = engine.ask([request])[0]
    others = [Request(prompt_of(9, 50 + i), max_tokens=12, random=str(i)) for i in range(30)]
    among = engine.ask([*others[:15], request, *others[15:]])[15]
    texts = [completion.text for completion in alone.completions]
    assert [completion.text for completion in among.completions] == texts
    assert len(set(texts)) == 3
    other = engine.ask([Request(request.prompt, max_tokens=12, num_completions=3, random="r2")])[0]
    assert [completion.text for completion in other.completions] != texts
    assert alone.usage.completion_tokens > 0


def test_greedy_completions_are_computed_once(engine: OpenEngine) -> None:
    answer = engine.ask([Request(prompt_of(9, 2), temperature=0.0, max_tokens=5, num_completions=3)])[0]
    assert len(answer.completions) == 3
    assert len(set(answer.completions)) == 1


def test_top_p_and_penalties_are_applied(engine: OpenEngine) -> None:
    prompt = prompt_of(9, 8)
    narrow = engine.complete(prompt, temperature=1.0, top_p=1e-6, max_tokens=10, random="x")
    assert narrow.text == engine.complete(prompt, max_tokens=10).text
    plain = engine.complete(prompt, max_tokens=60, top_k_per_token=2)
    varied = engine.complete(
        prompt, max_tokens=60, frequency_penalty=2.0, presence_penalty=2.0, top_k_per_token=2
    )
    assert plain.tokens is not None
    assert varied.tokens is not None
    assert len({t.text for t in varied.tokens}) >= len({t.text for t in plain.tokens})
    assert varied.text != plain.text


def test_top_k_and_a_repetition_penalty_are_applied(engine: OpenEngine) -> None:
    prompt = prompt_of(9, 8)
    narrow = engine.complete(prompt, temperature=1.0, top_k=1, max_tokens=10, random="x")
    assert narrow.text == engine.complete(prompt, max_tokens=10).text
    plain = engine.complete(prompt, max_tokens=40)
    assert engine.complete(prompt, max_tokens=40, repetition_penalty=1.5).text != plain.text


def test_what_the_engine_refuses_is_told(engine: OpenEngine, reference: Reference) -> None:
    with pytest.raises(BadRequestError, match="temperature"):
        engine.complete("a", temperature=3.0)
    with pytest.raises(BadRequestError, match="runner: pooling"):
        engine.ask([Request("a", embedding=True)])
    with pytest.raises(BadRequestError, match="scored or continued"):
        engine.complete("a b", echo_prompt=True, max_tokens=3)
    long = prompt_of(2000, 1)
    number = len(reference.tokenizer(long)["input_ids"])
    with pytest.raises(BadRequestError, match=f"{number} tokens, the model takes {MAX_LENGTH_TOKENS}"):
        engine.complete(long)


def test_a_text_as_long_as_the_model_takes_is_scored(engine: OpenEngine, reference: Reference) -> None:
    text = prompt_of(1000, 4)
    ids = reference.tokenizer(text)["input_ids"][:MAX_LENGTH_TOKENS]
    text = reference.tokenizer.decode(ids[1:])
    while len(reference.tokenizer(text)["input_ids"]) < MAX_LENGTH_TOKENS:
        text += " fox"
    assert len(reference.tokenizer(text)["input_ids"]) == MAX_LENGTH_TOKENS
    scored = engine.complete(text, echo_prompt=True, max_tokens=0)
    assert scored.tokens is not None
    found = [token.logprob for token in scored.tokens]
    assert found == pytest.approx(reference.logprobs(text), abs=1e-3)
    near = reference.tokenizer.decode(ids[1:-3])
    answer = engine.complete(near, max_tokens=100)
    assert answer.finish_reason in ("length", "stop")


def test_a_chat_goes_through_the_template(engine: OpenEngine, reference: Reference) -> None:
    chat = [{"role": "user", "content": "two plus four?"}]
    rendered = reference.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    inputs = reference.tokenizer(rendered, add_special_tokens=False, return_tensors="pt")
    ids = reference.model.generate(**inputs, max_new_tokens=10, do_sample=False)[0]
    expected = reference.tokenizer.decode(ids[inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    request = Request("", messages=(Message("user", "two plus four?"),), temperature=0.0, max_tokens=10)
    answer = engine.ask([request])[0]
    assert answer.completions[0].text == expected
    assert answer.usage.prompt_tokens == inputs["input_ids"].shape[1]


def test_a_cancelled_request_leaves_the_engine(engine: OpenEngine) -> None:
    async def cancel() -> int:
        sends = [
            asyncio.ensure_future(engine.client.send(Request(f"{i}", temperature=0.0, max_tokens=500)))
            for i in range(20)
        ]
        await asyncio.sleep(0.2)
        for task in sends[1:]:
            task.cancel()
        await asyncio.wait(sends[1:])
        assert isinstance(engine.client, VllmClient)
        assert engine.client._engine is not None
        llm = await engine.client._engine.living()
        left: int = llm.get_num_unfinished_requests()
        await sends[0]
        return left

    assert engine.do(cancel()) <= 1


def test_how_an_answer_came_about(engine: OpenEngine) -> None:
    for answer in engine.ask([Request(prompt_of(9, i), temperature=0.0, max_tokens=8) for i in range(8)]):
        efficiency = answer.efficiency
        assert efficiency is not None
        assert efficiency.queue_s >= 0
        assert efficiency.first_token_s is not None
        assert 0 <= efficiency.first_token_s <= answer.latency_s
        assert efficiency.batch_size is not None
        assert efficiency.batch_size >= 1


def test_nothing_is_left_in_the_environment(engine: OpenEngine) -> None:
    assert engine.client.window == 256
    assert "VLLM_WORKER_MULTIPROC_METHOD" not in os.environ
    assert "VLLM_LOGGING_CONFIG_PATH" not in os.environ
