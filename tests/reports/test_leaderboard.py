"""Cells, mean scores and win rates by HELM's rules; intervals and marks of noise on top."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.reports.cell import Cell
from evalkit.reports.leaderboard import Leaderboard, make_leaderboard
from evalkit.reports.pairing import Pairing, ScoredRun
from evalkit.reports.win_rates import WinColumn, mean_win_rates
from tests.reports.suites import store_run


def cell(board: Leaderboard, model: str, column: str) -> Cell:
    row = next(row for row in board.rows if row.model == model)
    position = [c.name for c in board.columns].index(column)
    found = row.cells[position]
    assert found is not None
    return found


def test_win_rates_are_shares_beaten_with_half_a_win_for_ties() -> None:
    columns = [({"a": 1.0, "b": 0.5, "c": 0.5}, False), ({"a": 2.0, "b": 1.0}, True), ({"c": 1.0}, False)]
    rates = mean_win_rates(WinColumn(*column) for column in columns)
    assert rates == {"a": 0.5, "b": pytest.approx((0.25 + 1) / 2), "c": 0.25}


def test_a_model_that_nothing_can_be_compared_with_has_no_win_rate() -> None:
    assert mean_win_rates([WinColumn({"a": 1.0}, False)]) == {}


@pytest.mark.parametrize("fewer_is_better", [False, True])
def test_two_models_are_compared_by_what_both_have(fewer_is_better: bool) -> None:
    values = {"a": 3.0, "b": 2.0, "c": 2.0, "d": 1.0}
    common = {("a", "b"): (1.0, 2.0), ("a", "d"): (1.0, 1.0), ("b", "c"): (5.0, 4.0)}
    beaten = WinColumn(values, fewer_is_better, common).num_beaten()
    # a beats c only and ties with d; b beats a, c and d; c beats d.
    up = {"a": 1.5, "b": 3.0, "c": 1.0, "d": 0.5}
    assert beaten == ({m: 3 - n for m, n in up.items()} if fewer_is_better else up)


def test_units_that_one_of_two_models_lacks_decide_nothing_between_them(tmp_path: Path) -> None:
    """The first two questions are easy: a model without a score of the others is not better for that."""
    runs = [
        store_run(tmp_path, "mmlu", "a", [1, 1, None, None, None, None]),
        store_run(tmp_path, "mmlu", "b", [1, 1, 0, 0, 0, 1]),
        store_run(tmp_path, "mmlu", "c", [0, 1, 0, 0, 0, 0]),
    ]
    board = make_leaderboard(runs)
    assert [cell(board, m, "mmlu").value for m in "abc"] == [1, pytest.approx(0.5), pytest.approx(1 / 6)]
    shown = cell(board, "a", "mmlu")
    assert (shown.n, shown.n_failed, shown.n_total) == (2, 4, 6)
    # a and b tie on what both have, and both beat c.
    assert [cell(board, m, "mean win rate").value for m in "abc"] == [0.75, 0.75, 0.0]
    (note,) = [note for note in board.notes if "failed" in note]
    assert note.startswith("group mmlu: units that failed in exact_match: a 4 of 6; ")


def test_pairs_are_of_units_not_of_instances(tmp_path: Path) -> None:
    """Where one model lacks one train trial of an instance, that trial counts in neither."""
    ours: list[list[float | None]] = [[1, 1, 0.5], [0.5, None, 0]]
    theirs: list[list[float | None]] = [[1, 0, 0.5], [None, 1, 0.5]]
    first, second = store_run(tmp_path, "mmlu", "a", ours), store_run(tmp_path, "mmlu", "b", theirs)
    one, other = (ScoredRun(run, run.stat("exact_match")) for run in (first, second))
    found = Pairing().difference(one, other)
    assert found is not None
    # Instance by instance: trial 0 of the first two, both trials of the third.
    assert found.value == pytest.approx(((1 - 1) + (1 - 0) + (0.25 - 0.5)) / 3)
    # Train trials' means over the units of both.
    values = Pairing().common_values(one, other)
    assert values is not None
    assert values == pytest.approx(((2.5 / 3 + 0) / 2, (1.5 / 3 + 0.5) / 2))


SCORES = st.lists(st.sampled_from([0.0, 1.0, 0.25, None]), min_size=8, max_size=8)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SCORES, SCORES)
def test_any_units_may_be_missing(
    tmp_path_factory: pytest.TempPathFactory, ours: list[float | None], theirs: list[float | None]
) -> None:
    folder = tmp_path_factory.mktemp("suite")
    runs = [store_run(folder, "mmlu", "a", ours), store_run(folder, "mmlu", "b", theirs)]
    both = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    known = [[s for s in scores if s is not None] for scores in (ours, theirs)]
    if not all(known):
        return
    one, other = (ScoredRun(run, run.stat("exact_match")) for run in runs)
    gap = Pairing().difference(one, other)
    assert (gap is None) == (len(both) < 2)
    if gap is not None:
        assert gap.value == pytest.approx(sum(a - b for a, b in both) / len(both))
    if both:
        means = [sum(each) / len(both) for each in zip(*both, strict=True)]
        rates = [cell(make_leaderboard(runs), m, "mean win rate").value for m in "ab"]
        expected = 0.5 if means[0] == means[1] else float(means[0] > means[1])
        assert rates == [expected, 1 - expected]


def test_a_cell_is_the_mean_over_runs_not_over_instances(tmp_path: Path) -> None:
    runs = [
        store_run(tmp_path, "mmlu", "a", [1, 1, 0, 0], subject="x"),
        store_run(tmp_path, "mmlu", "a", [1] * 40, subject="y"),
    ]
    board = make_leaderboard(runs)
    shown = cell(board, "a", "mmlu")
    assert shown.value == pytest.approx(0.75)
    assert (shown.num_runs, shown.n, shown.n_total) == (2, 44, 44)
    assert cell(board, "a", "mean score").value == pytest.approx(0.75)
    assert board.rows[0].cells[0] is None


def test_runs_weigh_their_train_trials(tmp_path: Path) -> None:
    runs = [
        store_run(tmp_path, "mmlu", "a", [[1, 1], [1, 1], [1, 1]], subject="x"),
        store_run(tmp_path, "mmlu", "a", [0, 0], subject="y"),
    ]
    assert cell(make_leaderboard(runs), "a", "mmlu").value == pytest.approx(0.75)


def test_a_single_run_keeps_its_own_interval(tmp_path: Path) -> None:
    run = store_run(tmp_path, "mmlu", "a", [1, 1, 1, 0])
    shown = cell(make_leaderboard([run]), "a", "mmlu")
    assert shown.estimate.ci95 == pytest.approx(run.stat("exact_match").ci95)


def test_every_number_has_an_interval_around_it(tmp_path: Path) -> None:
    draw = random.Random(1)
    runs = [
        store_run(tmp_path, group, model, [draw.random() < 0.5 for _ in range(30)])
        for group in ("mmlu", "openbookqa", "gsm_like")
        for model in "abc"
    ]
    board = make_leaderboard(runs)
    assert [c.name for c in board.columns] == [
        "mean win rate",
        "mean score",
        "gsm_like",
        "mmlu",
        "openbookqa",
    ]
    for row in board.rows:
        for shown in row.cells:
            assert shown is not None
            assert shown.estimate.ci95 is not None
            assert shown.estimate.ci95[0] <= shown.value <= shown.estimate.ci95[1]
    assert make_leaderboard(runs) == board


def test_a_clear_gap_is_none_of_noise_and_a_small_one_is(tmp_path: Path) -> None:
    best, near, far = [1] * 60 + [0] * 40, [0, 1] + [1] * 58 + [0] * 40, [0] * 100
    runs = [
        store_run(tmp_path, "mmlu", name, s) for name, s in (("best", best), ("near", near), ("far", far))
    ]
    board = make_leaderboard(runs)
    assert cell(board, "best", "mmlu").is_best
    assert cell(board, "near", "mmlu").within_noise
    assert not cell(board, "far", "mmlu").within_noise
    assert cell(board, "near", "mean score").within_noise
    assert not cell(board, "far", "mean score").within_noise
    assert not cell(board, "best", "mmlu").within_noise


def test_the_same_questions_are_compared_pair_by_pair(tmp_path: Path) -> None:
    # 12 points apart: within the noise of two independent samples of 100, clear on the same 100 questions.
    best, other = [1] * 60 + [0] * 40, [1] * 48 + [0] * 52
    paired = [store_run(tmp_path / "p", "mmlu", m, s) for m, s in (("a", best), ("b", other))]
    assert not cell(make_leaderboard(paired), "b", "mmlu").within_noise
    apart = [store_run(tmp_path / "q", "mmlu", m, s, subject=m) for m, s in (("a", best), ("b", other))]
    assert cell(make_leaderboard(apart), "b", "mmlu").within_noise


def test_questions_on_one_passage_are_no_independent_evidence(tmp_path: Path) -> None:
    best, other = [1] * 60 + [0] * 40, [1] * 48 + [0] * 52
    passages = [f"p{i // 25}" for i in range(100)]
    runs = [
        store_run(tmp_path, "mmlu", m, s, instance_groups=passages) for m, s in (("a", best), ("b", other))
    ]
    assert cell(make_leaderboard(runs), "b", "mmlu").within_noise


def test_less_is_better_turns_the_order_round(tmp_path: Path) -> None:
    runs = [
        store_run(tmp_path, "the_pile", m, [v, v + 0.1], metric="bits_per_byte")
        for m, v in (("a", 2.0), ("b", 1.0))
    ]
    board = make_leaderboard(runs)
    assert cell(board, "b", "the_pile").is_best
    assert [row.model for row in board.rows] == ["b", "a"]
    assert cell(board, "b", "mean score").is_best


def test_no_mean_over_columns_of_different_directions(tmp_path: Path) -> None:
    runs = [
        store_run(tmp_path, "the_pile", "a", [1.0, 1.1], metric="bits_per_byte"),
        store_run(tmp_path, "mmlu", "a", [1, 0]),
    ]
    board = make_leaderboard(runs)
    assert board.rows[0].cells[1] is None
    assert any("no mean score" in note for note in board.notes)


def test_only_the_groups_asked_for_also_finer_ones(tmp_path: Path) -> None:
    runs = [store_run(tmp_path, "mmlu", "a", [1, 0], subject=s, groups=("mmlu", f"mmlu_{s}")) for s in "xy"]
    board = make_leaderboard(runs, groups=["mmlu_x"])
    assert [c.name for c in board.columns[2:]] == ["mmlu_x"]
    assert cell(board, "a", "mmlu_x").num_runs == 1
    with pytest.raises(UsageError, match="the runs are in these groups: mmlu, mmlu_x, mmlu_y"):
        make_leaderboard(runs, groups=["mmlu_z"])


def test_two_suites_are_two_rows(tmp_path: Path) -> None:
    runs = [store_run(tmp_path / s, "mmlu", "a", [1, 0]) for s in ("v1", "v2")]
    assert {row.model for row in make_leaderboard(runs).rows} == {"a (v1)", "a (v2)"}


def test_what_is_missing_is_noted(tmp_path: Path) -> None:
    runs = [
        store_run(tmp_path, "mmlu", "a", [1, 0]),
        store_run(tmp_path, "openbookqa", "a", [1, 0]),
        store_run(tmp_path, "mmlu", "b", [1, 1]),
        store_run(tmp_path, "loose", "b", [1, 1], groups=()),
    ]
    board = make_leaderboard(runs)
    assert "mean scores over fewer groups than others: b" in board.notes
    assert any("is in no run group" in note for note in board.notes)
