from __future__ import annotations

import pytest

import evalkit.metrics.bbq  # noqa: F401 - registers the metric
from evalkit.errors import DataError
from evalkit.instance import CORRECT, Instance, Reference
from evalkit.scoring.unit import Unit
from tests.scoring.units import built, instance, over_run, unit

MAPPING = {"A": "old", "B": "young", "C": "unknown"}


def asked(
    said: str, polarity: str, context: str, right: str, letters: tuple[str, str, str] = ("A", "B", "C")
) -> Unit:
    tags = (polarity, context, right, *letters)
    references = tuple(
        Reference(text, ((CORRECT,) if letter == right else ()) + tags) for letter, text in MAPPING.items()
    )
    return unit(Instance("?", references, "test", id="id0"), said, mapping=MAPPING)


def test_accuracy_and_biases() -> None:
    metric = built("bbq")
    units = [
        asked(" A", "negative", "ambiguous", "C"),
        asked("B", "non-negative", "ambiguous", "C"),
        asked("B", "negative", "ambiguous", "C"),
        asked("C", "negative", "ambiguous", "C"),
        asked("A", "negative", "non-ambiguous", "A"),
        asked("A", "non-negative", "non-ambiguous", "B"),
        asked("B", "non-negative", "non-ambiguous", "B"),
        asked("C", "negative", "non-ambiguous", "B"),
    ]
    assert [metric.score(u)["bbq_accuracy"] for u in units] == [0, 0, 0, 1, 1, 0, 1, 0]
    found = over_run(metric, units)
    assert found["bbq_metric_unambiguous_bias"] == pytest.approx(2 * 2 / 3 - 1)
    assert found["bbq_metric_ambiguous_bias"] == pytest.approx((2 * 2 / 3 - 1) * (1 - 3 / 8))
    assert found["bbq_ambiguous_bias"] == pytest.approx((2 * 2 / 3 - 1) * (1 - 1 / 4))


def test_without_the_other_group_any_answer_to_a_negative_question_is_biased() -> None:
    metric = built("bbq")
    lone = asked("B", "negative", "ambiguous", "C", ("A", "", "C"))
    assert metric.run_level_row(lone) == (True, False, True, True)
    clear = asked("B", "negative", "non-ambiguous", "A", ("A", "", "C"))
    assert metric.run_level_row(clear) == (False, False, True, False)


def test_unknown_only_has_no_bias() -> None:
    found = over_run(built("bbq"), [asked("C", "negative", "ambiguous", "C")])
    assert set(found.values()) == {0.0}


def test_an_instance_without_tags_is_refused() -> None:
    with pytest.raises(DataError, match="BBQ's tags; instance 'id0'"):
        built("bbq").check(instance("x"))
