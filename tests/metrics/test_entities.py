from __future__ import annotations

import random
from typing import Any

import pytest

from evalkit.metrics.entities import pairs
from tests.scoring.units import built, instance, over_run, unit

ACC, F1, MICRO = "entity_labelling_acc", "entity_labelling_f1", "entity_labelling_micro_f1"


@pytest.mark.parametrize(
    ("gold", "said", "acc", "f1"),
    [
        ("A社 positive\nB社 negative", "B社 negative\nA社 positive", 1, 1),
        ("A社 positive\nB社 negative", "A社 positive", 1 / 2, 2 / 3),
        ("A社 positive", "A社 negative", 0, 0),
        ("A社 positive", "A社 positive\nA社 negative", 1, 2 / 3),
        # Lines that are no pairs count as wrong ones.
        ("A社 positive", "答えです\nA社 positive\nよろしく", 1, 1 / 2),
        ("A 社 positive", "A 社\u3000positive", 1, 1),
        ("A社 positive\nA社 positive", "A社 positive", 1, 1),
        ("", "", 1, 1),
        ("", "A社 positive", 0, 0),
        ("A社 positive", "", 0, 0),
        ("🙂 positive", "🙂 positive\n\nB社 negative", 1, 1),
    ],
)
def test_lines(gold: str, said: str, acc: float, f1: float) -> None:
    found = built("entity_labelling", dataset="chabsa").score(unit(instance(gold), said))
    assert found == {ACC: pytest.approx(acc), F1: pytest.approx(f1)}


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("lines", "A社 positive\nB:C neutral"),
        ("colon_commas", "A社:positive, B:C:neutral"),
        ("colon_blanks", "A社:positive  B:C:neutral"),
    ],
)
def test_forms(form: Any, text: str) -> None:
    assert pairs(text, form) == {("A社", "positive"), ("B:C", "neutral")}


def test_over_a_run_pairs_count_and_not_units() -> None:
    cases = [("a positive\nb positive\nc positive", "a positive"), ("d negative", "d negative")]
    rows = [unit(instance(gold), said) for gold, said in cases]
    metric = built("entity_labelling")
    assert over_run(metric, rows) == {MICRO: pytest.approx(2 * 2 / (4 + 2))}
    assert sum(metric.score(row)[F1] for row in rows) / 2 == pytest.approx((1 / 2 + 1) / 2)


def test_as_scikit_learn_over_1000_answers() -> None:
    learn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    generator, universe = (
        random.Random(5),
        [f"{e} {label}" for e in ("🙂", "１", "{x}", "A社") for label in "pn"],
    )
    metric, rows, right, given = built("entity_labelling"), [], [], []
    for _ in range(1000):
        gold, said = (generator.sample(universe, generator.randint(0, 5)) for _ in range(2))
        rows.append(unit(instance("\n".join(gold)), "\n".join(said)))
        right.append([int(pair in gold) for pair in universe])
        given.append([int(pair in said) for pair in universe])
    expected = learn.f1_score(right, given, average="micro")
    assert over_run(metric, rows)[MICRO] == pytest.approx(expected)
    samples = learn.f1_score(right, given, average="samples", zero_division=1.0)
    assert sum(metric.score(row)[F1] for row in rows) / 1000 == pytest.approx(samples)
    recall = learn.recall_score(right, given, average="samples", zero_division=0.0)
    empty = sum(not any(row) for row in right)
    both_empty = sum(not any(row) and not any(named) for row, named in zip(right, given, strict=True))
    assert empty > both_empty > 0
    accuracy = sum(metric.score(row)[ACC] for row in rows) / 1000
    assert accuracy == pytest.approx(recall + both_empty / 1000)
