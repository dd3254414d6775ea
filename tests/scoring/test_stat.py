from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import StoreError
from evalkit.scoring.interval import wilson_interval
from evalkit.scoring.stat import Label, Observations, Stat

NUMBERS = st.lists(st.floats(-1e9, 1e9), max_size=20)


def observe(values: list[float], num_train_trials: int = 1) -> Observations:
    trials = [i % num_train_trials for i in range(len(values))]
    return Observations(values, list(range(len(values))), trials, 2, len(values) + 3, num_train_trials)


def test_fields_by_hand() -> None:
    stat = Stat.of(Label("f1", split="test", sub_split="hard"), observe([1.0, 4.0, 3.0, 4.0], 2))
    assert (stat.name, stat.kind, stat.split, stat.sub_split) == ("f1", "score", "test", "hard")
    assert (stat.n, stat.n_failed, stat.n_total) == (4, 2, 7)
    assert (stat.mean, stat.sum, stat.sum_squared, stat.min, stat.max) == (3.0, 12.0, 42.0, 1.0, 4.0)
    assert stat.trial_means == (2.0, 4.0)
    assert stat.trial_stderr == pytest.approx(1.0)
    assert stat.stderr == pytest.approx((2 / 4) ** 0.5)
    assert stat.ci95_method == "t"


def test_nothing_scored_is_no_number() -> None:
    stat = Stat.of(Label("f1"), observe([]))
    assert (stat.n, stat.mean, stat.stderr, stat.ci95, stat.min, stat.max) == (
        0,
        None,
        None,
        None,
        None,
        None,
    )
    assert stat.n_total == 3
    assert stat.trial_means == (None,)
    assert Stat.from_json(json.loads(json.dumps(stat.to_json()))) == stat


def test_a_trial_without_scores_leaves_the_trial_error_undefined() -> None:
    stat = Stat.of(Label("f1"), Observations([1.0, 2.0], [0, 1], [0, 0], 0, 4, num_train_trials=2))
    assert stat.trial_means == (1.5, None)
    assert stat.trial_stderr is None


@given(NUMBERS, st.integers(1, 3), st.sampled_from(["score", "usage"]))
def test_json_round_trip(values: list[float], num_train_trials: int, kind: str) -> None:
    label = Label("x", "usage" if kind == "usage" else "score", "valid", "part")
    stat = Stat.of(label, observe(values, num_train_trials))
    assert Stat.from_json(json.loads(json.dumps(stat.to_json()))) == stat


@given(st.data(), NUMBERS)
def test_order_of_values_changes_nothing(data: st.DataObject, values: list[float]) -> None:
    shuffled = data.draw(st.permutations(values))
    assert Stat.of(Label("x"), observe(values)) == Stat.of(Label("x"), observe(shuffled))


def test_json_of_another_version_is_refused() -> None:
    plain = Stat.of(Label("x"), observe([1.0])).to_json()
    with pytest.raises(StoreError, match="unknown field 'variance'"):
        Stat.from_json({**plain, "variance": 1})
    del plain["n_total"]
    with pytest.raises(StoreError, match="no field 'n_total'"):
        Stat.from_json(plain)


def test_the_interval_of_what_lies_from_0_to_1_ends_there() -> None:
    values = [1.0, 0.5, 1.0, 1.0]
    free = Stat.of(Label("win_rate"), observe(values))
    cut = Stat.of(Label("win_rate", is_in_0_to_1=True), observe(values))
    assert free.ci95 is not None
    assert free.ci95[1] > 1
    assert cut.ci95 == (free.ci95[0], 1.0)
    assert (cut.mean, cut.stderr, cut.ci95_method) == (free.mean, free.stderr, "t")
    turned = Stat.of(Label("win_rate", is_in_0_to_1=True), observe([1 - value for value in values]))
    assert turned.ci95 == pytest.approx((0.0, 1 - free.ci95[0]))


def test_values_from_0_to_1_that_are_all_alike_have_no_interval_of_width_0() -> None:
    ties = Stat.of(Label("win_rate", is_in_0_to_1=True), observe([0.5] * 4))
    assert (ties.mean, ties.stderr, ties.ci95, ties.ci95_method) == (0.5, 0.0, None, None)
    wins = Stat.of(Label("win_rate", is_in_0_to_1=True), observe([1.0] * 4))
    assert wins.ci95 == pytest.approx(wilson_interval(1.0, 4))
