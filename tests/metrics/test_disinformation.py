from __future__ import annotations

import pytest

import evalkit.metrics.disinformation  # noqa: F401 - registers the metrics
from evalkit.response import Completion
from tests.scoring.units import built, instance, unit


def test_self_bleu_is_high_where_a_model_repeats_itself() -> None:
    metric = built("self_bleu")
    same = "the cat sat on the mat"
    assert metric.score(unit(instance(), same, same, " ")) == {"self_bleu": pytest.approx(100)}
    varied = metric.score(unit(instance(), same, "dogs never sit on a mat"))["self_bleu"]
    assert 0 < varied < 30
    assert metric.score(unit(instance(), same, "")) == {"self_bleu": 0}


def test_entropy_is_minus_the_mean_log_probability() -> None:
    metric = built("monte_carlo_entropy")
    scored = unit(instance(), Completion("a", logprob=-1.0), Completion("b", logprob=-4.0))
    assert metric.score(scored) == {"monte_carlo_entropy": 2.5}
    assert metric.score(unit(instance(), Completion("a", logprob=-1.0), "b")) == {}
