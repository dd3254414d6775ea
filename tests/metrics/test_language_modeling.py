from __future__ import annotations

import math
from dataclasses import replace

import pytest

from evalkit.metrics.language_modeling import count_bytes
from evalkit.metrics.metric import Answer, Unit
from evalkit.response import Completion, Response, Token
from tests.metrics.units import built, instance, over_corpus, state, unit


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
    found = over_corpus(metric, [short, long])
    assert found["perplexity"] == pytest.approx(math.exp(2))
    assert found["bits_per_byte"] == pytest.approx(6 / 5 / math.log(2))
    assert found["logprob_per_byte"] == pytest.approx(-6 / 5)


def test_conditioning_tokens_do_not_count() -> None:
    asked = instance()
    tokens = (Token("a", -5.0), Token("b", -1.0))
    answer = Answer(
        replace(state(asked), num_conditioning_tokens=1), Response((Completion("", tokens=tokens),))
    )
    assert built("basic_generation").evidence(Unit(asked, 0, 0, (answer,))) == (-1.0, 1, 1)


def test_what_the_server_does_not_report_is_left_out() -> None:
    metric = built("basic_generation")
    assert metric.score(unit(instance(), "text")) == {}
    assert metric.evidence(unit(instance(), "text")) is None
    empty = unit(instance(), Completion("", tokens=()))
    assert over_corpus(metric, [empty]) == {}


def test_bytes_written_as_escapes() -> None:
    assert count_bytes([Token("bytes:\\xe2\\x80", 0.0), Token("aé", 0.0)]) == 5
