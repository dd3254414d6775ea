from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.metrics import text
from evalkit.metrics.text import final_number_exact_match, final_number_match, normalize_text

Score = Callable[[str, str], float]

METRICS: dict[str, Score] = {
    name: getattr(text, name)
    for name in (
        "exact_match",
        "quasi_exact_match",
        "quasi_leave_articles_exact_match",
        "prefix_exact_match",
        "quasi_prefix_exact_match",
        "exact_match_indicator",
        "final_number_exact_match",
        "f1_score",
        "exact_set_match",
        "iou_set_match",
        "f1_set_match",
        "absolute_value_difference",
    )
}
by_name = pytest.mark.parametrize("name", METRICS)


@by_name
def test_scores_are_helms(name: str, golden: Callable[[str], Any]) -> None:
    cases = golden("metrics.json")["reference_metrics"]
    assert len(cases) >= 20
    for case in cases:
        score = METRICS[name](case["gold"], case["pred"])
        assert score == pytest.approx(case["scores"][name], abs=1e-12), (case["gold"], case["pred"])


def test_normalisation_is_helms(golden: Callable[[str], Any]) -> None:
    for case in golden("metrics.json")["normalize_text"]:
        assert normalize_text(case["text"]) == case["normalized"]
        assert normalize_text(case["text"], True) == case["keep_articles"]


@pytest.mark.parametrize(
    ("name", "gold", "prediction", "score"),
    [
        ("exact_match", " Paris", "Paris ", 1),
        ("exact_match", "", "", 0),
        ("prefix_exact_match", "Par", "Paris", 1),
        ("prefix_exact_match", "Paris", "Par", 0),
        ("quasi_prefix_exact_match", "The.", "anything", 1),
        ("final_number_exact_match", "1,000", "so it is 1000", 1),
        ("final_number_exact_match", "1000", "about 1000 or 7", 0),
        ("final_number_exact_match", "none", "none", 0),
        ("f1_score", "", "", 0),
        ("f1_score", "red green", "green blue", 0.5),
        ("exact_set_match", "It is red and sweet.", "It is sweet and red\nnot blue", 1),
        ("iou_set_match", "It is red and sweet.", "It is red and round.", 1 / 3),
        ("f1_set_match", "It is red and sweet.", "It is red and round.", 0.5),
        ("exact_set_match", "Nothing.", "Nothing.", 1),
        ("iou_set_match", "red", "Nothing.", 0),
        ("f1_set_match", "Nothing.", "red", 0),
        ("absolute_value_difference", "-1,000", "1000", 2000),
        ("absolute_value_difference", "7", "seven", 7),
    ],
)
def test_by_hand(name: str, gold: str, prediction: str, score: float) -> None:
    assert METRICS[name](gold, prediction) == pytest.approx(score, abs=1e-12)


@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from(sorted(set(METRICS))))
def test_every_score_of_any_texts_is_finite_and_in_range(gold: str, prediction: str, name: str) -> None:
    score = METRICS[name](gold, prediction)
    assert math.isfinite(score)
    assert score >= 0
    assert score <= 1 or name == "absolute_value_difference"


@given(st.text(max_size=60), st.booleans())
def test_normalising_again_changes_nothing(raw: str, keep: bool) -> None:
    normal = normalize_text(raw, keep)
    assert normal == " ".join(normal.split())
    assert normalize_text(normal, keep) == normal
    assert normal == normalize_text(f"  {raw}\n", keep)


@given(st.text(min_size=1, max_size=30).filter(lambda t: t.strip() != ""))
def test_looser_matches_accept_whatever_exact_match_accepts(answer: str) -> None:
    assert METRICS["exact_match"](answer, answer) == 1
    for name in ("quasi_exact_match", "quasi_leave_articles_exact_match", "quasi_prefix_exact_match"):
        assert METRICS[name](answer, answer) == 1


@pytest.mark.parametrize(
    ("prediction", "helms", "robust"),
    [
        ("The answer is 72, in total, so he earns that much.", 0, 1),
        ("The answer is 72, which is all.", 1, 1),
        ("The answer is $72.00.", 0, 1),
        ("The answer is 72.0", 0, 1),
        (r"\boxed{72} for 5 days", 0, 1),
        ("#### 72\n\nQ: 5", 0, 1),
        ("The answer is \u221272", 1, 0),
        ("The answer is -72", 0, 0),
        ("no number, none", 0, 0),
    ],
)
def test_helms_final_number_and_the_robust_one(prediction: str, helms: int, robust: int) -> None:
    gold = "48/2 = 24, so 48+24 = 72. The answer is 72."
    assert (final_number_exact_match(gold, prediction), final_number_match(gold, prediction)) == (
        helms,
        robust,
    )
    assert final_number_match("no number", prediction) == 0
