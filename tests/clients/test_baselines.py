from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.clients.baselines import EchoClient, MajorityClient, RandomChoiceClient, SimpleClient
from evalkit.clients.client import Client
from evalkit.request import Hints, Message, Request
from evalkit.response import Response, Usage


def answer(client: Client, request: Request) -> Response:
    return asyncio.run(client.send(request))


def texts(client: Client, request: Request) -> list[str]:
    return [c.text for c in answer(client, request).completions]


@pytest.mark.parametrize(
    ("prompt", "n", "expected"),
    [
        ("7 2 4 6", 3, {"6": 0, "4": -1, "2": -2}),
        ("7 2 4 6", 1, {"6": 0}),
        ("a b a", 3, {"a": -2, "b": -1}),
        ("one", 3, {"one": 0}),
        ("Answer:\nx  ", 2, {"": -1}),
        ("line\nlast word", 1, {"word": 0}),
    ],
)
def test_simple_gives_the_last_words_last_first(prompt: str, n: int, expected: Mapping[str, float]) -> None:
    completions = answer(SimpleClient(), Request(prompt, num_completions=n)).completions
    assert {c.text: c.logprob for c in completions} == expected
    assert [c.text for c in completions] == list(expected)
    assert all(c.tokens and c.tokens[0].logprob == c.logprob for c in completions)


def test_random_choice_draws_from_the_accepted_outputs() -> None:
    hints = Hints(choices=("A", "B", "C"), train_outputs=("X",))
    client = RandomChoiceClient()
    counts = Counter(texts(client, Request(f"question {i}", hints=hints))[0] for i in range(600))
    assert set(counts) == {"A", "B", "C"}
    assert all(150 < count < 250 for count in counts.values())
    assert answer(client, Request("q", hints=hints)).completions[0].logprob == pytest.approx(-math.log(3))


def test_random_choice_falls_back_to_train_outputs_then_words() -> None:
    client = RandomChoiceClient()
    train = Hints(train_outputs=("X", "Y", "X"))
    assert {texts(client, Request(f"q {i}", hints=train))[0] for i in range(50)} == {"X", "Y"}
    assert {texts(client, Request("red green", random=str(i)))[0] for i in range(50)} == {"red", "green"}
    assert texts(client, Request("")) == [""]


def test_random_choice_is_the_same_everywhere_and_leaves_global_state_alone() -> None:
    hints = Hints(choices=tuple("ABCDEFGH"))
    before = random.getstate()
    request = Request("question", num_completions=5, hints=hints)
    assert texts(RandomChoiceClient(), request) == texts(RandomChoiceClient(), request)
    assert random.getstate() == before
    other = Request("question", num_completions=5, random="1", hints=hints)
    assert texts(RandomChoiceClient(), other) != texts(RandomChoiceClient(), request)


@given(st.text(max_size=40))
def test_a_scored_prompt_comes_back_whole(prompt: str) -> None:
    request = Request(prompt, echo_prompt=True, max_tokens=0)
    completion = answer(RandomChoiceClient(), request).completions[0]
    assert completion.tokens is not None
    assert "".join(token.text for token in completion.tokens) == prompt == completion.text
    logprobs = [token.logprob for token in completion.tokens if token.logprob is not None]
    assert len(logprobs) == len(completion.tokens)
    assert completion.logprob == pytest.approx(sum(logprobs))
    assert all(logprob <= 0 for logprob in logprobs)


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        (Hints(train_outputs=("b", "a", "b")), "b"),
        (Hints(train_outputs=("b", "a")), "a"),
        (Hints(choices=("A", "B"), train_outputs=("C", "C", "B")), "B"),
        (Hints(choices=("B", "A")), "A"),
        (Hints(), ""),
        (None, ""),
    ],
)
def test_majority(hints: Hints | None, expected: str) -> None:
    assert texts(MajorityClient(), Request("q", num_completions=2, hints=hints)) == [expected] * 2


def test_majority_counts_each_run_anew() -> None:
    client = MajorityClient()
    assert texts(client, Request("q", hints=Hints(train_outputs=("a",)))) == ["a"]
    assert texts(client, Request("q", hints=Hints(train_outputs=("b",)))) == ["b"]
    assert texts(client, Request("q")) == [""]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Request("one\ntwo"), "two"),
        (Request("one\ntwo\n \n"), "two"),
        (Request(""), ""),
        (Request("x", messages=(Message("system", "s"), Message("user", "a\nb"))), "b"),
    ],
)
def test_echo(request_: Request, expected: str) -> None:
    assert texts(EchoClient(), request_) == [expected]


def test_usage_is_estimated() -> None:
    assert answer(EchoClient(), Request("abcdefgh\nabcd", num_completions=2)).usage == Usage(4, 2)
