"""Cells, mean scores and win rates by HELM's rules; intervals and marks of noise on top."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.reports.cell import Cell
from evalkit.reports.leaderboard import Leaderboard, make_leaderboard, mean_win_rates
from tests.reports.suites import store_run


def cell(board: Leaderboard, model: str, column: str) -> Cell:
    row = next(row for row in board.rows if row.model == model)
    position = [c.name for c in board.columns].index(column)
    found = row.cells[position]
    assert found is not None
    return found


def test_win_rates_are_shares_beaten_with_half_a_win_for_ties() -> None:
    columns = [({"a": 1.0, "b": 0.5, "c": 0.5}, False), ({"a": 2.0, "b": 1.0}, True), ({"c": 1.0}, False)]
    rates = mean_win_rates(columns)
    assert rates == {"a": 0.5, "b": pytest.approx((0.25 + 1) / 2), "c": 0.25}


def test_a_model_that_nothing_can_be_compared_with_has_no_win_rate() -> None:
    assert mean_win_rates([({"a": 1.0}, False)]) == {}


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
