"""HELM's run directories, read in: scores computed anew or carried over, and nothing lost silently."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalkit.errors import StoreError, UsageError
from evalkit.interchange.helm_import import find_helm_runs, read_helm_run
from evalkit.interchange.import_writer import ImportReport, keep_run
from evalkit.results.run_directory import RunDirectory, read_lines
from evalkit.results.scores import read_stats, score_run
from evalkit.results.stored_run import StoredRun
from evalkit.scoring.stat import Stat
from tests.interchange.harnesses import helm_run_spec, helm_stat, helm_state, write_helm_run

STATES = (
    helm_state("id3", "2+2?", "4", " 4"),
    helm_state("id4", "1+1?", "2", "two", annotations={"judge": {"ok": True}}),
    helm_state("id5", "3+3?", "6", None),
)
SCORES = {
    ("id3", 0): {"exact_match": 1.0, "quasi_exact_match": 1.0, "toxic_frac": 0.25, "num_prompt_tokens": 12},
    ("id4", 0): {"exact_match": 0.0, "quasi_exact_match": 0.0, "toxic_frac": 0.75, "num_prompt_tokens": 13},
    ("id5", 0): {"exact_match": 0.0, "quasi_exact_match": 0.0, "toxic_frac": 0.5, "num_prompt_tokens": 12},
}
STATS = (helm_stat("exact_match", 1 / 3), helm_stat("perplexity", 4.5), helm_stat("num_instances", 3.0))


def imported(tmp_path: Path) -> ImportReport:
    path = write_helm_run(tmp_path / "theirs", STATES, SCORES, STATS)
    return keep_run(read_helm_run(path), tmp_path / "runs" / "v1")


def stats_of(path: Path) -> dict[str, Stat]:
    return {stat.name: stat for stat in read_stats(RunDirectory(path)) if stat.split == "all"}


def test_known_metrics_are_computed_anew_and_the_others_carried_over(tmp_path: Path) -> None:
    kept = imported(tmp_path)
    assert kept.recomputed == ("exact_match", "quasi_exact_match")
    assert kept.carried == ("toxic_frac",)
    stats = stats_of(kept.path)
    assert stats["toxic_frac"].mean == pytest.approx(0.5)
    assert stats["exact_match"].mean == 0.5


def test_numbers_over_the_whole_run_are_compared_and_kept_where_they_differ(tmp_path: Path) -> None:
    kept = imported(tmp_path)
    stats = stats_of(kept.path)
    # One question of three had an error, which HELM scored as 0.
    assert stats["exact_match"].mean == 0.5
    assert stats["exact_match,as-given"].mean == pytest.approx(1 / 3)
    assert "exact_match (all): helm says 0.333333, here it is 0.5; kept as exact_match,as-given" in kept.notes
    assert (kept.num_compared, kept.num_different, kept.num_carried) == (1, 1, 2)
    assert set(stats_of(kept.path)) == set(stats) | {"perplexity"}
    score_run(RunDirectory(kept.path))
    assert stats_of(kept.path)["exact_match,as-given"].mean == pytest.approx(1 / 3)


def test_an_error_that_helm_scored_is_a_failure_here_and_said_to_differ(tmp_path: Path) -> None:
    kept = imported(tmp_path)
    assert kept.failed == 1
    assert stats_of(kept.path)["exact_match"].n_failed == 1
    assert kept.differences == {"exact_match": 1, "quasi_exact_match": 1, "toxic_frac": 1}
    differences = list(read_lines(kept.path / "imported" / "differences.jsonl"))
    assert differences[0]["instance_id"] == "id5"
    assert differences[0]["status"] == "failed"


def test_numbers_without_a_value_per_instance_survive_scoring_again(tmp_path: Path) -> None:
    kept = imported(tmp_path)
    assert stats_of(kept.path)["perplexity"].mean == 4.5
    before = (kept.path / "stats.json").read_text()
    score_run(RunDirectory(kept.path))
    assert (kept.path / "stats.json").read_text() == before


def test_what_has_no_place_is_kept_and_counted(tmp_path: Path) -> None:
    kept = imported(tmp_path)
    assert kept.leftovers == {"request_datetime": 2, "finish_reason": 2, "annotations": 1}
    rows = list(read_lines(kept.path / "imported" / "leftovers.jsonl"))
    assert rows[1] == {
        "key": "t0/id4",
        "annotations": {"judge": {"ok": True}},
        "request_datetime": 1700000000,
        "finish_reason": ["endoftext"],
    }
    assert json.loads((kept.path / "imported" / "stats.json").read_text()) == list(STATS)


def test_answers_come_with_all_that_is_known_of_them(tmp_path: Path) -> None:
    run = StoredRun.open(imported(tmp_path).path)
    first, _, failed = run.records()
    assert first.prompts == ("Q: 2+2?\nA:",)
    assert first.outputs == (" 4",)
    assert (first.prompt_tokens, first.latency_s) == (12, 0.25)
    assert (failed.status, failed.reason) == ("failed", "provider_error")
    assert run.run_spec.scenario_spec.name == "gsm"
    assert run.manifest.status == "partial"
    assert run.manifest.identity["imported"]["harness"] == "helm"
    assert run.directory.instances()[0].extra is not None


def test_the_same_run_is_imported_once_and_another_of_its_name_beside_it(tmp_path: Path) -> None:
    kept = imported(tmp_path)
    assert imported(tmp_path).already_there
    other = write_helm_run(tmp_path / "other", STATES[:1], SCORES, STATS)
    second = keep_run(read_helm_run(other), tmp_path / "runs" / "v1")
    assert second.path != kept.path
    assert second.path.name.startswith(f"{kept.path.name}@")


def test_several_requests_of_one_unit_are_scored_together(tmp_path: Path) -> None:
    states = [
        helm_state("id1", "?", "a", "x", reference_index=index, request_mode=mode)
        for index in (0, 1)
        for mode in ("original", "calibration")
    ]
    path = write_helm_run(tmp_path, states, {("id1", 0): {"exact_match": 1.0}}, STATS)
    run = read_helm_run(path)
    assert {state.unit_size for state, _ in run.records} == {4}
    assert run.records[1][0].key == "t0/id1/r0/calibration"


def test_windows_of_one_text_are_told_apart(tmp_path: Path) -> None:
    states = [helm_state("id1", "text", "a", piece) for piece in ("one", "two")]
    run = read_helm_run(write_helm_run(tmp_path, states, {}, STATS))
    assert [state.key for state, _ in run.records] == ["t0/id1/w00000", "t0/id1/w00001"]


def test_train_trials_are_kept_apart(tmp_path: Path) -> None:
    states = [helm_state("id1", "?", "a", text, trial) for trial, text in enumerate(("a", "b"))]
    scores = {("id1", trial): {"exact_match": 1.0 - trial} for trial in (0, 1)}
    path = write_helm_run(tmp_path, states, scores, STATS, helm_run_spec(num_train_trials=2))
    kept = keep_run(read_helm_run(path), tmp_path / "runs" / "v1")
    assert stats_of(kept.path)["exact_match"].trial_means == (1.0, 0.0)
    assert not kept.differences


def test_a_perturbed_copy_keeps_the_id_and_its_own_scores(tmp_path: Path) -> None:
    copy = helm_state("id3", "2 + 2?", "4", "5")
    description = {"name": "space", "robustness": True, "fairness": False, "computed_on": "perturbed"}
    copy["instance"]["perturbation"] = description
    path = write_helm_run(tmp_path, [STATES[0], copy], {("id3", 0): SCORES["id3", 0]}, STATS)
    rows = json.loads((path / "per_instance_stats.json").read_text())
    rows.append({**rows[0], "perturbation": description, "stats": [helm_stat("toxic_frac", 0.9)]})
    (path / "per_instance_stats.json").write_text(json.dumps(rows))
    kept = keep_run(read_helm_run(path), tmp_path / "runs" / "v1")
    original, perturbed = RunDirectory(kept.path).instances()
    assert original.id == perturbed.id == "id3"
    assert perturbed.perturbation_label == "space"
    by_copy = {row.get("perturbation"): row["scores"] for row in read_lines(kept.path / "scores.jsonl")}
    assert (by_copy[None]["toxic_frac"], by_copy["space"]["toxic_frac"]) == (0.25, 0.9)
    assert (by_copy[None]["exact_match"], by_copy["space"]["exact_match"]) == (1.0, 0.0)


def test_without_requests_the_numbers_alone_are_taken_over(tmp_path: Path) -> None:
    path = write_helm_run(tmp_path / "theirs", None, {}, STATS)
    kept = keep_run(read_helm_run(path), tmp_path / "runs" / "v1")
    assert stats_of(kept.path)["exact_match"].mean == pytest.approx(1 / 3)
    assert stats_of(kept.path)["exact_match"].n == 3
    assert "only the numbers" in kept.notes[0]


def test_runs_are_found_from_any_level_of_the_layout(tmp_path: Path) -> None:
    path = write_helm_run(tmp_path, STATES, SCORES, STATS)
    for level in (path, path.parent, tmp_path / "benchmark_output", tmp_path):
        assert find_helm_runs(level) == [path]


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no HELM runs"):
        find_helm_runs(tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        find_helm_runs(tmp_path / "nowhere")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = write_helm_run(tmp_path, STATES, SCORES, STATS)
    (path / "scenario_state.json").write_text('{"request_states": [')
    with pytest.raises(StoreError, match=r"scenario_state\.json is damaged"):
        read_helm_run(path)
    (path / "scenario_state.json").write_text('{"request_states": [{"instance": {}}]}')
    with pytest.raises(StoreError, match="is not as HELM writes it"):
        read_helm_run(path)


def test_a_run_spec_of_other_types_is_refused_with_its_field(tmp_path: Path) -> None:
    path = write_helm_run(tmp_path, STATES, SCORES, STATS, helm_run_spec(max_tokens="many"))
    with pytest.raises(StoreError, match=r"run_spec\.json: adapter_spec\.max_tokens"):
        read_helm_run(path)
