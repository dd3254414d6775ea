from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.metrics import official
from evalkit.metrics.official import squad_v1_em, squad_v1_f1, squad_v2_best, squad_v2_f1_of
from evalkit.metrics.text import f1_score, quasi_exact_match

# Prediction, golds, then exact match and F1: SQuAD v1.1; F1: v2.0; both: TriviaQA; both: HELM.
QUESTION_ANSWERING = [
    ("The Eiffel Tower.", ["Eiffel Tower", "the tower"], (1, 1), 1, (1, 1), (1, 1)),
    ("eiffel  tower in paris", ["Eiffel Tower"], (0, 2 / 3), 2 / 3, (0, 2 / 3), (0, 2 / 3)),
    ("to be or not to be", ["to be"], (0, 0.5), 0.5, (0, 0.5), (0, 2 / 3)),
    ("A", ["the"], (1, 0), 1, (1, 0), (1, 0)),
    ("O'Neil-Smith", ["oneil smith"], (0, 0), 0, (0, 0.4), (0, 0)),
    ("rock_n_roll", ["rock n roll"], (0, 0), 0, (1, 1), (0, 0)),
    ("1,000", ["1000"], (1, 1), 1, (0, 0), (1, 1)),
    ("U.S.", ["US"], (1, 1), 1, (0, 0), (1, 1)),
    ("", ["x"], (0, 0), 0, (0, 0), (0, 0)),
]


@pytest.mark.parametrize(("said", "golds", "squad", "squad_v2", "trivia", "helm"), QUESTION_ANSWERING)
def test_question_answering_vectors(
    said: str,
    golds: list[str],
    squad: tuple[float, float],
    squad_v2: float,
    trivia: tuple[float, float],
    helm: tuple[float, float],
) -> None:
    pairs = (
        (squad_v1_em, squad_v1_f1, squad),
        (official.triviaqa_em, official.triviaqa_f1, trivia),
        (quasi_exact_match, f1_score, helm),
    )
    for exact_match, f1, expected in pairs:
        found = max(exact_match(gold, said) for gold in golds), max(f1(gold, said) for gold in golds)
        assert found == pytest.approx(expected), exact_match
    assert squad_v2_best(squad_v2_f1_of, golds, said) == pytest.approx(squad_v2)
    assert squad_v2_best(squad_v1_em, golds, said) == squad[0]


def test_squad_v2_drops_empty_golds() -> None:
    assert squad_v2_best(squad_v1_em, ["the", "x"], "") == 0
    assert squad_v2_best(squad_v1_em, ["the"], "") == 1
    assert squad_v2_best(squad_v2_f1_of, [], "x") == 0


def test_nq_open_takes_accents_apart() -> None:
    assert official.nq_open_em("Beyonc\u00e9", "beyonce\u0301!") == 1
    assert squad_v1_em("Beyonc\u00e9", "beyonce\u0301!") == 0
    assert official.nq_open_em("Beyonce", "Beyonc\u00e9") == 0


@pytest.mark.parametrize(
    ("text", "exact", "strict", "flexible"),
    [
        ("so 3+4=7.\n#### 7", "7", "7", "7"),
        ("The answer is $1,234.50.", "[invalid]", "[invalid]", "1234.50"),
        ("#### 1,000 dollars", "1000", "1000", "1000"),
        ("I think 5", "[invalid]", "[invalid]", "5"),
        ("-3 degrees", "[invalid]", "[invalid]", "-3"),
        ("#### 7.", "7.", "7", "7"),
        ("answer: 5 / 2 apples", "[invalid]", "[invalid]", "2"),
        ("#### 5\n#### 6", "5", "5", "6"),
        ("It costs $5, or 6, in total.", "[invalid]", "[invalid]", "6"),
        ("none", "[invalid]", "[invalid]", "[invalid]"),
    ],
)
def test_gsm8k_vectors(text: str, exact: str, strict: str, flexible: str) -> None:
    assert official.gsm8k_answer(text) == exact
    assert official.gsm8k_strict_answer(text) == strict
    assert official.gsm8k_flexible_answer(text) == flexible


@pytest.mark.parametrize(
    "gold", ["Half of 14 is 14/2 = <<14/2=7>>7.\n#### 7", "It is 14/2 = 7. The answer is 7.", "7"]
)
def test_gsm8k_golds_may_be_raw_helms_or_bare(gold: str) -> None:
    assert official.gsm8k_official(gold, "So.\n#### 7") == 1
    assert official.gsm8k_official(gold, "So.\n#### 7.") == 0
    assert official.gsm8k_strict(gold, "So.\n#### 7.") == 1
    assert official.gsm8k_strict(gold, "7") == 0
    assert official.gsm8k_flexible(gold, "7 it is") == 1


@pytest.mark.parametrize(
    ("said", "gold", "score"),
    [
        ("Returns the sum of two numbers .", "Returns the sum of two integers .", 70.3471),
        ("return x", "Returns the value of x .", 18.6391),
        ("", "a b c", 4.9787),
        ("Get the user's name (id=5).", "Get the user's name (id=5).", 100),
        ("the the the the", "the cat is on the mat", 25.4667),
    ],
)
def test_codexglue_vectors(said: str, gold: str, score: float) -> None:
    assert official.codexglue_bleu(gold, said) == pytest.approx(score, abs=5e-5)


@pytest.mark.parametrize(
    ("said", "gold", "scores"),
    [
        ("the cat was found under the bed", "the cat was under the bed", (0.9231, 0.7273, 0.9231)),
        ("Police killed the gunman", "the gunman police killed", (1, 0.6667, 0.5)),
        ("", "x", (0, 0, 0)),
    ],
)
def test_rouge_vectors(said: str, gold: str, scores: tuple[float, ...]) -> None:
    found = (official.rouge1(gold, said), official.rouge2(gold, said), official.rouge_l_plain(gold, said))
    assert found == pytest.approx(scores, abs=5e-5)


def test_rouge_of_several_references_takes_the_best_of_each_kind() -> None:
    said = "Ms. Dawson is asked to take a dictation for a memo."
    golds = ["Ms. Dawson takes a dictation.", "The boss dictates a memo to Ms. Dawson."]
    kinds = (official.rouge1, official.rouge2, official.rouge_l_plain)
    found = [max(kind(gold, said, stemmer=True) for gold in golds) for kind in kinds]
    assert found == pytest.approx([0.6316, 0.4286, 0.625], abs=5e-5)
    assert official.rouge_lsum("a b\nc d", "c d\na b") == 1
    assert official.rouge_l_plain("a b\nc d", "c d\na b") == 0.5


TEXTS = st.lists(st.sampled_from(["the", "A", "cat", "cat's", "U.S.", "x-y", "_", "1,000", "  "]), max_size=8)


@given(TEXTS.map(" ".join), TEXTS.map(" ".join))
def test_squad_f1_is_precision_and_recall_of_a_second_way(gold: str, said: str) -> None:
    def words(text: str) -> list[str]:
        bare = re.sub(r"[^\w\s]|_", "", text.lower())
        return [word for word in bare.split() if word not in ("a", "an", "the")]

    shared = sum(min(n, Counter(words(said))[word]) for word, n in Counter(words(gold)).items())
    if shared == 0:
        assert squad_v1_f1(gold, said) == 0
        return
    precision, recall = shared / len(words(said)), shared / len(words(gold))
    assert squad_v1_f1(gold, said) == pytest.approx(2 * precision * recall / (precision + recall))


@given(st.text(max_size=30), st.text(max_size=30))
def test_codexglue_is_between_0_and_100(gold: str, said: str) -> None:
    assert 0 <= official.codexglue_bleu(gold, said) <= 100 + 1e-9
    assert official.codexglue_bleu(gold, gold) == pytest.approx(100)
