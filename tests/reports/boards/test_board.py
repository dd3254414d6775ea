"""Leaderboards over stored runs: which run stands where, intervals, marks, ranks, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import UsageError
from evalkit.leaderboards.resolved import Leaderboard, resolve
from evalkit.leaderboards.tree import LeaderboardTree
from evalkit.reports.boards.board import Board, make_board
from evalkit.reports.boards.board_radar import radar_of, radar_spec
from evalkit.reports.boards.comparison import unpaired
from evalkit.reports.cell import Estimate
from evalkit.reports.leaderboard import make_leaderboard
from evalkit.results.stored_run import StoredRun
from evalkit.scoring.interval import wilson_interval
from evalkit.specs.run_spec import ScenarioSpec
from evalkit.statistics.paired import Differences, compare
from evalkit.statistics.ranks import RankInterval
from tests.reports.suites import store_run

NOW = "2026-01-01T00:00:0{}+00:00"


def tree(*parts: Mapping[str, Any], **fields: Any) -> Leaderboard:
    return resolve(LeaderboardTree.model_validate({"parts": parts, **fields}))


def leaf(name: str, **fields: Any) -> dict[str, Any]:
    args = fields.pop("args", {})
    return {"name": name, "runs": {"group": fields.pop("group", name), "args": args}, **fields}


def stored(
    suite: Path, group: str, model: str, scores: Sequence[Any], shots: int = 0, **fields: Any
) -> StoredRun:
    """A run with a number of examples; questions of one group are the same, whatever the number."""
    number = len(list(suite.glob("*"))) if suite.exists() else 0
    size = len(scores[0]) if isinstance(scores[0], list) else len(scores)
    adapter = {"max_train_instances": shots, **fields.pop("adapter", {})}
    return store_run(
        suite,
        group,
        model,
        scores,
        adapter=adapter,
        directory_name=f"{group}-{number}",
        manifest={"digest": f"d{number}", **fields.pop("manifest", {})},
        inputs=[f"{group} question {i}" for i in range(size)],
        scenario=fields.pop("scenario", ScenarioSpec(name=group, args={"subject": "", "split": "test"})),
        **fields,
    )


BOTH = tree({"name": "t", "parts": [leaf("a"), leaf("b", weight=3)]})


def test_a_leaf_is_the_runs_own_number_and_a_node_their_mean(tmp_path: Path) -> None:
    runs = [stored(tmp_path, "a", "m", [1, 1, 0, 0]), stored(tmp_path, "b", "m", [1, 1, 1, 0])]
    board = make_board(BOTH, runs)
    (row,) = board.rows
    assert (row.model, row.rank, row.n, row.num_present, row.num_leaves) == ("m", 1, 8, 2, 2)
    a, t = board.cell("m", "a"), board.cell("m", "t")
    assert a.estimate is not None
    assert a.estimate.value == 0.5
    assert a.estimate.ci95 == pytest.approx(wilson_interval(0.5, 4))
    assert t.estimate is not None
    assert t.estimate.value == pytest.approx((0.5 + 3 * 0.75) / 4)
    # The interval of a weighted mean of independent numbers: limits by the squares of weighted distances.
    low_a, low_b = 0.5 - wilson_interval(0.5, 4)[0], 0.75 - wilson_interval(0.75, 4)[0]
    assert t.estimate.ci95 is not None
    assert t.estimate.ci95[0] == pytest.approx(t.estimate.value - math.hypot(low_a / 4, 3 * low_b / 4))
    assert (t.status, t.missing, t.num_runs, t.n, board.columns[0].level) == ("value", (), 2, 8, 1)


@pytest.mark.parametrize(
    ("policy", "status"), [("withhold", "withheld"), ("present", "partial"), ("zero", "partial")]
)
def test_what_is_missing_is_said(tmp_path: Path, policy: Any, status: str) -> None:
    tried = tree({"name": "t", "parts": [leaf("a"), leaf("b", weight=3)]}, missing=policy)
    runs = [stored(tmp_path, "a", "m", [1, 1, 0, 0])]
    board = make_board(tried, runs)
    total, b = board.cell("m", "t"), board.cell("m", "b")
    value = None if total.estimate is None else total.estimate.value
    assert value == {"withhold": None, "present": 0.5, "zero": 0.125}[policy]
    assert (total.status, total.missing, total.num_present, total.num_leaves) == (status, ("b",), 1, 2)
    assert (b.status, b.why, b.estimate) == ("missing", "no run", None)
    assert "m: 1 of 2 leaves is missing (no run): b" in board.notes
    assert board.rows[0].rank == (None if policy == "withhold" else 1)


def test_runs_without_the_metric_are_missing_with_their_reason(tmp_path: Path) -> None:
    tried = tree({"name": "t", "missing": "present", "parts": [leaf("a", metric="other"), leaf("b")]})
    runs = [stored(tmp_path, "a", "m", [1, 0]), stored(tmp_path, "b", "m", [1, 0])]
    board = make_board(tried, runs)
    assert board.cell("m", "a").why == "no other in its run"
    assert "m: 1 of 2 leaves is missing (no other in its run): a" in board.notes


def test_an_argument_that_no_run_has_is_said(tmp_path: Path) -> None:
    tried = tree(leaf("a", args={"shoots": 4}), leaf("b"))
    runs = [stored(tmp_path, "a", "m", [1, 0]), stored(tmp_path, "b", "m", [1, 0])]
    assert "a: no run is taken: none of its group has an argument 'shoots'" in make_board(tried, runs).notes


def test_shots_and_arguments_choose_the_run(tmp_path: Path) -> None:
    runs = [stored(tmp_path, "a", "m", [1, 1], shots=0), stored(tmp_path, "a", "m", [1, 0], shots=4)]
    runs += [stored(tmp_path, "a", "n", [0, 0], shots=4)]
    parts = [leaf(f"a{k}", group="a", args={"shots": k, "split": ["test", "dev"]}) for k in (0, 4)]
    board = make_board(tree({"name": "t", "missing": "present", "parts": parts}), runs)
    values = {
        (r.model, c.name): cell.estimate and cell.estimate.value
        for r in board.rows
        for c, cell in zip(board.columns, r.cells, strict=True)
    }
    assert values == {
        ("m", "t"): 0.75,
        ("m", "a0"): 1,
        ("m", "a4"): 0.5,
        ("n", "t"): 0,
        ("n", "a0"): None,
        ("n", "a4"): 0,
    }
    assert not [note for note in board.notes if "differ" in note]


def test_settings_are_never_averaged(tmp_path: Path) -> None:
    """Two temperatures, and a try with fewer items: one of them is shown, and a note says so."""
    runs = [
        stored(tmp_path, "a", "m", [1, 1, 1, 1], manifest={"finished_at": NOW.format(1)}),
        stored(
            tmp_path,
            "a",
            "m",
            [0, 0, 0, 0],
            adapter={"temperature": 0.7},
            manifest={"finished_at": NOW.format(3)},
        ),
        stored(
            tmp_path,
            "a",
            "m",
            [1, 0],
            scenario=ScenarioSpec(name="a", args={"subject": "", "split": "test", "max_items": 2}),
            manifest={"finished_at": NOW.format(2)},
        ),
    ]
    board = make_board(tree(leaf("a")), runs)
    cell = board.cell("m", "a")
    assert cell.estimate is not None
    assert (cell.estimate.value, cell.num_runs, cell.num_left_out) == (0, 1, 2)
    (note,) = [note for note in board.notes if "differ" in note]
    assert note.startswith("a: m has 3 runs that differ in ")
    assert "temperature" in note
    assert "max_items" in note
    assert "shown: the newest" in note


def test_arguments_in_mean_over_are_averaged(tmp_path: Path) -> None:
    def subject(name: str, scores: list[int], **adapter: Any) -> StoredRun:
        spec = ScenarioSpec(name="mmlu", args={"subject": name})
        return stored(tmp_path, "mmlu", "m", scores, scenario=spec, adapter=adapter)

    runs = [
        subject("x", [1, 1, 1, 0]),
        subject("y", [1, 0, 0, 0]),
        subject("x", [0, 0, 0, 0], temperature=0.5),
    ]
    board = make_board(tree(leaf("mmlu", mean_over=["subject"])), runs)
    cell = board.cell("m", "mmlu")
    assert cell.estimate is not None
    assert (cell.estimate.value, cell.num_runs, cell.num_left_out) == (0.5, 2, 1)
    alone = make_board(tree(leaf("mmlu")), runs[:2]).cell("m", "mmlu")
    assert (alone.num_runs, alone.num_left_out) == (1, 1)


def test_models_asked_in_different_ways_have_a_note(tmp_path: Path) -> None:
    runs = [stored(tmp_path, "a", "m", [1, 0]), stored(tmp_path, "b", "m", [1, 0])]
    runs += [stored(tmp_path, g, "n", [1, 0], adapter={"max_eval_instances": 2}) for g in "ab"]
    notes = make_board(BOTH, runs).notes
    assert "a, b: its numbers differ in max_eval_instances: none (m), 2 (n)" in notes


def test_models_with_different_judges_or_prompts_have_a_note(tmp_path: Path) -> None:
    def judged(model: str, judge: str, **adapter: Any) -> StoredRun:
        spec = ScenarioSpec(name="fastchat", args={"bench": "b", "judge": judge})
        return stored(tmp_path, "a", model, [1, 0], scenario=spec, adapter=adapter)

    runs = [judged("m", "gpt-4"), judged("n", "gpt-4o"), judged("o", "gpt-4", chat_style="turns")]
    notes = make_board(tree(leaf("a")), runs).notes
    assert "a: its numbers differ in judge: gpt-4 (m, o), gpt-4o (n)" in notes
    assert "a: its numbers differ in chat_style: none (m, n), turns (o)" in notes


def test_suites_are_rows_or_are_merged(tmp_path: Path) -> None:
    runs = [stored(tmp_path / "s1", "a", "m", [1, 1]), stored(tmp_path / "s2", "b", "m", [0, 0])]
    apart = make_board(BOTH, runs)
    assert [row.model for row in apart.rows] == ["m (s1)", "m (s2)"]
    merged = make_board(BOTH, runs, by_suite=False)
    assert [row.model for row in merged.rows] == ["m"]
    total = merged.cell("m", "t").estimate
    assert total is not None
    assert total.value == 0.25


def test_sub_splits_and_pooled_scores(tmp_path: Path) -> None:
    """Categories of one run; a category is the mean over its questions and turns."""
    names = ["x", "x", "y", "y"]
    runs = [store_run(tmp_path, "mt", "m", [8, 6, 2, 4], "rating", sub_splits=names)]
    parts = [leaf(c, group="mt", metric="rating", sub_split=c, scale=[0, 10]) for c in "xy"]
    board = make_board(tree({"name": "t", "parts": parts}), runs)
    found = {c.name: board.cell("m", c.name) for c in board.columns}
    assert {n: c.estimate and c.estimate.value for n, c in found.items()} == pytest.approx(
        {"t": 0.5, "x": 0.7, "y": 0.3}
    )
    assert {n: c.n for n, c in found.items()} == {"t": 4, "x": 2, "y": 2}
    # Two categories of one run have no question in common: their variances add, each standard error being
    # 0.1, and Student's t has the degrees of freedom of both.
    low = {
        n: c.estimate.value - c.estimate.ci95[0] for n, c in found.items() if c.estimate and c.estimate.ci95
    }
    assert low["t"] == pytest.approx(4.302653 * math.sqrt(2) * 0.1 / 2, rel=1e-6)


def test_units_behind_several_leaves_are_counted_once(tmp_path: Path) -> None:
    """A run as a whole and its categories, and one run in two leaves."""
    runs = [
        store_run(tmp_path, "mt", "m", [8, 6, None, 4], "rating", sub_splits=["x", "x", "y", "y"]),
        stored(tmp_path, "a", "m", [1, 0]),
    ]
    parts = [leaf(c, group="mt", sub_split=c) for c in "xy"]
    parts += [leaf("all", group="mt"), leaf("a"), leaf("a again", group="a")]
    board = make_board(tree({"name": "t", "parts": parts}), runs)
    (row,) = board.rows
    assert (row.n, row.n_failed, row.n_total) == (5, 1, 6)
    assert (board.cell("m", "t").n, board.cell("m", "y").n, board.cell("m", "y").n_failed) == (5, 1, 1)


def test_questions_asked_twice_are_not_twice_the_evidence(tmp_path: Path) -> None:
    runs = [stored(tmp_path, "a", "m", [1, 1, 0, 0, 1], shots=k) for k in (0, 4)]
    parts = [leaf(f"a{k}", group="a", args={"shots": k}) for k in (0, 4)]
    board = make_board(tree({"name": "t", "parts": parts}), runs)
    both, one = board.cell("m", "t").estimate, board.cell("m", "a0").estimate
    assert both is not None
    assert one is not None
    assert both.ci95 == pytest.approx(one.ci95)


def test_a_scale_that_turns_round(tmp_path: Path) -> None:
    runs = [store_run(tmp_path, "a", m, v, "bits_per_byte") for m, v in (("good", [1, 2]), ("bad", [3, 4]))]
    plain = make_board(tree(leaf("a")), runs)
    assert (plain.columns[0].less_is_better, [r.model for r in plain.rows]) == (True, ["good", "bad"])
    assert plain.cell("good", "a").is_best
    turned = make_board(tree(leaf("a", scale=[5, 0])), runs)
    assert (turned.columns[0].less_is_better, [r.model for r in turned.rows]) == (False, ["good", "bad"])
    estimate = turned.cell("good", "a").estimate
    assert estimate is not None
    assert estimate.value == pytest.approx(0.7)
    assert estimate.ci95 is not None
    assert estimate.ci95[0] < 0.7 < estimate.ci95[1]


def test_directions_are_not_mixed(tmp_path: Path) -> None:
    runs = [store_run(tmp_path, "a", "m", [1, 2], "bits_per_byte"), stored(tmp_path, "b", "m", [1, 0])]
    with pytest.raises(UsageError, match=r"'t' is made of 'a' \(bits_per_byte\).*a scale such as \[1, 0\]"):
        make_board(BOTH, runs)
    make_board(tree({"name": "t", "parts": [leaf("a", scale=[10, 0]), leaf("b")]}), runs)


# Ranks

GOOD, FAIR, POOR = [1] * 36 + [0] * 4, [1] * 24 + [0] * 16, [0] * 30 + [1] * 10


def test_ranks_are_by_questions_over_all_leaves(tmp_path: Path) -> None:
    scores = {"x": (GOOD, GOOD), "y": (GOOD, [1] * 35 + [0] * 5), "z": (POOR, POOR)}
    runs = [stored(tmp_path, g, m, v) for m, both in scores.items() for g, v in zip("ab", both, strict=True)]
    board = make_board(BOTH, runs)
    assert [(row.model, row.rank, row.ranks) for row in board.rows] == [
        ("x", 1, RankInterval(1, 2)),
        ("y", 2, RankInterval(1, 2)),
        ("z", 3, RankInterval(3, 3)),
    ]
    assert board.rank_method == "comparison"
    marks = {row.model: (row.cells[0].is_best, row.cells[0].within_noise) for row in board.rows}
    assert marks == {"x": (True, False), "y": (False, True), "z": (False, False)}


def test_the_mark_of_noise_is_the_paired_test(tmp_path: Path) -> None:
    """By hand: the differences per question of both leaves, with their weights, as one test."""
    first = {"a": [1, 1, 1, 0, 1, 1, 1, 1], "b": [1, 0, 1, 1, 1, 1, 0, 1]}
    second = {"a": [1, 0, 0, 0, 1, 0, 1, 0], "b": [1, 0, 0, 1, 0, 1, 0, 0]}
    runs = [stored(tmp_path, g, m, v[g]) for m, v in (("x", first), ("y", second)) for g in "ab"]
    board = make_board(BOTH, runs)
    tested = compare(
        [
            Differences(
                [a - b for a, b in zip(first[g], second[g], strict=True)], [f"{g}{i}" for i in range(8)], w
            )
            for g, w in (("a", 0.25), ("b", 0.75))
        ]
    )
    assert tested.p_value is not None
    assert board.cell("y", "t").within_noise == (tested.p_value > 0.05)
    assert not board.cell("y", "t").within_noise


@pytest.mark.parametrize("scale", [[0, 1], [4, 0]])
def test_the_lower_error_has_the_better_rank(tmp_path: Path, scale: list[float]) -> None:
    """Where less is better as it is, and where a scale turns it round."""
    low, high = [1.0, 1.5, 1.2, 1.1] * 10, [3.0, 2.5, 3.2, 3.1] * 10
    runs = [store_run(tmp_path, "a", m, v, "bits_per_byte") for m, v in (("bad", high), ("good", low))]
    board = make_board(tree(leaf("a", scale=scale)), runs)
    assert [(row.model, row.ranks) for row in board.rows] == [
        ("good", RankInterval(1, 1)),
        ("bad", RankInterval(2, 2)),
    ]
    assert not board.cell("bad", "a").within_noise


def test_numbers_over_the_whole_run_are_compared_by_their_intervals(tmp_path: Path) -> None:
    """No score per question: independent, with the width of both intervals."""
    runs = [stored(tmp_path, "a", m, v) for m, v in (("x", GOOD), ("y", POOR))]
    for run in runs:
        scores = run.directory.scores_path
        scores.write_text(scores.read_text().replace('"exact_match"', '"other"'), encoding="utf-8")
    board = make_board(tree(leaf("a")), runs)
    assert [(row.model, row.ranks) for row in board.rows] == [
        ("x", RankInterval(1, 1)),
        ("y", RankInterval(2, 2)),
    ]


def test_equal_models_share_a_rank(tmp_path: Path) -> None:
    runs = [stored(tmp_path, g, m, FAIR) for m in "xyz" for g in "ab"]
    board = make_board(BOTH, runs)
    assert [(row.rank, row.ranks) for row in board.rows] == [(1, RankInterval(1, 3))] * 3
    assert all(row.cells[0].is_best for row in board.rows)


def test_a_model_over_fewer_leaves_has_no_rank(tmp_path: Path) -> None:
    tried = tree({"name": "t", "missing": "present", "parts": [leaf("a"), leaf("b")]})
    runs = [stored(tmp_path, g, "x", FAIR) for g in "ab"] + [stored(tmp_path, "a", "y", GOOD)]
    board = make_board(tried, runs)
    assert [(row.model, row.rank, row.ranks) for row in board.rows] == [
        ("x", 1, RankInterval(1, 1)),
        ("y", None, None),
    ]
    assert not board.cell("y", "t").is_best
    assert board.cell("x", "t").is_best
    assert board.cell("y", "a").is_best


def test_models_over_different_leaves_are_not_compared(tmp_path: Path) -> None:
    tried = tree({"name": "t", "missing": "present", "parts": [leaf("a"), leaf("b")]})
    board = make_board(tried, [stored(tmp_path, "a", "x", GOOD), stored(tmp_path, "b", "y", POOR)])
    assert [(row.model, row.rank, row.ranks) for row in board.rows] == [
        ("x", 1, RankInterval(1, 2)),
        ("y", 2, RankInterval(1, 2)),
    ]
    assert board.cell("y", "t").within_noise


def test_failed_units_count_in_no_mean(tmp_path: Path) -> None:
    runs = [stored(tmp_path, "a", "m", [1, 1, None, 0]), stored(tmp_path, "b", "m", [1, 1, 1, 1])]
    cell = make_board(BOTH, runs).cell("m", "a")
    assert cell.estimate is not None
    assert cell.estimate.value == pytest.approx(2 / 3)
    assert (cell.n, cell.n_failed, cell.n_total) == (3, 1, 4)


WIN = {"combine": "win_rate", "missing": "present"}


def test_win_rates_are_those_of_summarize(tmp_path: Path) -> None:
    scores: dict[str, list[Any]] = {
        "x": [GOOD, FAIR, POOR],
        "y": [FAIR, GOOD, None],
        "z": [POOR, FAIR, [None] * 10 + GOOD[:30]],
    }
    runs = [
        stored(tmp_path, g, m, v)
        for m, of_model in scores.items()
        for g, v in zip("abc", of_model, strict=True)
        if v is not None
    ]
    board = make_board(tree({"name": "w", **WIN, "parts": [leaf(g) for g in "abc"]}), runs)
    known = make_leaderboard(runs)
    for row in known.rows:
        cell = row.cells[0]
        assert cell is not None
        estimate = board.cell(row.model, "w").estimate
        assert estimate is not None
        assert estimate.value == cell.value
        assert estimate.ci95 == pytest.approx(cell.estimate.ci95)
    assert board.rank_method == "draws"
    assert [row.model for row in board.rows if row.rank is None] == ["y"]
    assert {row.rank for row in board.rows if row.model != "y"} <= {1, 2}


def test_models_can_be_chosen(tmp_path: Path) -> None:
    runs = [stored(tmp_path, g, m, FAIR) for m in "xyz" for g in "ab"]
    board = make_board(BOTH, runs, models=["z", "x"])
    assert {row.model for row in board.rows} == {"x", "z"}
    with pytest.raises(UsageError, match="no row is called 'v'; there are x, y, z"):
        make_board(BOTH, runs, models=["v"])


def test_no_number_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"asks for the groups a, b; the runs are in these: c"):
        make_board(BOTH, [stored(tmp_path, "c", "m", [1])])


# Charts


def chart(board: Leaderboard, filled: Board, *axes: str) -> Any:
    return radar_of(filled, radar_spec(board, axes))


def test_a_chart_has_what_the_board_has(tmp_path: Path) -> None:
    parts = [leaf("a"), leaf("b"), leaf("c"), leaf("d", scale=[0, 4])]
    radars = [
        {"name": "r", "title": "R", "axes": ["a", "b", "c"]},
        {"name": "s", "axes": ["b", "t", "a"], "range": [0, 2]},
    ]
    tried = tree({"name": "t", "missing": "present", "parts": parts}, radars=radars, title="T")
    runs = [stored(tmp_path, g, "x", [1, 1, 0, 0]) for g in "ab"] + [stored(tmp_path, "c", "y", [1, 0])]
    filled = make_board(tried, runs)
    found = chart(tried, filled)
    assert (found.title, found.axes, (found.low, found.high)) == ("R", ("a", "b", "c"), (0, 1))
    assert [(s.label, s.values) for s in found.series] == [("x", (0.5, 0.5, None)), ("y", (None, None, 0.5))]
    assert found.series[0].intervals[0] == pytest.approx(wilson_interval(0.5, 4))
    other = chart(tried, filled, "s")
    assert (other.title, other.axes, other.high) == ("T", ("b", "t", "a"), 2)
    assert any("Over some of their leaves only: x, t (2/4); y, t (1/4)" in note for note in other.notes)
    assert chart(tried, filled, "a", "t", "c").axes == ("a", "t", "c")
    with pytest.raises(UsageError, match="three columns or more, and this one has 2"):
        radar_spec(tried, ["a", "b"])
    with pytest.raises(UsageError, match="unknown chart or column 'zz'"):
        radar_spec(tried, ["zz"])


def test_axes_where_less_is_better_are_turned_round(tmp_path: Path) -> None:
    tried = tree({"name": "t", "combine": "none", "parts": [leaf("a"), leaf("b"), leaf("c")]})
    runs = [store_run(tmp_path, "a", "m", [0.2, 0.3], "toxic_frac")]
    runs += [store_run(tmp_path, g, "m", [2.0, 2.0]) for g in "bc"]
    found = chart(tried, make_board(tried, runs))
    assert found.axes[0] == "a (less is better, turned round)"
    assert found.series[0].values[0] == pytest.approx(0.75)
    low, high = found.series[0].intervals[0]
    assert low < 0.75 < high
    assert any(note.startswith("Outside of 0 to 1, and drawn at its end: m, b (2)") for note in found.notes)


@pytest.mark.parametrize("combine", ["mean", "win_rate"])
def test_a_number_is_over_the_leaves_that_count_in_it_and_not_over_those_of_a_withheld_part(
    tmp_path: Path, combine: str
) -> None:
    parts = [{"name": "p", "missing": "withhold", "parts": [leaf("a"), leaf("b")]}, leaf("c")]
    runs = [
        stored(tmp_path, "a", "m", [1, 1, 1]),
        stored(tmp_path, "c", "m", [1, 0]),
        *(stored(tmp_path, group, "whole", [1, 0]) for group in "abc"),
    ]
    board = make_board(tree({"name": "t", "missing": "present", "combine": combine, "parts": parts}), runs)
    t, p = board.cell("m", "t"), board.cell("m", "p")
    assert t.estimate is not None
    assert t.estimate.value == 0.5
    assert (t.num_present, t.missing, t.n, t.status) == (1, ("a", "b"), 2, "partial")
    assert (p.estimate, p.num_present, p.status) == (None, 1, "withheld")
    assert [row.rank for row in board.rows if row.model == "m"] == [None]


def test_a_missing_part_never_counts_as_the_best(tmp_path: Path) -> None:
    wer = [leaf(name, metric="wer_score") for name in "ab"]
    runs = [stored(tmp_path, "a", "m", [0.5, 0.5], metric="wer_score")]
    runs += [stored(tmp_path, group, "whole", [0.4, 0.4], metric="wer_score") for group in "ab"]
    with pytest.raises(UsageError, match=r"'t' counts missing parts as 0, which is the best"):
        make_board(tree({"name": "t", "missing": "zero", "parts": wer}), runs)
    turned = [leaf(name, metric="wer_score", scale=[1, 0]) for name in "ab"]
    board = make_board(tree({"name": "t", "missing": "zero", "parts": turned}), runs)
    estimate = board.cell("m", "t").estimate
    assert estimate is not None
    assert estimate.value == pytest.approx(0.25)


def test_a_metric_that_no_run_has_is_named_with_those_they_have(tmp_path: Path) -> None:
    runs = [stored(tmp_path, "a", "m", [1, 0])]
    said = "'a': no exakt in its run; the scores of the runs are exact_match"
    with pytest.raises(UsageError, match=said):
        make_board(tree(leaf("a", metric="exakt")), runs)


def test_a_leaf_of_which_all_units_failed_says_so(tmp_path: Path) -> None:
    runs = [stored(tmp_path, "a", "m", [1, 0])]
    runs.append(store_run(tmp_path, "b", "m", [None, None], adapter={"max_train_instances": 0}))
    board = make_board(BOTH, runs)
    assert board.cell("m", "b").why == "no score in its run, of which all units failed"


def test_one_question_tells_no_models_apart(tmp_path: Path) -> None:
    runs = [
        stored(tmp_path, group, model, [score]) for group in "ab" for model, score in (("m", 1), ("k", 0))
    ]
    board = make_board(BOTH, runs)
    assert [(row.model, row.rank, row.ranks) for row in board.rows] == [
        ("m", 1, RankInterval(1, 2)),
        ("k", 2, RankInterval(1, 2)),
    ]
    assert board.cell("k", "t").within_noise


def test_numbers_without_questions_in_common_go_by_the_limits_that_face_each_other() -> None:
    """Of two right and of two wrong answers the Wilson limits are 0.342 and 0.658: hardly a difference."""
    right, wrong = Estimate(1.0, wilson_interval(1, 2)), Estimate(0.0, wilson_interval(0, 2))
    for first, second, ahead in ((right, wrong, 1.0), (wrong, right, -1.0)):
        found = unpaired(first, second)
        assert found is not None
        assert found[0].value == ahead
        assert found[0].stderr == pytest.approx(math.hypot(1 - 0.34238, 0.65762) / 1.95996, rel=1e-4)
    assert unpaired(right, Estimate(0.0, None)) is None


@pytest.mark.parametrize("num_models", [2, 30])
def test_a_rank_lies_in_its_interval_where_all_models_tie(tmp_path: Path, num_models: int) -> None:
    runs = [stored(tmp_path, "a", f"m{k:02}", [0, 1] * 10) for k in range(num_models)]
    for combine in ("mean", "win_rate"):
        board = make_board(tree({"name": "t", "combine": combine, "parts": [leaf("a")]}), runs)
        assert {(row.rank, row.ranks) for row in board.rows} == {(1, RankInterval(1, num_models))}
