from __future__ import annotations

import random
import re
import unicodedata
from collections import Counter
from decimal import Decimal, InvalidOperation
from typing import Any

import pytest

import evalkit.metrics.text  # noqa: F401 - registers exact_match
from evalkit.metrics.jaster import longest_common_subsequence, token_sort_similarity
from tests.metrics.japanese_texts import pairs
from tests.scoring.units import GENERATION, built, instance, unit


def score(name: str, gold: str, said: str, **args: Any) -> float:
    return built(name, **args).score(unit(instance(gold), said))[name]


def naive_char_f1(gold: str, said: str) -> float:
    """What the name says: F1 over the characters of both texts."""
    shared = (Counter(gold) & Counter(said)).total()
    return 2 * shared / (len(gold) + len(said)) if gold or said else 1.0


@pytest.mark.parametrize(
    ("gold", "said", "expected"),
    [
        ("東京都", "東京", 0.80),
        ("東京", "東京都", 0.80),
        ("東京都", "東京 都", 0.86),
        ("東京", "", 0.0),
        ("信長 織田", "織田信長", 0.44),
        ("YES", "yes", 1.0),
        ("1999年", "１９９９年", 0.20),
        ("。", "。", 1.0),
        ("", "", 1.0),
        ("。", "！", 1.0),
        ("é", "東京", 0.0),
    ],
)
def test_char_f1_of_the_original(gold: str, said: str, expected: float) -> None:
    assert token_sort_similarity(gold, said) == expected


def test_char_f1_as_rapidfuzz() -> None:
    fuzz = pytest.importorskip("rapidfuzz.fuzz", reason="rapidfuzz is not installed")
    num_partial = 0
    for gold, said in pairs(1000):
        one, other = (
            " ".join(sorted(re.sub(r"\W", " ", re.sub("[\x80-\xff]", "", text)).lower().split()))
            for text in (gold, said)
        )
        expected = 1.0 if one == other else round(fuzz.ratio(one, other)) / 100 if one and other else 0.0
        assert token_sort_similarity(gold, said) == expected, (gold, said)
        num_partial += 0 < expected < 1
    assert num_partial > 400


def test_the_longest_common_subsequence_as_rapidfuzz() -> None:
    distance = pytest.importorskip("rapidfuzz.distance", reason="rapidfuzz is not installed")
    for gold, said in pairs(1000, seed=8):
        assert longest_common_subsequence(gold, said) == distance.LCSseq.similarity(gold, said)


def test_halves_are_rounded_as_in_the_original() -> None:
    # 80 characters, 34 of them shared: 1 - 46 / 80 is just above 0.425, (80 - 46) / 80 is not.
    gold, said = "a" * 40, "a" * 17 + "b" * 23
    assert round(100 * ((80 - 46) / 80)) == 42
    assert token_sort_similarity(gold, said) == 0.43


@pytest.mark.parametrize(
    ("gold", "said", "naive"),
    [("信長 織田", "織田信長", 8 / 9), ("ab", "ba", 1.0), ("東京", "「東京」", 2 / 3)],
)
def test_char_f1_is_no_f1_of_characters(gold: str, said: str, naive: float) -> None:
    assert naive_char_f1(gold, said) == pytest.approx(naive)
    assert token_sort_similarity(gold, said) != pytest.approx(naive, abs=0.01)


def test_full_width_is_the_same_after_reading() -> None:
    assert score("char_f1", "1999年", "１９９９年") == 1.0


@pytest.mark.parametrize(
    ("gold", "said", "expected"),
    [
        ("1000", "1e3", 1.0),
        ("3", " 3 ", 1.0),
        ("3", "3.0", 1.0),
        ("3", "３", 1.0),
        ("nan", "nan", 0.0),
        ("1000", "1,000", 0.0),
        ("3", "3個", 0.0),
        ("3", "", 0.0),
        ("-2", "-2.00", 1.0),
        ("1/2", "1/2", 0.0),
    ],
)
def test_exact_match_figure(gold: str, said: str, expected: float) -> None:
    assert score("exact_match_figure", gold, said, dataset="mawps") == expected


def test_exact_match_figure_in_a_text() -> None:
    said = {"1,000": "1000", "3個": "3", "2と2で4です。": "4"}
    assert {score("exact_match_figure", gold, text, numbers="in_text") for text, gold in said.items()} == {1}
    assert score("exact_match_figure", "3", "三", numbers="in_text") == 0
    assert score("exact_match_figure", "三", "三", numbers="in_text") == 0


@pytest.mark.parametrize(
    ("gold", "said", "expected"),
    [
        ("a\nb", "b\na", 1.0),
        ("a\nb", " a \n b", 1.0),
        ("a\nb", "a\na", 2 / 3),
        ("a\nb", "a\nc\nd", 2 / 5),
        ("a", "b", 0.0),
        ("a", "", 0.0),
        ("", "", 1.0),
        # Twice in the right answer: precision 1, recall 1/2, although nothing is missing.
        ("a\na", "a\na", 2 / 3),
    ],
)
def test_set_f1(gold: str, said: str, expected: float) -> None:
    assert score("set_f1", gold, said) == pytest.approx(expected)


def test_set_f1_with_right_lines_once() -> None:
    assert score("set_f1", "a\na", "a\na", right_lines="once") == 1.0
    assert score("set_f1", "a\na\nb", "a", right_lines="once") == pytest.approx(2 / 3)


def test_set_f1_by_a_second_way() -> None:
    for gold, said in pairs(1000, seed=9):
        right, given = [x.strip() for x in gold.split("\n")], {x.strip() for x in said.split("\n")}
        precision = sum(x in right for x in given) / len(given)
        recall = sum(x in right for x in given) / len(right)
        expected = 2 * precision * recall / (precision + recall) if precision else 0.0
        found = built("set_f1", answers="original", pattern=".*").compare(gold, said)  # type: ignore[attr-defined]
        assert found == pytest.approx(expected)


def test_exact_match_of_the_original() -> None:
    assert score("jaster_exact_match", "entailment", "Entailment\n\nBecause", dataset="jnli") == 1
    assert score("jaster_exact_match", "entailment", "Entailment", dataset="") == 0
    assert score("jaster_exact_match", "A", "答え:a", dataset="jmmlu_anatomy") == 1
    assert score("jaster_exact_match", "A", "答え:a", dataset="jmmlu") == 0
    assert score("jaster_exact_match", "A", "答え:a", dataset="jmmlu", answers="corrected") == 1
    assert score("jaster_exact_match", "", "") == 1
    # HELM's exact_match takes an empty answer for wrong, and does not cut quotes.
    assert built("exact_match").score(unit(instance("A"), "'A'")) == {"exact_match": 0}
    assert score("jaster_exact_match", "A", "'A'") == 1


def read(said: str) -> str:
    """The answer in a completion of a dataset without cleaning, by other means."""
    before, _, _ = said.partition("\n\n")
    for sign in (None, "'", '"', None):
        before = before.strip(sign)
    return unicodedata.normalize("NFKC", before)


def test_exact_match_by_a_second_way() -> None:
    num_equal, num_naive = 0, 0
    for gold, said in pairs(1000, seed=10):
        equal = read(said) == unicodedata.normalize("NFKC", gold)
        assert score("jaster_exact_match", gold, said) == equal, (gold, said)
        num_equal, num_naive = num_equal + equal, num_naive + (gold == said)
    assert 30 < num_equal != num_naive


def test_exact_match_figure_by_a_second_way() -> None:
    generator = random.Random(12)
    texts = [
        "1e3",
        "1000",
        "1,000",
        "３",
        " 3 ",
        "3個",
        "3.0",
        "-2",
        "−2",
        "",
        "🙂",
        "{3}",
        "3\n\n4",
        "'3'",
        "inf",
    ]
    texts += ["nan", ".5", "0.5", "5.", "1_000", "٣", "0x10", "+3", "\n3"]
    num_equal = 0
    for _ in range(1000):
        gold, said = generator.choice(texts), generator.choice(texts)
        numbers = [number_in(unicodedata.normalize("NFKC", gold)), number_in(read(said))]
        equal = None not in numbers and numbers[0] == numbers[1]
        assert score("exact_match_figure", gold, said) == equal, (gold, said)
        num_equal += equal
    assert 50 < num_equal < 500


def number_in(text: str) -> Decimal | None:
    """A finite number as Python writes one: digits with `_` between, a point, an exponent."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return Decimal("inf") if text.strip() == "inf" else None
    return None if number.is_nan() else number


def test_several_right_answers_and_outputs() -> None:
    metric = built("char_f1", GENERATION.model_copy(update={"num_outputs": 2}))
    assert metric.names == ("char_f1", "char_f1@2")
    asked = instance("東京", "東京都")
    assert metric.score(unit(asked, "大阪", "東京都")) == {"char_f1": 0.0, "char_f1@2": 1.0}


def test_scores_with_full_marks_lie_from_0_to_1() -> None:
    assert built("char_f1").shares == {"char_f1"}
    assert built("entity_labelling").shares == {"entity_labelling_acc", "entity_labelling_f1"}
    assert built("pearson").shares == {"pearson_unparsable"}
    assert built("comet_wmt22").shares == frozenset()
