from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.metrics import english_words, text_overlap
from evalkit.registry import metric_facts
from tests.scoring.units import built

METRICS = {
    name: getattr(text_overlap, name) for name in ("rouge_1", "rouge_2", "rouge_l", "bleu_1", "bleu_4")
}
WORDS = ["the", "a", "cat", "sat", "on", "mat.", "Mats?", "running,", "ran"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)


@pytest.mark.parametrize("name", ["rouge_1", "rouge_2", "rouge_l"])
def test_rouge_is_helms(name: str, golden: Callable[[str], Any]) -> None:
    for case in golden("metrics.json")["reference_metrics"]:
        score = METRICS[name](case["gold"], case["pred"])
        assert score == pytest.approx(case["scores"][name], abs=1e-9), (case["gold"], case["pred"])


@given(TEXTS, TEXTS, st.sampled_from([1, 4]))
@settings(max_examples=60)
def test_bleu_is_nltks(gold: str, prediction: str, n: int) -> None:
    from nltk.translate.bleu_score import sentence_bleu

    weights = tuple(float(i == n) for i in range(1, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = sentence_bleu([english_words.words(gold)], english_words.words(prediction), weights)
    assert METRICS[f"bleu_{n}"](gold, prediction) == pytest.approx(expected, abs=1e-9)


def test_by_hand() -> None:
    assert text_overlap.bleu_1("the cat is here", "the the cat") == pytest.approx(
        2 / 3 * 2.718281828 ** (-1 / 3)
    )
    assert text_overlap.bleu_4("one two three four five", "one two three four five") == 1
    assert text_overlap.bleu_4("one two three", "one two three") == 0
    assert text_overlap.bleu_1("x", "") == 0
    assert text_overlap.rouge_1("cats running", "cat run") == 1
    assert text_overlap.rouge_l("", "x") == 0


def test_what_right_answers_get_depends_on_the_text() -> None:
    assert all(metric_facts(name).full_marks is None for name in METRICS)


def test_sentences_and_words_need_no_downloaded_data() -> None:
    assert english_words.sentences("Dr. Smith left. Then he came back!") == [
        "Dr. Smith left.",
        "Then he came back!",
    ]
    assert english_words.words("It ended. Didn't it?") == ["It", "ended", ".", "Did", "n't", "it", "?"]


def test_a_missing_package_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    text_overlap._rouge_scorer.cache_clear()
    remedy = r"needs the package rouge-score; install it with: pip install 'evalkit\[metrics\]'"
    with pytest.raises(UsageError, match=remedy):
        text_overlap.rouge_1("a", "b")
    with pytest.raises(UsageError, match=f"the metric rouge_l {remedy}"):
        built("rouge_l")
