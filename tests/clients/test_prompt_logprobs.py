"""Scored prompts as servers send them: what counts, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from evalkit.clients.openai import OpenAIClient
from evalkit.errors import BadRequestError
from evalkit.execution.journal import Journal
from evalkit.execution.journal_index import read_journal
from evalkit.execution.journal_line import Record
from evalkit.request import Request, RequestState
from evalkit.response import Completion, Response, Token

Canned = Callable[..., AbstractAsyncContextManager[str]]
Tokens = Sequence[tuple[str, float | None]]

TEXT = "The cat sat"
SCORED: Tokens = (("The", -4.0), (" cat", -2.0), (" sat", -3.0))
FIRST_UNKNOWN: Tokens = (("The", None), *SCORED[1:])


def answer_of(tokens: Tokens) -> dict[str, Any]:
    texts = [text for text, _ in tokens]
    listed = {"tokens": texts, "token_logprobs": [value for _, value in tokens]}
    text = "".join(texts)
    return {"choices": [{"text": text, "finish_reason": "length", "logprobs": listed}]}


def scored(canned: Canned, answer: dict[str, Any], prompt: str = TEXT) -> Completion:
    async def main() -> Response:
        async with canned(200, json.dumps(answer).encode()) as url:
            client = OpenAIClient(model="m", base_url=url, mode="completions")
            try:
                return await client.send(Request(prompt, echo_prompt=True, max_tokens=0))
            finally:
                await client.close()

    return asyncio.run(main()).completions[0]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(SCORED, SCORED, id="all scored"),
        pytest.param(FIRST_UNKNOWN, FIRST_UNKNOWN, id="the first follows nothing"),
        pytest.param((("The", 0), *SCORED[1:]), FIRST_UNKNOWN, id="0 for the first means the same"),
        pytest.param((("<s>", None), *SCORED), SCORED, id="start token"),
        pytest.param((("<s>", 0.0), *SCORED), SCORED, id="start token with 0"),
        pytest.param((("[gMASK]", None), ("<sop>", -0.1), *SCORED), SCORED, id="two start tokens"),
        pytest.param((("", None), *SCORED), SCORED, id="start token without text"),
        pytest.param((("", None), ("", -7.0), *SCORED), SCORED, id="two start tokens without text"),
        pytest.param((*FIRST_UNKNOWN, (" on", -0.5)), FIRST_UNKNOWN, id="generated token"),
        pytest.param((*SCORED, (" on", None)), SCORED, id="generated token without probability"),
        pytest.param((("<s>", None), *SCORED, ("<s>", -9), ("The", -4)), SCORED, id="both"),
        pytest.param((("▁The", -4.0), ("▁cat", -2.0), ("▁sat", -3.0)), SCORED, id="vocabulary entries"),
        pytest.param((("<s>", None), ("The", -4.0), ("cat", -2), ("sat", -3)), SCORED, id="blanks lost"),
    ],
)
def test_the_prompts_own_tokens_are_kept(canned: Canned, sent: Tokens, expected: Tokens) -> None:
    completion = scored(canned, answer_of(sent))
    assert completion.text == TEXT
    assert completion.tokens is not None
    assert [(t.text, t.logprob) for t in completion.tokens] == list(expected)
    assert completion.logprob == sum(value for _, value in expected if value is not None)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        pytest.param([(text, None) for text, _ in SCORED], "2 of the prompt's 3 tokens", id="nothing scored"),
        pytest.param([(text, 0) for text, _ in SCORED], "3 of the prompt's 3 tokens", id="nothing, as zeros"),
        pytest.param([("The", None), (" cat", -9999.0), (" sat", -9999.0)], "3 of the", id="placeholders"),
        pytest.param([("The", None), (" cat", -1e30), (" sat", -1e30)], "3 of the", id="lowest numbers"),
        pytest.param([SCORED[0], (" cat", None), SCORED[2]], "1 of the prompt's 3", id="one in the middle"),
        pytest.param([("<s>", None), ("The", None), *SCORED[1:]], "1 of the prompt's 3", id="behind <s>"),
        pytest.param([(" on", -0.001)], "do not spell the prompt", id="generated token only"),
        pytest.param(SCORED[:2], "do not spell the prompt", id="cut"),
        pytest.param([("The", -1), (" dog", -2), (" sat", -3)], "do not spell", id="another text"),
        pytest.param([(f"<{i}>", -1.0) for i in range(9)] + list(SCORED), "do not spell", id="wrapped"),
        pytest.param([], "no tokens", id="empty"),
    ],
)
def test_what_was_not_scored_is_refused(canned: Canned, sent: Tokens, said: str) -> None:
    with pytest.raises(BadRequestError, match=said) as caught:
        scored(canned, answer_of(sent))
    assert caught.value.reason == "malformed"


def words(number: int) -> list[str]:
    return [f" w{position}" for position in range(number)]


def with_zeros(texts: Sequence[str], zeros: range) -> Tokens:
    return [(text, 0.0 if position in zeros else -1.5) for position, text in enumerate(texts)]


@pytest.mark.parametrize("start", [(), (("<s>", None),), (("<s>", 0.0),)])
@pytest.mark.parametrize(
    ("number", "zeros"),
    [
        pytest.param(40, range(20), id="first half"),
        pytest.param(200, range(9), id="a beginning"),
        pytest.param(40, range(1, 20), id="first half, the first token scored"),
        pytest.param(40, range(20, 40), id="second half"),
        pytest.param(100, range(40, 60), id="a block in the middle"),
        pytest.param(40, range(1, 39), id="all but the last"),
    ],
)
def test_many_exact_zeros_in_a_row_were_not_computed(
    canned: Canned, number: int, zeros: range, start: Tokens
) -> None:
    sent = [*start, *with_zeros(words(number), zeros)]
    with pytest.raises(BadRequestError, match="in a row have a log-probability of exactly 0") as caught:
        scored(canned, answer_of(sent), "".join(words(number)))
    assert caught.value.reason == "malformed"


@pytest.mark.parametrize(
    ("texts", "zeros"),
    [
        pytest.param(words(40), range(1, 8), id="seven at the beginning"),
        pytest.param(words(40), range(10, 25), id="fifteen further on"),
        pytest.param([*words(30), *words(30)], range(31, 60), id="a text once more"),
        pytest.param([" x", *[" a"] * 60], range(12, 61), id="one word again and again"),
    ],
)
def test_what_a_model_can_be_certain_of_stays(canned: Canned, texts: list[str], zeros: range) -> None:
    completion = scored(canned, answer_of(with_zeros(texts, zeros)), "".join(texts))
    assert completion.logprob == -1.5 * (len(texts) - len(zeros))


def test_a_server_that_leaves_log_probabilities_out_is_refused(canned: Canned) -> None:
    for logprobs in ({}, {"logprobs": None}):
        with pytest.raises(BadRequestError, match="did not score the prompt") as caught:
            scored(canned, {"choices": [{"text": TEXT, "finish_reason": "stop", **logprobs}]})
        assert caught.value.reason == "malformed"


@pytest.mark.parametrize(
    ("prompt", "texts", "kept"),
    [
        ("a 東 b", ["a", " ", "\ufffd", "\ufffd", "\ufffd", " b"], 6),
        ("a 東 b", ["<s>", "a", "bytes: \\xe6\\x9d", "bytes:\\xb1", " b", " c"], 4),
        ("a 東", ["<s>", "▁a", "▁", "<0xE6>", "<0x9D>", "<0xB1>"], 5),
        ("東亮x", ["\ufffd", "\ufffd", "亮", "x"], 4),
        ("a\nb\n", ["▁a", "<0x0A>", "b", "<0x0A>", "c"], 4),
    ],
)
def test_parts_of_characters_are_the_prompts_too(
    canned: Canned, prompt: str, texts: list[str], kept: int
) -> None:
    completion = scored(canned, answer_of([(text, -1.0) for text in texts]), prompt)
    assert completion.tokens is not None
    assert (len(completion.tokens), completion.logprob) == (kept, -kept)


def test_a_prompt_of_one_token_has_no_probability(canned: Canned) -> None:
    completion = scored(canned, answer_of([("The", None)]), "The")
    assert (completion.tokens, completion.logprob) == ((Token("The", None),), None)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ((("The", 0.0), *SCORED[1:]), FIRST_UNKNOWN),
        ((("<s>", 0.0), *SCORED), SCORED),
        ((("The", 0.0), *SCORED[1:], (" on", -0.5)), FIRST_UNKNOWN),
        (SCORED, SCORED),
        (FIRST_UNKNOWN, FIRST_UNKNOWN),
        ([(text, 0.0) for text, _ in SCORED], None),  # nothing was scored
    ],
)
def test_journals_of_the_version_before(tmp_path: Path, stored: Tokens, read: Tokens | None) -> None:
    request = Request(TEXT, echo_prompt=True, max_tokens=0)
    tokens = tuple(Token(text, value) for text, value in stored)
    path = tmp_path / "journal.jsonl"
    with Journal.open(path) as journal:
        response = Response((Completion(TEXT, "length", sum(t.logprob or 0 for t in tokens), tokens),))
        journal.append(RequestState("t0/id1", "id1", 0, request), response)
    (record,) = read_journal(path)
    assert isinstance(record, Record)
    assert isinstance(record.outcome, Response)
    (completion,) = record.outcome.completions
    if read is None:
        assert (completion.tokens, completion.logprob) == (None, None)
    else:
        assert completion.tokens == tuple(Token(text, value) for text, value in read)
