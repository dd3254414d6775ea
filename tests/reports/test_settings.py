"""Runs that asked the same questions in several settings: a cell shows one of them, and a note says so."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.reports.cell import Estimate, mean_of
from evalkit.reports.leaderboard import make_leaderboard
from evalkit.results.stored_run import StoredRun
from evalkit.scoring.interval import wilson_interval
from evalkit.specs.run_spec import DataAugmenterSpec, PerturbationSpec, ScenarioSpec
from tests.cli.conftest import Call, call, in_an_empty_directory  # noqa: F401 - fixtures
from tests.reports.suites import store_run
from tests.reports.test_leaderboard import cell


def kept(suite: Path, number: int, scores: Sequence[float], **more: Any) -> StoredRun:
    """Run `number` of a model that was asked again and again, a minute apart."""
    manifest = {"finished_at": f"2026-01-01T00:{number:02d}:00+00:00", **more.pop("manifest", {})}
    group, model = more.pop("group", "gsm_like"), more.pop("model", "a")
    return store_run(suite, group, model, scores, directory_name=f"r{number}", manifest=manifest, **more)


def three(suite: Path) -> list[StoredRun]:
    twenty = [1] * 13 + [0] * 7
    return [
        kept(suite, 1, twenty[:10], adapter={"max_eval_instances": 10, "temperature": 0}),
        kept(suite, 2, twenty, adapter={"max_eval_instances": 20, "temperature": 0}),
        kept(suite, 3, twenty, adapter={"max_eval_instances": 20, "temperature": 0.7}),
    ]


def test_the_newest_setting_stands_in_the_cell_with_its_own_interval(tmp_path: Path) -> None:
    board = make_leaderboard(three(tmp_path))
    shown = cell(board, "a", "gsm_like")
    assert (shown.value, shown.num_runs, shown.n, shown.num_left_out) == (0.65, 1, 20, 2)
    assert shown.estimate.ci95 == pytest.approx(wilson_interval(0.65, 20))
    assert cell(board, "a", "mean score").estimate == shown.estimate
    [note] = board.notes
    assert note == (
        "group gsm_like: a has 3 runs that differ in max_eval_instances, temperature; "
        "shown: the newest (max_eval_instances=20, temperature=0.7); --all-runs shows each setting"
    )


def test_all_runs_give_each_setting_a_row(tmp_path: Path) -> None:
    board = make_leaderboard(three(tmp_path), all_runs=True)
    assert {row.model for row in board.rows} == {
        "a (max_eval_instances=20, temperature=0.7)",
        "a (max_eval_instances=20, temperature=0)",
        "a (max_eval_instances=10, temperature=0)",
    }
    assert all(cell(board, row.model, "gsm_like").num_runs == 1 for row in board.rows)
    assert any("each setting has a row" in note for note in board.notes)


def test_a_row_of_all_runs_keeps_its_other_columns(tmp_path: Path) -> None:
    """Only one of the groups was asked twice: the row that is shown by default has both."""
    runs = [*three(tmp_path)[1:], store_run(tmp_path, "other", "a", [1, 0])]
    board = make_leaderboard(runs, all_runs=True)
    shown = {row.model: [each is not None for each in row.cells[2:]] for row in board.rows}
    assert shown == {"a (temperature=0.7)": [True, True], "a (temperature=0)": [True, False]}


def test_an_edited_data_file_is_named_by_short_digests(tmp_path: Path) -> None:
    runs = [
        kept(tmp_path, number, [1, 0], manifest={"identity": {"data_digest": str(number) * 64}})
        for number in (1, 2)
    ]
    [note] = make_leaderboard(runs).notes
    assert "differ in data_digest; shown: the newest (data_digest=22222222)" in note


def test_the_same_answers_scored_by_other_metrics_count_once(tmp_path: Path) -> None:
    runs = [
        kept(tmp_path, 1, [1, 1, 0, 0], metrics=["exact_match"]),
        kept(tmp_path, 2, [1, 1, 0, 0], metrics=["exact_match", "f1_score"]),
    ]
    board = make_leaderboard(runs)
    shown = cell(board, "a", "gsm_like")
    assert (shown.num_runs, shown.n, shown.num_left_out) == (1, 4, 1)
    assert "2 runs that differ in metric_specs; shown: the newest" in board.notes[0]


def test_subjects_are_put_together_as_ever(tmp_path: Path) -> None:
    subjects = [f"s_{number}" for number in range(57)]
    runs = [
        kept(
            tmp_path,
            number,
            [1, 0, 1, 1],
            group="mmlu",
            subject=subject,
            adapter={"instructions": f"Questions about {subject.replace('_', ' ')}."},
            inputs=[f"{subject} {i}" for i in range(4)],
        )
        for number, subject in enumerate(subjects)
    ]
    board = make_leaderboard(runs)
    shown = cell(board, "a", "mmlu")
    assert (shown.num_runs, shown.n, shown.num_left_out) == (57, 228, 0)
    part = Estimate(0.75, runs[0].stat("exact_match").ci95)
    assert shown.estimate.ci95 == pytest.approx(mean_of([part] * 57).ci95)
    assert board.notes == ()


def test_the_setting_of_most_subjects_is_shown_whole(tmp_path: Path) -> None:
    runs = [
        kept(tmp_path, number, [1, 0], group="mmlu", subject=subject, adapter={"temperature": 0})
        for number, subject in enumerate(("anatomy", "law", "physics"))
    ]
    # One subject tried again with another prompt: not a reason to mix it with the others.
    again = {"temperature": 0, "instructions": "Think hard."}
    runs.append(kept(tmp_path, 8, [0, 0], group="mmlu", subject="law", adapter=again))
    board = make_leaderboard(runs)
    assert cell(board, "a", "mmlu").value == pytest.approx(0.5)
    assert cell(board, "a", "mmlu").num_runs == 3
    assert "differ in instructions; shown: the newest of the setting with most questions" in board.notes[0]


def test_prompts_that_name_their_subject_are_compared_without_it(tmp_path: Path) -> None:
    def asked(number: int, subject: str, text: str, scores: Sequence[float]) -> StoredRun:
        return kept(
            tmp_path,
            number,
            scores,
            group="mmlu",
            subject=subject,
            adapter={"instructions": text.format(subject)},
            inputs=[f"{subject} {i}" for i in range(2)],
        )

    runs = [
        asked(1, "anatomy", "About {}.", [0, 0]),
        asked(2, "anatomy", "Now: {}.", [1, 1]),
        asked(3, "law", "Now: {}.", [1, 1]),
        asked(4, "law", "About {}.", [0, 0]),
        asked(5, "physics", "Now: {}.", [1, 1]),
    ]
    board = make_leaderboard(runs)
    assert (cell(board, "a", "mmlu").value, cell(board, "a", "mmlu").num_runs) == (1.0, 3)


def test_a_run_that_was_stopped_does_not_stand_before_one_that_ended(tmp_path: Path) -> None:
    runs = [
        kept(tmp_path, 1, [1, 1, 1, 0], adapter={"temperature": 0}),
        kept(tmp_path, 2, [0], adapter={"temperature": 1}, manifest={"status": "interrupted"}),
    ]
    board = make_leaderboard(runs)
    assert cell(board, "a", "gsm_like").value == 0.75
    assert "shown: the newest that ended" in board.notes[0]


@pytest.mark.parametrize(
    ("field", "first", "second"),
    [
        ("deployment.revision", {"deployment": {"revision": "a"}}, {"deployment": {"revision": "b"}}),
        ("data_digest", {"data_digest": "x"}, {"data_digest": "y"}),
        ("versions.scenario", {"versions": {"scenario": 1}}, {"versions": {"scenario": 2}}),
        ("imported.sha256", {}, {"imported": {"sha256": "f"}}),
    ],
)
def test_whatever_identifies_a_run_tells_settings_apart(
    tmp_path: Path, field: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    runs = [
        kept(tmp_path, number, [1, 0], manifest={"identity": identity})
        for number, identity in enumerate((first, second))
    ]
    board = make_leaderboard(runs)
    assert cell(board, "a", "gsm_like").num_runs == 1
    assert f"differ in {field}" in board.notes[0]


def imported(suite: Path, number: int, inputs: Sequence[str], harness: str, **args: str) -> StoredRun:
    scenario = ScenarioSpec(name=harness, args={"task": "t", **args})
    identity = {"identity": {"imported": {"run": str(number)}}}
    scores = [1, 0] * (len(inputs) // 2)
    return kept(suite, number, scores, scenario=scenario, inputs=inputs, manifest=identity)


def test_two_imports_of_one_task_are_two_settings_of_it(tmp_path: Path) -> None:
    questions = [f"question {i}" for i in range(10)]
    runs = [
        imported(tmp_path, 1, questions[:4], "lm_eval", version="1"),
        imported(tmp_path, 2, questions, "lm_eval", version="2"),
    ]
    board = make_leaderboard(runs)
    assert (cell(board, "a", "gsm_like").num_runs, cell(board, "a", "gsm_like").n) == (1, 10)
    assert "2 runs that differ in imported.run, version; shown: the newest" in board.notes[0]


def test_imports_of_two_subsets_of_a_task_are_put_together(tmp_path: Path) -> None:
    runs = [
        imported(tmp_path, n, [f"{subject} {i}" for i in range(4)], "inspect", subject=subject)
        for n, subject in enumerate(("law", "physics"))
    ]
    board = make_leaderboard(runs)
    assert (cell(board, "a", "gsm_like").num_runs, cell(board, "a", "gsm_like").n) == (2, 8)
    assert board.notes == ()


def test_copies_of_a_run_are_one_run(tmp_path: Path) -> None:
    runs = [kept(tmp_path / place / "s", 1, [1, 0, 1]) for place in ("x", "y")]
    board = make_leaderboard(runs)
    assert cell(board, "a", "gsm_like").n == 3
    assert "2 runs that are copies of each other" in board.notes[0]


def test_win_rates_are_of_the_runs_that_are_shown(tmp_path: Path) -> None:
    old, new = {"temperature": 0}, {"temperature": 0.7}
    runs = [
        kept(tmp_path, 1, [1, 1, 1, 1], adapter=old),
        kept(tmp_path, 2, [0, 0, 0, 1], adapter=new),
        kept(tmp_path, 3, [0, 0, 1, 1], model="b", adapter=new),
    ]
    board = make_leaderboard(runs)
    assert cell(board, "b", "mean win rate").value == 1.0
    assert cell(board, "b", "gsm_like").is_best


def test_models_that_were_asked_differently_are_noted(tmp_path: Path) -> None:
    runs = [
        kept(tmp_path, 1, [1, 0], adapter={"max_eval_instances": 10}),
        kept(tmp_path, 2, [1, 0], model="b", adapter={"max_eval_instances": 20}),
    ]
    assert make_leaderboard(runs).notes == (
        "group gsm_like: its numbers differ in max_eval_instances: 10 (a), 20 (b)",
    )


def test_questions_shared_by_two_parts_of_a_benchmark_are_no_independent_evidence(tmp_path: Path) -> None:
    questions = [f"question {i}" for i in range(40)]
    scores = [1, 0] * 20
    runs = [
        kept(tmp_path, number, scores, group="civil", subject=subject, inputs=questions)
        for number, subject in enumerate(("everybody", "somebody"))
    ]
    shown = cell(make_leaderboard(runs), "a", "civil")
    assert shown.num_runs == 2
    # The very same questions with the same outcome: as sure as one run, not as two.
    assert shown.estimate.ci95 == pytest.approx(runs[0].stat("exact_match").ci95)


def test_common_questions_with_other_outcomes_are_evidence_of_their_own(tmp_path: Path) -> None:
    questions = [f"question {i}" for i in range(40)]
    runs = [
        kept(tmp_path, number, scores, group="civil", subject=str(number), inputs=questions)
        for number, scores in enumerate(([1, 0] * 20, [1, 1, 0, 0] * 10))
    ]
    shown = cell(make_leaderboard(runs), "a", "civil")
    parts = [Estimate(0.5, run.stat("exact_match").ci95) for run in runs]
    assert shown.estimate.ci95 == pytest.approx(mean_of(parts).ci95)


def test_win_rates_of_one_run_in_two_columns_are_as_sure_as_in_one(tmp_path: Path) -> None:
    runs = [
        kept(tmp_path, number, scores, model=model, groups=("gsm_like", "math"))
        for number, (model, scores) in enumerate((("a", [1, 0] * 20), ("b", [1, 1, 0, 0] * 10)))
    ]
    once, twice = (make_leaderboard(runs, groups) for groups in (["math"], ["gsm_like", "math"]))
    assert cell(twice, "a", "mean win rate") == cell(once, "a", "mean win rate")


def test_perturbed_copies_are_another_setting(tmp_path: Path) -> None:
    plain, perturbed = (kept(tmp_path, number, [1, 0]) for number in (1, 2))
    augmenter = DataAugmenterSpec(
        perturbation_specs=(PerturbationSpec(name="lower"),), should_augment_eval_instances=True
    )
    changed = perturbed.run_spec.model_copy(update={"data_augmenter_spec": augmenter})
    board = make_leaderboard([plain, replace(perturbed, run_spec=changed)])
    assert cell(board, "a", "gsm_like").num_runs == 1
    assert "differ in data_augmentation; shown: the newest" in board.notes[0]


def test_one_run_in_two_columns_is_no_independent_evidence(tmp_path: Path) -> None:
    run = kept(tmp_path, 1, [1, 0] * 20, groups=("gsm_like", "math"))
    shown = cell(make_leaderboard([run], ["gsm_like", "math"]), "a", "mean score")
    assert shown.estimate.ci95 == pytest.approx(run.stat("exact_match").ci95)


RUN = ("run", "-r", "arithmetic:model=evalkit/echo", "-q", "-o", "out")


@pytest.fixture
def settings(call: Call) -> None:  # noqa: F811 - the fixture
    for more in (("-m", 10), ("-m", 20), ("-m", 20, "-t", 2)):
        assert call(*RUN, *more).code == 0


@pytest.mark.usefixtures("settings")
def test_every_format_shows_the_same_runs(call: Call) -> None:  # noqa: F811 - the fixture
    note = "arithmetic: evalkit/echo has 3 runs that differ in max_eval_instances, num_train_trials"
    summarize = ("summarize", "-o", "out", "--groups")
    as_json = call(*summarize, "--json")
    plain = json.loads(as_json.out)
    [row] = [row for row in plain["rows"] if row["column"] == "arithmetic"]
    assert (row["num_runs"], row["n"], row["num_runs_left_out"]) == (1, 40, 2)
    assert any(note in each for each in plain["notes"])
    as_csv = call(*summarize, "--csv")
    [line] = [each for each in csv.DictReader(io.StringIO(as_csv.out)) if each["column"] == "arithmetic"]
    assert (line["num_runs"], line["n"], line["num_runs_left_out"]) == ("1", "40", "2")
    assert line["setting"] == row["setting"]
    assert "max_eval_instances=" in row["setting"]
    as_latex = call(*summarize, "-f", "latex")
    for called in (as_csv, as_latex, call(*summarize)):
        assert note in called.err
    assert note in as_latex.out.replace("\\", "")
    markdown = call(*summarize, "-f", "markdown").out.replace("\\", "")
    assert note in markdown
    rows = json.loads(call(*summarize, "--all-runs", "--json").out)["rows"]
    assert len({each["model"] for each in rows}) == 3


@pytest.mark.usefixtures("settings")
def test_a_run_named_twice_is_one_run(call: Call) -> None:  # noqa: F811 - the fixture
    once, twice = (call("summarize", *paths, "--json").out for paths in (("out",), ("out", "out/runs")))
    assert len(json.loads(once)) == len(json.loads(twice))


def test_all_runs_belong_to_groups(call: Call) -> None:  # noqa: F811 - the fixture
    assert "--groups" in call("summarize", "--all-runs").err
