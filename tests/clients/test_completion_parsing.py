from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.clients.completion_parsing import cut_at_stop, finish_reason, merged, seed_of, send_all
from evalkit.errors import TransientError
from evalkit.response import Completion, Efficiency, Response, Token, Usage


def test_the_first_stop_sequence_in_the_text_cuts() -> None:
    cut = cut_at_stop(Completion("one two\nthree", "length"), ("\n", " "))
    assert (cut.text, cut.finish_reason) == ("one", "stop")


def test_tokens_behind_the_cut_go_and_the_sum_follows() -> None:
    tokens = (Token("a", -1.0), Token("b\n", -2.0), Token("c", -4.0))
    cut = cut_at_stop(Completion("ab\nc", "length", -7.0, tokens), ("\n",))
    assert cut.tokens == tokens[:2]
    assert cut.logprob == -3.0


def test_without_a_stop_sequence_nothing_changes() -> None:
    completion = Completion("ab", "length", -1.0)
    assert cut_at_stop(completion, ("\n", "")) is completion
    assert cut_at_stop(completion, ()) is completion


@given(st.text(alphabet="ab\n", max_size=12), st.lists(st.text(alphabet="ab\n", min_size=1, max_size=3)))
def test_what_is_left_is_a_prefix_without_stop_sequences(text: str, stops: list[str]) -> None:
    left = cut_at_stop(Completion(text), stops).text
    assert text.startswith(left)
    assert not any(stop in left for stop in stops)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"),
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("refusal", "content_filter"),
        ("function_call", "tool_calls"),
        ("pause_turn", "unknown"),
        ({"type": "stop"}, "stop"),
        ({"type": 1}, "unknown"),
        (None, "unknown"),
        ([], "unknown"),
    ],
)
def test_finish_reasons(word: object, reason: str) -> None:
    assert finish_reason(word) == reason


def test_seeds() -> None:
    assert seed_of(None) is None
    assert seed_of("17") == 17
    assert seed_of("abc") == 0xBA7816BF >> 1
    assert seed_of("abc") != seed_of("abd")


@given(st.text(alphabet=st.characters()))
def test_any_text_makes_a_seed_servers_take(text: str) -> None:
    seed = seed_of(text)
    assert seed is not None
    assert 0 <= seed < 2**31


def test_the_first_failure_ends_all_sends() -> None:
    ended: list[str] = []

    async def hang() -> Response:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("hang")
        raise AssertionError

    async def fail() -> Response:
        raise TransientError("no")

    async def main() -> None:
        with pytest.raises(TransientError):
            await send_all([hang(), fail()])
        await asyncio.sleep(0)

    asyncio.run(main())
    assert ended == ["hang"]


def test_merged() -> None:
    told = Efficiency(started_at=7.0)
    one = Response((Completion("a"),), Usage(1, 2), 0.5, "m", efficiency=told)
    two = Response((Completion("b"),), Usage(10, 20), 0.25, "m")
    both = merged([one, two])
    assert [c.text for c in both.completions] == ["a", "b"]
    assert (both.usage, both.latency_s, both.served_model) == (Usage(11, 22), 0.5, "m")
    assert both.efficiency == told
