from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import DataError
from evalkit.metrics.drop import best_assignment, drop_best, drop_scores
from tests.scoring.units import built, instance, unit


@pytest.mark.parametrize(
    ("said", "gold", "exact_match", "f1"),
    [
        (["5 yards"], ["5"], 0, 0.67),
        (["5.0"], ["5"], 1, 1),
        (["Steve Smith", "John Doe"], ["john doe", "steve smith"], 1, 1),
        (["Steve Smith, John Doe"], ["john doe", "steve smith"], 0, 0.33),
        (["the 3 touchdowns"], ["3-yard touchdown"], 0, 0.4),
        (["10"], ["9"], 0, 0),
        (["about 25%"], ["25%"], 0, 0.67),
        (["1,200"], ["1200"], 1, 1),
        (["Tom"], ["Tom Brady", "Joe Montana"], 0, 0.33),
    ],
)
def test_vectors(said: list[str], gold: list[str], exact_match: float, f1: float) -> None:
    assert drop_scores(gold, said) == (exact_match, f1)


def test_the_best_answer_counts_and_blank_ones_do_not() -> None:
    assert drop_best([[" "], ["9"], ["10"]], ["10"]) == (1, 1)
    assert drop_best([[" "]], [""]) == (0, 0)


def test_answers_come_from_extra_or_are_the_right_references() -> None:
    metric = built("drop")
    spans = instance(extra={"answers": [["Tom Brady", "Joe Montana"], ["Tom"]]})
    assert metric.score(unit(spans, "Tom")) == {"drop_em": 1, "drop_f1": 1}
    assert metric.score(unit(instance("7", "8"), "8 yards")) == {"drop_em": 0, "drop_f1": 0.67}
    with pytest.raises(DataError, match="lists of spans"):
        metric.check(instance(extra={"answers": ["Tom"]}))
    with pytest.raises(DataError, match="'id0'"):
        metric.check(instance())


@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(st.lists(st.floats(0, 1), min_size=n, max_size=n), min_size=1, max_size=4)
    )
)
@settings(max_examples=100)
def test_no_assignment_is_better(gains: list[list[float]]) -> None:
    chosen = best_assignment(gains)
    assert len(chosen) == len(set(chosen.values())) == min(len(gains), len(gains[0]))
    turned = gains if len(gains) <= len(gains[0]) else [list(column) for column in zip(*gains, strict=True)]
    columns = range(len(turned[0]))
    best = max(
        sum(row[j] for row, j in zip(turned, order, strict=True))
        for order in itertools.permutations(columns, len(turned))
    )
    assert sum(gains[row][column] for row, column in chosen.items()) == pytest.approx(best)
