from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import evalkit.metrics.classification  # noqa: F401 - registers the metrics
from evalkit.errors import DataError
from tests.scoring.units import built, instance, over_run, unit

MACRO, MICRO = "classification_macro_f1", "classification_micro_f1"
LABELS = ["Even", "Odd", "None of it"]


def f1(name: str, *pairs: tuple[str, str]) -> float:
    metric = built(name)
    return over_run(metric, [unit(instance(gold), said) for gold, said in pairs])[name]


def test_by_hand() -> None:
    pairs = [("Even", "even."), ("Even", "Odd"), ("Odd", "odd"), ("Odd", "odd"), ("Odd", "no idea")]
    # Even: 1 hit, 1 miss; Odd: 2 hits, 1 miss, 1 false alarm; "no idea" is a class of nobody.
    assert f1(MICRO, *pairs) == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert f1(MACRO, *pairs) == pytest.approx((2 / 3 + 4 / 6) / 2)
    assert f1(MACRO, ("Even", "Odd")) == 0


def pairs_of(counts: dict[str, tuple[int, int, int]]) -> tuple[float, float]:
    """Macro and micro F1 by their definition, from hits, false alarms and misses of each class."""
    each = {name: 2 * tp / (2 * tp + fp + fn) for name, (tp, fp, fn) in counts.items()}
    tp, fp, fn = (sum(column) for column in zip(*counts.values(), strict=True))
    return sum(each.values()) / len(each), 2 * tp / (2 * tp + fp + fn)


def test_the_counts_of_helms_own_two_classes() -> None:
    # The cases and counts of HELM's test of ClassificationMetric (crfm-helm, test_classification_metrics.py).
    said = [("yes", "yes")] * 3 + [("no", "yes"), ("yes", "no"), ("no", "no"), ("no", "invalid")]
    macro, micro = pairs_of({"yes": (3, 1, 1), "no": (1, 1, 2)})
    assert f1(MACRO, *said) == pytest.approx(macro)
    assert f1(MICRO, *said) == pytest.approx(micro)
    assert macro == pytest.approx(0.575)
    assert micro == pytest.approx(8 / 13)


def test_the_counts_of_helms_own_three_classes() -> None:
    said = [("a", "a")] * 3 + [("b", "a"), ("b", "b"), ("b", "b"), ("c", "b"), ("a", "c"), ("c", "c")]
    said += [("c", "invalid")]
    macro, micro = pairs_of({"a": (3, 1, 1), "b": (2, 1, 1), "c": (1, 1, 2)})
    assert f1(MACRO, *said) == pytest.approx(macro)
    assert f1(MICRO, *said) == pytest.approx(micro)


def test_the_counts_of_helms_own_several_labels() -> None:
    # Without the two of HELM's cases that have no right answer: such instances are refused here.
    cases = ["ab ab", "ab ac", "a a", "c b", "b bc", "ab c", "ac a", "abc abc", "invalid c"]
    units = []
    for case in cases:
        answer, right = case.split()
        said = answer if answer == "invalid" else ",".join(answer)
        units.append(unit(instance(*right), said))
    macro, micro = pairs_of({"a": (5, 1, 0), "b": (3, 2, 1), "c": (1, 2, 4)})
    for name, expected in ((MACRO, macro), (MICRO, micro)):
        assert over_run(built(name, delimiter=","), units) == {name: pytest.approx(expected)}


def test_several_classes_in_one_answer() -> None:
    both = unit(instance("red", "blue"), "Blue, green")
    metric = built(MICRO, delimiter=", ")
    assert over_run(metric, [both]) == {MICRO: pytest.approx(2 / 3)}


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
