from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import evalkit.metrics.classification  # noqa: F401 - registers the metrics
from evalkit.errors import DataError
from tests.metrics.units import built, instance, over_corpus, unit

MACRO, MICRO = "classification_macro_f1", "classification_micro_f1"
LABELS = ["Even", "Odd", "None of it"]


def f1(name: str, *pairs: tuple[str, str]) -> float:
    metric = built(name)
    return over_corpus(metric, [unit(instance(gold), said) for gold, said in pairs])[name]


def test_by_hand() -> None:
    pairs = [("Even", "even."), ("Even", "Odd"), ("Odd", "odd"), ("Odd", "odd"), ("Odd", "no idea")]
    # Even: 1 hit, 1 miss; Odd: 2 hits, 1 miss, 1 false alarm; "no idea" is a class of nobody.
    assert f1(MICRO, *pairs) == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert f1(MACRO, *pairs) == pytest.approx((2 / 3 + 4 / 6) / 2)
    assert f1(MACRO, ("Even", "Odd")) == 0


def test_several_classes_in_one_answer() -> None:
    both = unit(instance("red", "blue"), "Blue, green")
    metric = built(MICRO, delimiter=", ")
    assert over_corpus(metric, [both]) == {MICRO: pytest.approx(2 / 3)}


@given(
    st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, "x", ""])), min_size=1, max_size=12)
)
@settings(max_examples=50, deadline=None)
def test_as_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    labels = sorted({gold for gold, _ in pairs})
    assume(len(labels) > 1)  # scikit-learn takes a single column for a binary target
    y_true = [[int(gold == label) for label in labels] for gold, _ in pairs]
    y_pred = [[int(said == label) for label in labels] for _, said in pairs]
    for name, average in ((MACRO, "macro"), (MICRO, "micro")):
        expected = metrics.f1_score(y_true, y_pred, average=average, zero_division=0)
        assert f1(name, *pairs) == pytest.approx(expected, abs=1e-12)


def test_an_instance_without_a_right_answer_is_refused() -> None:
    with pytest.raises(DataError, match="id0"):
        built(MACRO).check(instance())
