"""What a source has and the run here has not is reported, and the run is partial; doubles are never one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import StoreError
from evalkit.interchange.helm_import import read_helm_run
from evalkit.interchange.import_writer import ImportReport, keep_run
from evalkit.interchange.inspect_import import read_inspect_log
from evalkit.interchange.lm_eval_import import read_lm_eval
from evalkit.results.run_directory import RunDirectory, read_lines
from evalkit.results.scores import score_run
from evalkit.results.stored_run import StoredRun
from tests.interchange.harnesses import (
    helm_run_spec,
    helm_stat,
    helm_state,
    inspect_header,
    inspect_sample,
    lm_eval_choice,
    write_helm_run,
    write_inspect,
    write_json,
    write_lm_eval,
)

CONFIG = {"mc": {"output_type": "multiple_choice", "test_split": "test"}}


def helm(
    tmp_path: Path,
    states: Sequence[dict[str, Any]],
    scores: dict[tuple[str, int], dict[str, float]],
    *stats: dict[str, Any],
    **adapter: Any,
) -> ImportReport:
    path = write_helm_run(tmp_path / "in", states, scores, stats, helm_run_spec(**adapter))
    return keep_run(read_helm_run(path), tmp_path / "runs")


def status(kept: ImportReport) -> str:
    return StoredRun.open(kept.path).manifest.status


def test_scores_without_requests_are_listed_and_make_the_run_partial(tmp_path: Path) -> None:
    states = [helm_state(f"id{i}", f"{i}?", "a", "a") for i in range(2)]
    scores = {(f"id{i}", 0): {"exact_match": float(i < 2), "toxic_frac": 0.5} for i in range(4)}
    kept = helm(tmp_path, states, scores, helm_stat("exact_match", 0.5))
    assert kept.missing == 2
    assert (
        "helm has scores of 2 units whose requests are not in its files (id2, id3): evalkit's numbers "
        "leave them out; see imported/missing.jsonl"
    ) in kept.notes
    assert [row["instance_id"] for row in read_lines(kept.path / "imported" / "missing.jsonl")] == [
        "id2",
        "id3",
    ]
    assert (kept.num_compared, kept.num_different) == (1, 1)
    assert "exact_match (all): helm says 0.5, here it is 1; kept as exact_match,as-given" in kept.notes
    assert status(kept) == "partial"
    score_run(RunDirectory(kept.path))
    assert status(kept) == "partial"


def test_scores_of_a_trial_or_copy_without_requests_are_missing_too(tmp_path: Path) -> None:
    states = [helm_state("id0", "?", "a", "a")]
    scores = {("id0", trial): {"exact_match": 1.0} for trial in (0, 1)}
    kept = helm(tmp_path, states, scores, helm_stat("exact_match", 1.0), num_train_trials=2)
    assert (kept.missing, status(kept)) == (1, "partial")


def test_instances_that_helm_counted_and_did_not_store_are_told(tmp_path: Path) -> None:
    states = [helm_state("id0", "?", "a", "a")]
    kept = helm(tmp_path, states, {}, helm_stat("exact_match", 1.0), helm_stat("num_instances", 3.0))
    assert "scenario_state.json lacks instances that HELM counted: 2 of 3 (test)" in kept.notes
    assert status(kept) == "partial"


def test_states_that_are_empty_are_no_run_of_nothing(tmp_path: Path) -> None:
    kept = helm(tmp_path, [], {}, helm_stat("toxic_frac", 0.5), helm_stat("num_instances", 2.0))
    assert "scenario_state.json lacks instances that HELM counted: 2 of 2 (test)" in kept.notes
    stat = StoredRun.open(kept.path).stat("toxic_frac")
    assert (stat.n, stat.mean, status(kept)) == (2, 0.5, "partial")


SPACE = {"name": "space", "robustness": True, "fairness": False, "computed_on": "perturbed"}


def of_copies(stat: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**stat, "name": {**stat["name"], "perturbation": {**SPACE, **more}}}


def test_copies_that_helm_counted_and_did_not_store_are_told(tmp_path: Path) -> None:
    states = [helm_state(f"id{i}", "?", "a", "a") for i in range(2)]
    scores = {(f"id{i}", 0): {"exact_match": 1.0} for i in range(2)}
    sizes = (helm_stat("num_instances", 2.0), of_copies(helm_stat("num_instances", 1.0)))
    kept = helm(tmp_path, states, scores, of_copies(helm_stat("toxic_frac", 0.5)), *sizes)
    assert kept.notes == ("scenario_state.json lacks instances that HELM counted: 1 of 1 (test, space)",)
    assert status(kept) == "partial"
    (stat,) = [stat for stat in StoredRun.open(kept.path).stats if stat.name == "toxic_frac"]
    assert (stat.mean, stat.n, str(stat.perturbation)) == (0.5, 1, "space: perturbed")


def test_numbers_over_copies_of_which_none_came_along_are_told(tmp_path: Path) -> None:
    states, scores = [helm_state("id0", "?", "a", "a")], {("id0", 0): {"exact_match": 1.0}}
    worst = of_copies(helm_stat("exact_match", 1.0), name="robustness", computed_on="worst")
    kept = helm(tmp_path, states, scores, helm_stat("exact_match", 1.0), worst)
    assert (kept.notes, status(kept)) == ((), "complete")
    kept = helm(tmp_path / "2", states, scores, of_copies(helm_stat("exact_match", 0.5)), worst)
    assert "lacks instances that HELM counted: all of the copies 'space'" in kept.notes[0]
    assert status(kept) == "partial"


def test_all_that_came_along_is_complete(tmp_path: Path) -> None:
    states = [helm_state(f"id{i}", f"{i}?", "a", "a") for i in range(3)]
    scores = {(f"id{i}", 0): {"exact_match": 1.0} for i in range(3)}
    stats = (helm_stat("exact_match", 1.0), helm_stat("num_instances", 3.0))
    kept = helm(tmp_path, states, scores, *stats)
    assert (kept.missing, status(kept), kept.notes) == (0, "complete", ())
    assert (kept.num_compared, kept.num_different) == (1, 0)
    # There is no quasi_exact_match in its stats.json.
    assert kept.uncompared == ("quasi_exact_match",)


def test_the_same_request_twice_counts_once_and_is_told(tmp_path: Path) -> None:
    states = [helm_state("id0", "?", "a", "a"), helm_state("id0", "?", "a", "a")]
    kept = helm(tmp_path, states, {("id0", 0): {"exact_match": 1.0}}, helm_stat("exact_match", 1.0))
    assert "scenario_state.json has 1 requests twice; each counts once" in kept.notes
    assert (StoredRun.open(kept.path).stat("exact_match").n, status(kept)) == (1, "complete")


def test_two_answers_in_one_place_are_both_kept_and_told(tmp_path: Path) -> None:
    states = [helm_state("id0", "?", "a", "a"), helm_state("id0", "?", "a", "b")]
    kept = helm(tmp_path, states, {("id0", 0): {"exact_match": 1.0}}, helm_stat("exact_match", 1.0))
    assert "1 requests of scenario_state.json share instance, trial and reference" in kept.notes[0]
    lines = [line for line in read_lines(kept.path / "journal.jsonl") if "key" in line]
    assert [line["key"] for line in lines] == ["t0/id0/w00000", "t0/id0/w00001"]


def test_scores_that_are_given_twice_are_told(tmp_path: Path) -> None:
    states = [helm_state("id0", "?", "a", "a")]
    path = write_helm_run(tmp_path / "in", states, {("id0", 0): {"toxic_frac": 0.25}}, [])
    rows = json.loads((path / "per_instance_stats.json").read_text())
    rows.append({**rows[0], "stats": [helm_stat("toxic_frac", 0.75)]})
    write_json(path / "per_instance_stats.json", rows)
    kept = keep_run(read_helm_run(path), tmp_path / "runs")
    assert "gives 1 scores twice, with another value; the first of each counts" in kept.notes[0]
    assert StoredRun.open(kept.path).stat("toxic_frac").mean == 0.25
    assert kept.uncompared == ("exact_match", "quasi_exact_match", "toxic_frac")


def helm_numbers(num: int, rows: int, mean: float, **more: Any) -> tuple[Any, ...]:
    """States of `num` instances, scores of the first `rows` of them, and HELM's mean over all."""
    states = [helm_state(f"id{i}", f"{i}?", "a", "a") for i in range(num)]
    scores = {(f"id{i}", 0): {"exact_match": 1.0, "toxic_frac": float(i == 0)} for i in range(rows)}
    return states, scores, helm_stat("toxic_frac", mean), helm_stat("exact_match", 1.0)


@pytest.mark.parametrize("counted", [True, False])
def test_helm_without_scores_of_instances_is_partial_and_its_numbers_have_true_counts(
    tmp_path: Path, counted: bool
) -> None:
    sizes = (helm_stat("num_instances", 2.0),) if counted else ()
    kept = helm(tmp_path, *helm_numbers(2, 0, 0.5), *sizes)
    assert kept.notes[0].startswith("per_instance_stats.json has no scores for 2 of 2 units (id0, id1)")
    assert status(kept) == "partial"
    stored = StoredRun.open(kept.path)
    stat = stored.stat("toxic_frac")
    assert (stat.mean, stat.n, stat.n_total, stat.ci95) == (0.5, 2, 2, None)
    assert (stored.stat("exact_match").n, kept.num_compared, kept.num_scores_compared) == (2, 1, 0)


@pytest.mark.parametrize("mean", [0.5, 1.0])
def test_helm_scores_of_fewer_instances_than_requests_are_partial_whatever_the_mean(
    tmp_path: Path, mean: float
) -> None:
    kept = helm(tmp_path, *helm_numbers(2, 1, mean))
    assert "has no scores for 1 of 2 units (id1)" in kept.notes[0]
    assert status(kept) == "partial"
    assert kept.num_scores_compared == 1
    stat = StoredRun.open(kept.path).stat("toxic_frac")
    assert (stat.n, stat.n_total, stat.mean) == (1, 2, 1.0)
    assert kept.num_compared == 2
    stats = {stat.name: stat.mean for stat in StoredRun.open(kept.path).stats}
    assert stats.get("toxic_frac,as-given") == (None if mean == 1.0 else mean)


def test_a_helm_score_that_some_instances_lack_is_named(tmp_path: Path) -> None:
    states, scores, *stats = helm_numbers(3, 3, 1.0)
    del scores["id1", 0]["toxic_frac"], scores["id2", 0]["toxic_frac"]
    kept = helm(tmp_path, states, scores, *stats)
    assert kept.notes == (
        "toxic_frac: helm gives no such number for 2 of 3 answered units (id1, id2); the mean here is over "
        "the others",
    )
    assert status(kept) == "partial"


def test_a_missing_file_of_scores_is_as_an_empty_one(tmp_path: Path) -> None:
    states, scores, *stats = helm_numbers(2, 2, 0.5)
    path = write_helm_run(tmp_path / "in", states, scores, stats)
    (path / "per_instance_stats.json").unlink()
    kept = keep_run(read_helm_run(path), tmp_path / "runs")
    assert "has no scores for 2 of 2 units" in kept.notes[0]
    assert status(kept) == "partial"


def test_rows_without_any_score_are_no_rows(tmp_path: Path) -> None:
    states, _, *stats = helm_numbers(2, 0, 0.5)
    kept = helm(tmp_path, states, {("id0", 0): {}, ("id1", 0): {}}, *stats)
    assert "has no scores for 2 of 2 units" in kept.notes[0]
    assert status(kept) == "partial"


def test_scores_that_helm_must_have_had_per_instance_are_named(tmp_path: Path) -> None:
    states, _, *stats = helm_numbers(2, 0, 0.5)
    rows = {(f"id{i}", 0): {"num_prompt_tokens": 3.0, "num_completion_tokens": 1.0} for i in range(2)}
    worst = of_copies(helm_stat("toxic_frac", 0.5), name="robustness", computed_on="worst")
    kept = helm(tmp_path, states, rows, *stats, worst)
    assert kept.notes == (
        "toxic_frac: HELM had these scores for each instance, and per_instance_stats.json has none of them",
    )
    assert status(kept) == "partial"


def test_a_trial_without_scores_is_partial(tmp_path: Path) -> None:
    states = [helm_state("id0", "?", "a", "a", trial) for trial in (0, 1)]
    scores = {("id0", 0): {"exact_match": 1.0}}
    kept = helm(tmp_path, states, scores, helm_stat("exact_match", 1.0), num_train_trials=2)
    assert "has no scores for 1 of 2 units (id0)" in kept.notes[0]
    assert status(kept) == "partial"


def test_helm_scores_without_requests_are_compared_and_listed(tmp_path: Path) -> None:
    _, scores, *stats = helm_numbers(0, 2, 0.25)
    path = write_helm_run(tmp_path / "in", [], scores, stats)
    (path / "scenario_state.json").unlink()
    kept = keep_run(read_helm_run(path), tmp_path / "runs")
    assert (kept.missing, kept.num_compared, kept.num_different, status(kept)) == (2, 2, 1, "partial")
    assert any(
        note.startswith("toxic_frac: helm says 0.25, the mean of its 2 scores is 0.5") for note in kept.notes
    )
    stat = StoredRun.open(kept.path).stat("toxic_frac")
    assert (stat.mean, stat.n, stat.ci95) == (0.25, 2, None)
    assert len(list(read_lines(kept.path / "imported" / "missing.jsonl"))) == 2


def accuracy(value: float) -> dict[str, Any]:
    return {"name": "choice", "scorer": "choice", "metrics": {"accuracy": {"value": value}}}


def inspect(tmp_path: Path, header: dict[str, Any], *samples: dict[str, Any]) -> ImportReport:
    path = tmp_path / "log.json"
    write_json(path, {**header, "samples": samples})
    return keep_run(read_inspect_log(path), tmp_path / "runs")


def test_two_shapes_of_one_score_are_partial_and_named(tmp_path: Path) -> None:
    header = inspect_header(samples=2)
    header["results"]["scores"] = [accuracy(1.0)]
    kept = inspect(tmp_path, header, inspect_sample(1, "A", {"a": 1, "b": 0}), inspect_sample(2, "A", "C"))
    assert kept.notes == (
        "choice: inspect gives no such number for 1 of 2 answered units (1); the mean here is over the "
        "others",
        "choice/a, choice/b: inspect gives no such number for 1 of 2 answered units (2); the mean here is "
        "over the others",
    )
    assert status(kept) == "partial"
    stored = StoredRun.open(kept.path)
    for name in ("choice", "choice/a", "choice/b"):
        assert (stored.stat(name).n, stored.stat(name).n_total) == (1, 2)


ODD_VALUES = {
    "a list": [1, 0],
    "an object": {"a": [1]},
    "an empty object": {},
    "a text": "perhaps",
    "null": None,
    "NaN": float("nan"),
}


@pytest.mark.parametrize("case", ODD_VALUES)
def test_a_value_that_is_no_number_is_never_passed_over(tmp_path: Path, case: str) -> None:
    header = inspect_header(samples=3)
    header["results"]["scores"] = [accuracy(1.0)]
    samples = [inspect_sample(i, "A", "C") for i in (1, 2)]
    kept = inspect(tmp_path, header, *samples, inspect_sample(3, "A", ODD_VALUES[case]))
    assert any("no such number for 1 of 3 answered units (3)" in note for note in kept.notes)
    assert status(kept) == "partial"
    assert StoredRun.open(kept.path).stat("choice").n == 2


def test_a_sample_without_the_scorer_or_any_score_is_named(tmp_path: Path) -> None:
    header = inspect_header(samples=3)
    others = {"other": {"value": 1}}
    kept = inspect(
        tmp_path,
        header,
        inspect_sample(1, "A", "C"),
        inspect_sample(2, "A", "C", scores=others),
        inspect_sample(3, "A", "C", scores=None),
    )
    assert any(note.startswith("choice: inspect gives no such number for 2 of 3") for note in kept.notes)
    assert any(note.startswith("other: inspect gives no such number for 2 of 3") for note in kept.notes)
    assert status(kept) == "partial"


@pytest.mark.parametrize("case", ["a list", "an object", "a text"])
def test_a_score_that_is_never_a_number_is_named(tmp_path: Path, case: str) -> None:
    samples = [inspect_sample(i, "A", ODD_VALUES[case]) for i in (1, 2)]
    kept = inspect(tmp_path, inspect_header(samples=2), *samples)
    assert "2 of 2 samples have a value that is not a number" in kept.notes[0]
    assert status(kept) == "partial"


def test_the_comparison_says_over_how_many_samples_it_is(tmp_path: Path) -> None:
    header = inspect_header(samples=2)
    header["results"]["scores"] = [accuracy(0.5)]
    kept = inspect(tmp_path, header, inspect_sample(1, "A", "C"), inspect_sample(2, "A", [0]))
    assert "choice/accuracy: Inspect says 0.5, 1 of its 2 samples give 1; kept as given" in kept.notes
    assert (kept.num_compared, kept.num_different, status(kept)) == (1, 1, "partial")


def test_a_failed_sample_lacks_no_score(tmp_path: Path) -> None:
    failed = inspect_sample(2, "A", "C", error={"message": "boom"}, scores=None)
    kept = inspect(tmp_path, inspect_header(samples=2), inspect_sample(1, "A", "C"), failed)
    assert (kept.notes, kept.failed, status(kept)) == ((), 1, "partial")


@pytest.mark.parametrize("role", ["user", "system", "tool"])
def test_what_someone_else_said_is_no_answer(tmp_path: Path, role: str) -> None:
    sample = inspect_sample(1, "A", "C")
    sample["output"]["choices"][0]["message"] = {"role": role, "content": "A"}
    with pytest.raises(StoreError, match=r"output\.choices\.0\.message\.role: Input should be 'assistant'"):
        inspect(tmp_path, inspect_header(samples=1), sample)


def test_an_early_log_with_a_bare_score_is_read(tmp_path: Path) -> None:
    samples = [inspect_sample(i, "A", "", scores=None, score=value) for i, value in ((1, "C"), (2, "I"))]
    kept = inspect(tmp_path, inspect_header(samples=2), *samples)
    assert StoredRun.open(kept.path).stat("score").mean == 0.5


def test_two_samples_of_one_id_and_epoch_are_two(tmp_path: Path) -> None:
    header = inspect_header(samples=2)
    header["results"]["scores"] = [accuracy(0.5)]
    kept = inspect(tmp_path, header, inspect_sample("x", "A", "C"), inspect_sample("x", "B", "I"))
    stat = StoredRun.open(kept.path).stat("choice")
    assert (stat.n, stat.mean) == (2, 0.5)
    assert kept.notes == ("1 samples have the id and epoch of an earlier one; each is kept, as <id>#2 or so",)
    assert (kept.num_compared, kept.num_different, status(kept)) == (1, 0, "complete")


def test_a_sample_that_is_called_like_the_second_of_another_stays_apart(tmp_path: Path) -> None:
    samples = [inspect_sample(name, "A", "C") for name in ("x#2", "x", "x", "x")]
    kept = inspect(tmp_path, inspect_header(samples=4), *samples)
    instances = RunDirectory(kept.path).instances()
    assert len({instance.id for instance in instances}) == 4
    assert StoredRun.open(kept.path).stat("choice").n == 4


def test_samples_that_were_to_be_run_are_named(tmp_path: Path) -> None:
    header = inspect_header(samples=100, status="error")
    header["eval"]["dataset"]["sample_ids"] = [1, 2, "x", 4]
    kept = inspect(tmp_path, header, inspect_sample(1, "A", "C"), inspect_sample("x", "A", "C"))
    assert kept.notes == (
        "2 of 4 samples are not in the log (error): 2, 4",
        "Inspect's status of the run: error",
    )
    assert status(kept) == "partial"


def test_samples_beyond_the_limit_were_not_to_be_run(tmp_path: Path) -> None:
    header = inspect_header(samples=100)
    header["eval"]["config"]["limit"] = 2
    samples = (inspect_sample(1, "A", "C"), inspect_sample(2, "A", "C"))
    kept = inspect(tmp_path, header, *samples)
    assert (kept.notes, status(kept)) == ((), "complete")


@pytest.mark.parametrize("num", [0, 1])
def test_samples_that_were_scored_and_are_not_there_are_told(tmp_path: Path, num: int) -> None:
    header = inspect_header(samples=0)
    header["results"]["scores"] = [{**accuracy(1.0), "scored_samples": 2}]
    kept = inspect(tmp_path, header, *(inspect_sample(i, "A", "C") for i in range(num)))
    assert kept.notes == (f"Inspect scored 2 samples, and {num} are in the log",)
    assert status(kept) == "partial"


def test_epochs_that_are_missing_are_told(tmp_path: Path) -> None:
    samples = [inspect_sample(1, "A", "C", epoch) for epoch in (1, 2)] + [inspect_sample(2, "A", "C", 1)]
    kept = inspect(tmp_path, inspect_header(epochs=2), *samples)
    assert kept.notes == ("1 of 4 epochs of these samples are not in the log",)
    assert status(kept) == "partial"


def test_a_log_without_results_is_compared_with_nothing_and_says_so(tmp_path: Path) -> None:
    kept = inspect(tmp_path, inspect_header(samples=1), inspect_sample(1, "A", "C"))
    assert (kept.num_compared, kept.uncompared) == (0, ("choice",))


def lm_eval(tmp_path: Path, lines: Sequence[dict[str, Any]], **more: Any) -> ImportReport:
    path = write_lm_eval(tmp_path / "in", {"mc": {"acc,none": 2 / 3}}, CONFIG, {"mc": lines}, **more)
    (run,) = read_lm_eval(path)
    return keep_run(run, tmp_path / "runs")


def test_a_line_twice_with_another_content_is_kept_and_told(tmp_path: Path) -> None:
    lines = [lm_eval_choice(i, "?", int(i == 2), [-0.2, -0.9]) for i in range(3)]
    other = lm_eval_choice(0, "?", 1, [-0.2, -0.9])
    kept = lm_eval(tmp_path, [*lines, other, lines[1]])
    stat = StoredRun.open(kept.path).stat("acc")
    assert stat.n == 3
    assert stat.mean == pytest.approx(2 / 3)
    notes = "\n".join(kept.notes)
    assert "has 1 lines twice; each counts once" in notes
    assert "has 1 lines twice, with another content; the first of each counts" in notes
    leftovers = list(read_lines(kept.path / "imported" / "leftovers.jsonl"))
    assert [row["second_line"]["acc"] for row in leftovers if "second_line" in row] == [0.0]
    assert status(kept) == "partial"


def test_a_question_whose_score_is_no_number_is_named(tmp_path: Path) -> None:
    lines = [lm_eval_choice(i, "?", 0, [-0.2, -0.9]) for i in range(3)]
    lines[1]["acc"] = [1, 0]
    kept = lm_eval(tmp_path, lines)
    assert any("acc: lm-eval gives no such number for 1 of 3 answered units (doc1)" in n for n in kept.notes)
    assert (StoredRun.open(kept.path).stat("acc").n, status(kept)) == (2, "partial")


def test_questions_that_lm_eval_counted_and_did_not_write_are_told(tmp_path: Path) -> None:
    lines = [lm_eval_choice(i, "?", 0, [-0.2, -0.9]) for i in range(2)]
    kept = lm_eval(tmp_path, lines, **{"n-samples": {"mc": {"original": 9, "effective": 5}}})
    assert "3 of 5 questions are not among the samples" in kept.notes
    assert status(kept) == "partial"


def test_an_empty_file_of_samples_is_told(tmp_path: Path) -> None:
    kept = lm_eval(tmp_path, [], **{"n-samples": None})
    assert "the file of samples is empty: only the numbers of mc were taken over" in kept.notes
    stat = StoredRun.open(kept.path).stat("acc")
    # How many questions it is over is not known.
    assert stat.mean == pytest.approx(2 / 3)
    assert (stat.n, stat.n_total, status(kept)) == (0, 0, "partial")


def test_samples_of_another_time_are_told(tmp_path: Path) -> None:
    lines = [lm_eval_choice(i, "?", int(i == 2), [-0.2, -0.9]) for i in range(3)]
    path = write_lm_eval(tmp_path / "in", {"mc": {"acc,none": 2 / 3}}, CONFIG, {"mc": lines})
    samples = next(path.parent.glob("samples_*"))
    samples.rename(samples.with_name("samples_mc_2025-01-01T00-00-00.jsonl"))
    (run,) = read_lm_eval(path)
    assert run.notes == [
        "the samples (samples_mc_2025-01-01T00-00-00.jsonl) were written at another time than the results"
    ]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_doubled_members_of_an_archive_are_in_the_story_of_the_import(tmp_path: Path) -> None:
    path = write_inspect(tmp_path / "log.eval", inspect_header(samples=1), [inspect_sample(1, "A", "C")] * 2)
    assert "has 1 members twice" in read_inspect_log(path).notes[-1]
