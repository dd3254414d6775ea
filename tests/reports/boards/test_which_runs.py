"""Which runs stand behind a leaf: the fullest, of its edition, with the numbers of the judge named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import evalkit.leaderboards.shipped  # noqa: F401 - registers them
from evalkit.errors import UsageError
from evalkit.leaderboards.tree_file import load_leaderboard
from evalkit.reports.boards.board import make_board
from evalkit.reports.leaderboard import make_leaderboard
from evalkit.results.stored_run import StoredRun
from evalkit.specs.run_spec import JudgeSpec, ScenarioSpec
from tests.reports.boards.test_board import NOW, leaf, stored, tree
from tests.reports.suites import store_run


def mt_bench(
    suite: Path, when: int, ratings: Sequence[float | None], *, name: str = "mt_bench_ja", **fields: Any
) -> StoredRun:
    """A run of a benchmark in two categories, half of the questions each."""
    half = len(ratings) // 2
    return store_run(
        suite,
        name,
        "m",
        ratings,
        "rating_turn_1",
        groups=("mt_bench", "mt_bench_ja"),
        directory_name=f"mt-{when}",
        sub_splits=["x"] * half + ["y"] * half,
        manifest={"digest": f"d{when}", "finished_at": NOW.format(when), **fields.pop("manifest", {})},
        **fields,
    )


def turn(category: str) -> dict[str, Any]:
    return leaf(category, group="mt_bench_ja", metric="rating_turn_1", sub_split=category)


@pytest.mark.parametrize("cut", ["testmode", "max_items", "-m", "question_end"])
def test_a_newer_try_with_fewer_questions_never_replaces_the_whole_run(tmp_path: Path, cut: str) -> None:
    """The rule is of the number of questions, however it was cut; and where both are as many, the newest."""
    args: dict[str, Any] = {"testmode": False, "max_items": None, "question_end": None}
    adapter = {"max_eval_instances": 2} if cut == "-m" else {}
    less = args if cut == "-m" else {**args, cut: True if cut == "testmode" else 2}
    runs = [
        mt_bench(tmp_path, 1, [8, 8, 6, 6], scenario=ScenarioSpec(name="mt_bench", args=args)),
        mt_bench(tmp_path, 2, [1, 1], scenario=ScenarioSpec(name="mt_bench", args=less), adapter=adapter),
    ]
    board = make_board(tree({"name": "t", "parts": [turn("x"), turn("y")]}), runs)
    cell = board.cell("m", "x")
    assert cell.estimate is not None
    assert (cell.estimate.value, cell.n, cell.num_left_out) == (8, 2, 1)
    (note,) = [note for note in board.notes if "differ in" in note]
    field = "max_eval_instances" if cut == "-m" else cut
    assert note.startswith(f"x, y: m has 2 runs that differ in {field}; shown: the newest of those with most")
    scenario = ScenarioSpec(name="mt_bench", args=args)
    runs.append(mt_bench(tmp_path, 3, [5, 5, 5, 5], scenario=scenario, adapter={"temperature": 0.5}))
    newest = make_board(tree(turn("x")), runs).cell("m", "x").estimate
    assert newest is not None
    assert newest.value == 5


def test_a_whole_run_of_which_most_failed_does_not_stand_before_one_that_did_not(tmp_path: Path) -> None:
    runs = [mt_bench(tmp_path, 1, [8, 8, 6, 6]), mt_bench(tmp_path, 2, [1, None, None, None, None, 1])]
    estimate = make_board(tree(turn("x")), runs).cell("m", "x").estimate
    assert estimate is not None
    assert estimate.value == 8


def test_numbers_over_a_part_of_the_benchmark_are_named_first(tmp_path: Path) -> None:
    runs = [mt_bench(tmp_path, 1, [8, 8], adapter={"max_eval_instances": 2})]
    board = make_board(tree({"name": "t", "parts": [turn("x"), turn("y")]}), runs)
    assert board.notes[0] == (
        "m: 2 of the numbers are over a part of the benchmark only (at most 2 instances): x, y"
    )


def test_unjudged_runs_are_one_note(tmp_path: Path) -> None:
    runs = [mt_bench(tmp_path, 1, [8, 8, 6, 6])]
    for when in range(2, 7):
        run = store_run(
            tmp_path,
            "mt_bench_ja",
            "m",
            [0.5] * 4,
            "other",
            directory_name=f"bare-{when}",
            sub_splits=["x", "x", "y", "y"],
        )
        waiting = run.run_spec.with_judges(JudgeSpec(name="mt_bench", is_optional=True))
        run.directory.write_run_spec(waiting)
        runs.append(StoredRun.open(run.directory.path))
    board = make_board(tree({"name": "t", "parts": [turn("x"), turn("y")]}), runs)
    assert board.notes == (
        "5 runs are left out of x, y (not judged yet, see evalkit judge): bare-2, bare-3, bare-4 and 2 more",
    )


def test_a_run_judged_again_brings_the_number_of_the_judge_that_is_named(tmp_path: Path) -> None:
    """Its own judge's scores have a label, since the published ones have the name."""
    published = ScenarioSpec(name="fastchat", args={"bench": "japanese_mt_bench", "judge": "gpt-4"})
    old = mt_bench(tmp_path, 1, [8, 8, 6, 6], scenario=published)
    again = mt_bench(tmp_path, 2, [8, 8, 6, 6], scenario=published)
    # The other judge gives 3 to all.
    stats = again.directory.stats()
    stats += [{**s, "name": f"mt_bench_{s['name']}", "mean": 3.0, "trial_means": [3.0]} for s in stats]
    again.directory.write_stats(stats)
    judge = JudgeSpec(name="mt_bench", label="mt_bench", deployments=("local/judge",))
    again.directory.write_run_spec(again.run_spec.with_judges(judge))
    runs = [old, StoredRun.open(again.directory.path)]
    for kind in ({"metric": "rating_turn_1"}, {"pool": ["rating_turn_1"]}):
        board = make_board(tree(leaf("x", group="mt_bench_ja", sub_split="x", **kind)), runs)
        cell = board.cell("m", "x")
        assert cell.estimate is not None
        assert cell.estimate.value == 3
        (note,) = [note for note in board.notes if "differ in" in note]
        assert "differ in judge; shown: the newest (judge=mt_bench by local/judge)" in note
        assert board.columns[0].metric == "rating_turn_1"
    assert not [note for note in board.notes if "different metrics" in note]


def test_the_same_benchmark_asked_here_and_imported_is_never_averaged(tmp_path: Path) -> None:
    runs = [
        mt_bench(tmp_path, 1, [8, 8, 6, 6], scenario=ScenarioSpec(name="fastchat", args={"judge": "gpt-4"})),
        mt_bench(tmp_path, 2, [2, 2, 6, 6], scenario=ScenarioSpec(name="mt_bench", args={})),
    ]
    cell = make_board(tree(turn("x")), runs).cell("m", "x")
    assert cell.estimate is not None
    assert (cell.estimate.value, cell.num_runs, cell.num_left_out) == (2, 1, 1)


@pytest.mark.parametrize(("name", "other"), [("neo", "turns"), ("nejumi3", None), ("nejumi4", None)])
def test_runs_in_the_form_of_another_edition_do_not_count(
    tmp_path: Path, name: str, other: str | None
) -> None:
    def asked(when: int, dataset: str, chat_style: str | None) -> StoredRun:
        return stored(
            tmp_path,
            dataset,
            "m",
            [1, 0],
            metric="jaster_exact_match",
            adapter={"chat_style": chat_style},
            scenario=ScenarioSpec(name="jaster", args={"dataset": dataset, "split": "test", "shots": 0}),
            manifest={"finished_at": NOW.format(when)},
        )

    own = "turns" if other is None else None
    board = load_leaderboard(name)
    runs = [asked(1, "jnli", own), asked(2, "jnli", other), asked(3, "janli", other)]
    made = make_board(board, runs)
    leaves = [n.name for n in board.leaves if "_0shot" in n.name and "control" not in n.name]
    leaf_of_jnli, leaf_of_janli = (
        next(each for each in leaves if each.startswith(f"{dataset}_")) for dataset in ("jnli", "janli")
    )
    cell = made.cell("m", leaf_of_jnli)
    assert (cell.num_runs, cell.num_left_out) == (1, 0)
    shown = {None: "none", "turns": "turns"}
    why = f"asked with chat_style {shown[other]}, where {shown[own]} counts"
    assert made.cell("m", leaf_of_janli).why == why
    assert any(why in note for note in made.notes)
    with pytest.raises(UsageError, match=f"no run has a number for this leaderboard: .*{why}"):
        make_board(board, runs[1:])


def test_a_group_that_no_run_has_is_named_with_the_nearest(tmp_path: Path) -> None:
    runs = [stored(tmp_path, "a", "m", [1, 0])]
    notes = make_board(tree(leaf("a"), leaf("b", group="mmul"), leaf("c", group="mmlu")), runs).notes
    assert "b: no run has the group 'mmul'; did you mean 'mmlu'?" in notes
    assert not [note for note in notes if note.startswith("c: no run has")]


def test_runs_that_are_not_judged_or_failed_say_so(tmp_path: Path) -> None:
    """Not that there were none of the group."""
    run = store_run(tmp_path, "mt_bench_ja", "m", [1], "rating_mean_of_items", directory_name="bare")
    run.directory.write_stats([])
    run.directory.write_run_spec(run.run_spec.with_judges(JudgeSpec(name="mt_bench", is_optional=True)))
    bare = StoredRun.open(run.directory.path)
    with pytest.raises(UsageError, match="not judged yet"):
        make_board(tree(turn("x")), [bare])
    with pytest.raises(UsageError, match="not judged yet"):
        make_leaderboard([bare], ["mt_bench_ja"])
    failed = [
        store_run(tmp_path, "mt_bench_ja", "m", [None, None], "rating_mean_of_items", directory_name="f")
    ]
    with pytest.raises(UsageError, match="all scores of these runs failed"):
        make_leaderboard(failed, ["mt_bench_ja"])
