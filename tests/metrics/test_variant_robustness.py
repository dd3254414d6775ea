from __future__ import annotations

import pytest

import evalkit.metrics.jaster  # noqa: F401 - registers the metrics
from evalkit.errors import DataError
from evalkit.metrics.variant_robustness import agreement
from evalkit.scoring.unit import Unit
from tests.scoring.units import built, instance, over_run, unit


def variants(item: str, normal: str, symbol: str, incorrect: str) -> list[Unit]:
    said = {"normal": normal, "symbol": symbol, "incorrect": incorrect}
    return [
        unit(instance("A", extra={"variant": variant, "variant_of": item}, name=f"{item}{variant}"), text)
        for variant, text in said.items()
    ]


@pytest.mark.parametrize(
    ("normal", "symbol", "incorrect", "score"),
    [
        ("A", "$", "B,C,D", 1.0),
        ("答え: d", "＠", "a,b,c", 1.0),
        # The same letter three times, though it is the wrong one.
        ("B", "&", "A,C,D", 1.0),
        ("A", "$", "A,C,D", 0.5),
        ("A", "&", "B,C,D", 0.5),
        ("B", "$", "B,C,D", 0.5),
        ("A", "&", "A,B,D", 0.0),
        # Only the exact text of the three letters means the fourth.
        ("A", "$", "B, C, D", 0.5),
        ("A", "$", "D,C,B", 0.5),
        ("", "", "", 1.0),
    ],
)
def test_an_item(normal: str, symbol: str, incorrect: str, score: float) -> None:
    found = over_run(built("variant_robustness"), variants("x", normal, symbol, incorrect))
    assert found == {"variant_robustness": score}


def test_over_items() -> None:
    right, mixed = variants("x", "A", "$", "B,C,D"), variants("y", "A", "&", "A,B,D")
    metric = built("variant_robustness")
    assert over_run(metric, [*right, *mixed]) == {"variant_robustness": 0.5}
    assert over_run(metric, [*reversed(mixed), *right]) == {"variant_robustness": 0.5}
    # Of the second item an answer is missing.
    assert over_run(metric, [*right, *mixed[:2]]) == {"variant_robustness": 1.0}
    assert over_run(metric, mixed[1:]) == {}
    # As a resample of the bootstrap has it.
    assert over_run(metric, [*right, *mixed, *mixed]) == {"variant_robustness": pytest.approx(1 / 3)}


def test_accuracy_is_another_thing() -> None:
    units = variants("x", "B", "&", "A,C,D")
    exact = built("jaster_exact_match", dataset="jmmlu_")
    assert [exact.score(one)["jaster_exact_match"] for one in units] == [0, 0, 0]
    assert over_run(built("variant_robustness"), units) == {"variant_robustness": 1.0}


def test_pairs() -> None:
    assert [agreement(text.split()) for text in ("a a a", "a a b", "a b a", "a b b", "a b c")] == [
        1,
        0.5,
        0.5,
        0.5,
        0,
    ]


def test_an_instance_must_say_what_it_is() -> None:
    for extra in (None, {"variant": "normal"}, {"variant": "other", "variant_of": "x"}):
        with pytest.raises(DataError, match="id0"):
            built("variant_robustness").check(instance("A", extra=extra))
