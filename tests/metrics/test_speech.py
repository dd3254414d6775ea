from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import DataError, UsageError
from evalkit.metrics.speech import cer_score, mer_score, wer_score, wip_score
from evalkit.registry import metric_facts
from tests.scoring.units import built, instance, unit

ALL = {"wer_score": wer_score, "mer_score": mer_score, "wip_score": wip_score, "cer_score": cer_score}
WORDS = st.lists(st.sampled_from(["the", "cat", "Sat", "mat.", "so"]), min_size=1, max_size=7)


def edits(gold: str | list[str], said: str | list[str]) -> int:
    """Levenshtein's distance."""
    row = list(range(len(said) + 1))
    for i, wanted in enumerate(gold, 1):
        above = row
        row = [i]
        for j, given_one in enumerate(said, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (wanted != given_one)))
    return row[-1]


def test_by_hand() -> None:
    # One hit, one replaced, one put in.
    assert wer_score("a b", "a c d") == 1
    assert mer_score("a b", "a c d") == pytest.approx(2 / 3)
    assert wip_score("a b", "a c d") == pytest.approx(1 / 2 * 1 / 3)
    assert cer_score("a b", "a c d") == 1
    assert wer_score("a", "b c d") == 3
    assert cer_score("kitten", "sitting") == pytest.approx(3 / 6)


def test_case_punctuation_and_blanks_do_not_count_but_articles_do() -> None:
    assert wer_score("The cat, sat.", "the  CAT sat") == 0
    assert wer_score("the cat", "cat") == 0.5


@given(WORDS, WORDS)
@settings(max_examples=60, deadline=None)
def test_rates_are_edits_per_length(gold: list[str], said: list[str]) -> None:
    wanted, given_words = ([w.lower().strip(".") for w in words] for words in (gold, said))
    rate = edits(wanted, given_words) / len(wanted)
    assert wer_score(" ".join(gold), " ".join(said)) == pytest.approx(rate, abs=1e-12)
    wanted_text, given_text = " ".join(wanted), " ".join(given_words)
    rate = edits(wanted_text, given_text) / len(wanted_text)
    assert cer_score(" ".join(gold), " ".join(said)) == pytest.approx(rate, abs=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_an_empty_prediction_gets_0_as_in_helm(name: str) -> None:
    assert ALL[name]("a cat", "") == 0


def test_a_prediction_of_punctuation_alone_has_left_out_every_word() -> None:
    assert (wer_score("a cat", "..."), wip_score("a cat", "...")) == (1, 0)


@pytest.mark.parametrize("name", ALL)
def test_a_right_answer_without_a_word_has_no_rate(name: str) -> None:
    with pytest.raises(DataError, match=r"at least one word; '\?!' has none"):
        ALL[name]("?!", "a cat")


@pytest.mark.parametrize("name", ALL)
def test_which_way_is_better_is_known(name: str) -> None:
    metric = built(name)
    assert metric.lower_is_better == ({name} if name != "wip_score" else set())
    assert metric_facts(name).full_marks == ALL[name]("A cat sat.", "a cat sat")
    assert metric_facts(name).needs == ("jiwer",)


def test_of_several_right_answers_the_highest_number_counts_as_in_helm() -> None:
    assert built("wer_score").score(unit(instance("a cat", "a dog"), "a cat")) == {"wer_score": 0.5}


def test_a_missing_package_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jiwer", None)
    remedy = r"needs the package jiwer; install it with: pip install 'evalkit\[metrics\]'"
    with pytest.raises(UsageError, match=remedy):
        wer_score("a", "b")
    with pytest.raises(UsageError, match=f"the metric cer_score {remedy}"):
        built("cer_score")
