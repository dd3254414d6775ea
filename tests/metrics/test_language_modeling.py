from __future__ import annotations

import math
from dataclasses import replace

import pytest

from evalkit.errors import DataError
from evalkit.instance import Instance
from evalkit.metrics.language_modeling import count_bytes
from evalkit.request import Request, RequestState
from evalkit.response import Completion, Response, Token
from evalkit.scoring.unit import Answer, Unit
from tests.scoring.units import built, instance, over_run, state, unit


def test_sums_per_unit_and_ratios_over_the_corpus() -> None:
    metric = built("basic_generation")
    short = unit(instance(), Completion("é", logprob=-1.0, tokens=(Token("é", -1.0),)))
    long = unit(instance(), Completion("abc", tokens=(Token("ab", -2.0), Token("c", -3.0))))
    assert metric.score(short) == {
        "max_prob": pytest.approx(math.exp(-1)),
        "logprob": -1.0,
        "num_perplexity_tokens": 1,
        "num_bytes": 2,
    }
    assert "max_prob" not in metric.score(long)
    found = over_run(metric, [short, long])
    assert found["perplexity"] == pytest.approx(math.exp(2))
    assert found["bits_per_byte"] == pytest.approx(6 / 5 / math.log(2))
    assert found["logprob_per_byte"] == pytest.approx(-6 / 5)


def test_conditioning_tokens_do_not_count() -> None:
    asked = instance()
    tokens = (Token("a", -5.0), Token("b", -1.0))
    answer = Answer(
        replace(state(asked), num_conditioning_tokens=1), Response((Completion("", tokens=tokens),))
    )
    assert built("basic_generation").run_level_row(Unit(asked, 0, 0, (answer,))) == (-1.0, 1, 1)


def test_what_the_server_does_not_report_is_left_out() -> None:
    metric = built("basic_generation")
    assert metric.score(unit(instance(), "text")) == {}
    assert metric.run_level_row(unit(instance(), "text")) is None
    empty = unit(instance(), Completion("", tokens=()))
    assert over_run(metric, [empty]) == {}


def test_bytes_written_as_escapes() -> None:
    assert count_bytes([Token("bytes:\\xe2\\x80", 0.0), Token("aé", 0.0)]) == 5


def scored_prompt(asked: Instance, part: int, prompt: str, num_context: int, *tokens: Token) -> Answer:
    request = Request(prompt, echo_prompt=True, max_tokens=0)
    where = RequestState(
        f"t0/id0/w{part:05}", str(asked.id), 0, request, num_conditioning_tokens=num_context, unit_size=2
    )
    return Answer(where, Response((Completion(prompt, tokens=tokens),)))


def test_the_windows_of_a_text_are_one_unit() -> None:
    asked = instance()
    first = scored_prompt(asked, 0, "<s>ab", 1, Token("<s>", None), Token("a", -1.0), Token("b", -2.0))
    second = scored_prompt(asked, 1, "bcd", 1, Token("b", -9.0), Token("c", -3.0), Token("d", -4.0))
    whole = Unit(asked, 0, 0, (first, second))
    metric = built("basic_generation")
    assert metric.score(whole) == {
        "max_prob": pytest.approx(math.exp(-10)),
        "logprob": -10.0,
        "num_perplexity_tokens": 4,
        "num_bytes": 4,
    }
    assert over_run(metric, [whole])["perplexity"] == pytest.approx(math.exp(10 / 4))


@pytest.mark.parametrize(
    "tokens",
    [
        (),
        (Token("a", None), Token("b", None)),
        (Token("a", 0.0), Token("b", 0.0)),
        (Token("a", -1.0), Token("c", -1.0)),
        (Token("c", -1.0),),
        (Token("a", None), Token("b", None), Token(" c", -1.0)),
    ],
)
def test_what_was_not_scored_is_never_certain(tokens: tuple[Token, ...]) -> None:
    asked = instance()
    whole = Unit(asked, 0, 0, (scored_prompt(asked, 0, "ab", 0, *tokens),))
    with pytest.raises(DataError):
        built("basic_generation").score(whole)
    with pytest.raises(DataError):
        built("basic_generation").run_level_row(whole)


def test_a_single_token_that_follows_nothing_has_no_score() -> None:
    asked = instance()
    with pytest.raises(DataError, match="only its first token"):
        built("basic_generation").score(
            Unit(asked, 0, 0, (scored_prompt(asked, 0, "a", 0, Token("a", None)),))
        )
