"""Results and samples of lm-eval, read in."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from evalkit.errors import StoreError, UsageError
from evalkit.interchange.import_writer import keep_run
from evalkit.interchange.lm_eval_import import find_lm_eval_results, read_lm_eval
from evalkit.response import Response
from evalkit.results.run_directory import read_lines
from evalkit.results.stored_run import StoredRun
from evalkit.runs.events import RunFinished
from evalkit.scoring.interval import wilson_interval
from evalkit.trackers.event_json import event_to_json
from evalkit.trackers.stored_events import stored_events
from tests.interchange.harnesses import lm_eval_choice, lm_eval_generation, write_lm_eval

CHOICES = [
    lm_eval_choice(0, "Is 2 even?", 0, [-0.2, -0.9]),
    lm_eval_choice(1, "Is 3 even?", 1, [-0.8, -0.4]),
    lm_eval_choice(2, "Is 5 even?", 1, [-0.1, -0.9]),
]
CHOICE_RESULTS = {
    "tiny_mc": {
        "alias": "tiny_mc",
        "acc,none": 2 / 3,
        "acc_stderr,none": 1 / 3,
        "word_perplexity,none": 9.5,
        "word_perplexity_stderr,none": "N/A",
    }
}
CHOICE_CONFIG = {"tiny_mc": {"output_type": "multiple_choice", "test_split": "test", "dataset_path": "json"}}
GENERATION = [
    lm_eval_generation(0, " yes", "strict", 0.0),
    lm_eval_generation(1, "yes", "strict", 1.0),
    lm_eval_generation(0, " yes", "flexible", 1.0),
    lm_eval_generation(1, "yes", "flexible", 1.0),
]
GENERATION_RESULTS = {"tiny_gen": {"exact_match,strict": 0.5, "exact_match,flexible": 1.0}}
GENERATION_CONFIG = {
    "tiny_gen": {
        "output_type": "generate_until",
        "validation_split": "v",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8, "do_sample": True, "temperature": 0.6},
    }
}


def kept_choices(tmp_path: Path) -> StoredRun:
    path = write_lm_eval(tmp_path / "out", CHOICE_RESULTS, CHOICE_CONFIG, {"tiny_mc": CHOICES})
    (run,) = read_lm_eval(path)
    return StoredRun.open(keep_run(run, tmp_path / "runs").path)


def test_scores_keep_their_names_and_means(tmp_path: Path) -> None:
    run = kept_choices(tmp_path)
    assert run.stat("acc").mean == pytest.approx(2 / 3)
    assert run.stat("acc").stderr == pytest.approx(1 / 3)
    assert run.stat("acc").ci95_method == "wilson"
    assert run.run_spec.name == "lm_eval:task=tiny_mc,num_fewshot=2,model=me_tiny"


def test_each_option_is_a_request_with_its_logprob(tmp_path: Path) -> None:
    path = write_lm_eval(tmp_path, CHOICE_RESULTS, CHOICE_CONFIG, {"tiny_mc": CHOICES})
    (run,) = read_lm_eval(path)
    state, response = run.records[1]
    assert isinstance(response, Response)
    assert (state.key, state.reference_index, state.unit_size) == ("t0/doc0/r1/original", 1, 2)
    assert state.request.prompt == "Is 2 even?\nAnswer: no"
    assert response.completions[0].logprob == -0.9
    assert [r.text for r in run.instances[0].references] == ["yes", "no"]
    assert run.instances[1].first_correct == run.instances[1].references[1]
    assert run.leftovers[0]["is_greedy"] == ["False", "False"]


def test_numbers_over_the_whole_task_are_carried_as_given(tmp_path: Path) -> None:
    stat = kept_choices(tmp_path).stat("word_perplexity")
    assert (stat.mean, stat.n, stat.ci95) == (9.5, 3, None)


def test_each_filter_is_a_score_of_its_own_and_answers_stand_once(tmp_path: Path) -> None:
    path = write_lm_eval(tmp_path / "o", GENERATION_RESULTS, GENERATION_CONFIG, {"tiny_gen": GENERATION})
    (run,) = read_lm_eval(path)
    assert len(run.records) == len(run.instances) == 2
    request = run.records[0][0].request
    assert (request.stop_sequences, request.max_tokens, request.temperature) == (("\n",), 8, 0.0)
    assert run.run_spec.adapter_spec.temperature == 0.6
    assert run.instances[0].split == "valid"
    stored = StoredRun.open(keep_run(run, tmp_path / "runs").path)
    assert stored.stat("exact_match,strict").mean == 0.5
    assert stored.stat("exact_match,flexible").mean == 1
    rows = list(read_lines(stored.directory.path / "imported" / "leftovers.jsonl"))
    assert [row["filter"] for row in rows] == ["strict", "strict", "flexible", "flexible"]


def test_a_mean_that_the_samples_do_not_give_is_kept_and_said(tmp_path: Path) -> None:
    results = {"tiny_mc": {"acc,none": 0.9}}
    path = write_lm_eval(tmp_path, results, CHOICE_CONFIG, {"tiny_mc": CHOICES})
    (run,) = read_lm_eval(path)
    assert [stat.name for stat in run.whole_run] == ["acc,as-given"]
    assert "lm-eval says 0.9" in run.notes[0]


def test_lines_written_twice_count_once(tmp_path: Path) -> None:
    path = write_lm_eval(tmp_path, CHOICE_RESULTS, CHOICE_CONFIG, {"tiny_mc": CHOICES * 2})
    (run,) = read_lm_eval(path)
    assert len(run.instances) == 3
    assert "3 lines twice" in run.notes[0]


def test_without_samples_the_numbers_come_with_their_stderr(tmp_path: Path) -> None:
    path = write_lm_eval(tmp_path / "out", CHOICE_RESULTS, CHOICE_CONFIG, {})
    (run,) = read_lm_eval(path)
    kept = keep_run(run, tmp_path / "runs")
    assert "--log_samples" in kept.notes[0]
    stat = StoredRun.open(kept.path).stat("acc")
    assert stat.n == 3
    assert stat.stderr == pytest.approx(1 / 3)
    assert (stat.ci95, stat.ci95_method) == (wilson_interval(2 / 3, 3), "wilson")


def test_requests_without_context_are_calibrations(tmp_path: Path) -> None:
    line = lm_eval_choice(0, "Is 2 even?", 0, [-0.2, -0.9])
    for i, option in enumerate((" yes", " no")):
        line["arguments"][f"gen_args_{i + 2}"] = {"arg_0": "", "arg_1": option}
    line["resps"] += [[["-3.0", "False"]], [["-4.0", "False"]]]
    path = write_lm_eval(tmp_path, CHOICE_RESULTS, CHOICE_CONFIG, {"tiny_mc": [line]})
    (run,) = read_lm_eval(path)
    assert [(s.reference_index, s.request_mode) for s, _ in run.records] == [
        (0, "original"),
        (1, "original"),
        (0, "calibration"),
        (1, "calibration"),
    ]
    assert len(run.instances[0].references) == 2


def test_options_that_all_lack_a_context_are_no_calibrations(tmp_path: Path) -> None:
    """BLiMP's way: two sentences, whose probabilities are compared."""
    lines = [lm_eval_choice(i, "", 0, [-0.2, -0.9]) for i in range(2)]
    for line in lines:
        line["arguments"] = {
            f"gen_args_{i}": {"arg_0": "", "arg_1": text} for i, text in enumerate(("She eats.", "She eat."))
        }
    path = write_lm_eval(tmp_path / "out", CHOICE_RESULTS, CHOICE_CONFIG, {"tiny_mc": lines})
    (run,) = read_lm_eval(path)
    assert [(s.reference_index, s.request_mode) for s, _ in run.records] == [
        (0, "original"),
        (1, "original"),
    ] * 2
    assert [(r.text, r.is_correct) for r in run.instances[0].references] == [
        ("She eats.", True),
        ("She eat.", False),
    ]
    assert StoredRun.open(keep_run(run, tmp_path / "runs").path).stat("acc").mean == 1


@pytest.mark.parametrize(
    ("requests", "num_options"),
    [
        # What is filled in stands at the beginning of one sentence.
        ([("", " eats."), ("Bob", " eats.")], 2),
        # Sentences as such, and once more as calibrations.
        ([("", "She eats."), ("", "She eat.")] * 2, 2),
        # Winogrande's way, with calibrations: the contexts differ.
        ([("Ann", " won."), ("Bob", " won."), ("", "Ann"), ("", "Bob")], 2),
        ([("", "a"), ("", "b"), ("", "c"), ("", "d")], 4),
        ([("", "a"), ("", "a")], 2),
    ],
)
def test_an_empty_context_is_a_calibration_only_where_options_are_repeated(
    tmp_path: Path, requests: list[tuple[str, str]], num_options: int
) -> None:
    line = lm_eval_choice(0, "", 0, [-0.2, -0.9])
    line["arguments"] = {f"gen_args_{i}": {"arg_0": c, "arg_1": o} for i, (c, o) in enumerate(requests)}
    line["resps"] = [[[str(-1.0 - i), "False"]] for i in range(len(requests))]
    path = write_lm_eval(tmp_path, CHOICE_RESULTS, CHOICE_CONFIG, {"tiny_mc": [line]})
    (run,) = read_lm_eval(path)
    assert [(s.reference_index, s.request_mode) for s, _ in run.records] == [
        (i % num_options, "original" if i < num_options else "calibration") for i in range(len(requests))
    ]
    assert [r.is_correct for r in run.instances[0].references] == [True, *[False] * (num_options - 1)]


def test_a_nan_is_no_number_that_differs(tmp_path: Path) -> None:
    results = {"tiny_mc": {"acc,none": float("nan")}}
    (run,) = read_lm_eval(write_lm_eval(tmp_path, results, CHOICE_CONFIG, {"tiny_mc": CHOICES}))
    assert (run.num_compared, run.num_different, run.whole_run) == (0, 0, [])
    assert not [note for note in run.notes if "as-given" in note]


def test_numbers_are_counted_that_were_compared(tmp_path: Path) -> None:
    results = {"tiny_mc": {"acc,none": 2 / 3, "acc_norm,none": 0.5, "word_perplexity,none": 9.5}}
    choices = [{**line, "acc_norm": 1.0} for line in CHOICES]
    (run,) = read_lm_eval(write_lm_eval(tmp_path / "out", results, CHOICE_CONFIG, {"tiny_mc": choices}))
    kept = keep_run(run, tmp_path / "runs")
    assert (kept.num_compared, kept.num_different, kept.num_carried) == (2, 1, 2)
    assert StoredRun.open(kept.path).stat("acc_norm,as-given").mean == 0.5


OLD = {
    "results": {"arc_easy": {"acc": 0.75, "acc_stderr": 0.05, "acc_norm": 0.5}, "lambada": {"ppl": 9.5}},
    "versions": {"arc_easy": 0, "lambada": 1},
    "config": {"model": "gpt2", "model_args": "pretrained=me/old", "num_fewshot": 5},
}
ARC_STDERR = math.sqrt(0.25 * 0.75 / 1171)
LEADERBOARD = {
    "config_general": {"model_name": "me/old", "lighteval_sha": "?"},
    "results": {"harness|arc:challenge|25": {"acc": 0.25, "acc_stderr": ARC_STDERR}, "all": {"acc": 0.25}},
    "config_tasks": {"harness|arc:challenge": {"effective_num_docs": 1172}},
    "versions": {"harness|arc:challenge|25": 0},
}


def test_numbers_of_lm_eval_before_0_4_come_along(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(OLD))
    runs = list(read_lm_eval(path))
    assert [run.run_spec.name for run in runs] == [
        "lm_eval:task=arc_easy,num_fewshot=5,model=me_old",
        "lm_eval:task=lambada,num_fewshot=5,model=me_old",
    ]
    kept = keep_run(runs[0], tmp_path / "runs")
    assert "results.json is of lm-eval before 0.4" in kept.notes[0]
    stored = StoredRun.open(kept.path)
    # Nothing says how many questions it is over.
    assert (stored.stat("acc").n, stored.stat("acc").n_total, stored.stat("acc").ci95) == (0, 0, None)
    assert (stored.stat("acc").mean, stored.stat("acc").stderr, stored.stat("acc_norm").mean) == (
        0.75,
        0.05,
        0.5,
    )


def test_numbers_of_the_first_leaderboard_come_along(tmp_path: Path) -> None:
    path = tmp_path / "results_2023.json"
    path.write_text(json.dumps(LEADERBOARD))
    (run,) = read_lm_eval(path)
    assert run.run_spec.name == "lm_eval:task=arc:challenge,num_fewshot=25,model=me_old"
    stat = StoredRun.open(keep_run(run, tmp_path / "runs").path).stat("acc")
    assert (stat.mean, stat.n) == (0.25, 1172)
    assert (stat.ci95, stat.ci95_method) == (wilson_interval(0.25, 1172), "wilson")


def test_results_of_another_layout_are_named_with_what_they_lack(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"results": {"x": {}}}))
    with pytest.raises(StoreError, match=r"neither 'configs' \(lm-eval since 0\.4\) nor 'config' \(before\)"):
        list(read_lm_eval(path))


def test_older_files_have_lists_of_arguments_and_no_filter(tmp_path: Path) -> None:
    line = lm_eval_choice(0, "Is 2 even?", 0, [-0.2, -0.9])
    line["arguments"] = [["Is 2 even?\nAnswer:", " yes"], ["Is 2 even?\nAnswer:", " no"]]
    line["resps"] = [[[-0.2, True]], [[-0.9, False]]]
    del line["filter"], line["metrics"]
    path = write_lm_eval(tmp_path, CHOICE_RESULTS, CHOICE_CONFIG, {"tiny_mc": [line]})
    (run,) = read_lm_eval(path)
    response = run.records[0][1]
    assert isinstance(response, Response)
    assert response.completions[0].logprob == -0.2
    assert run.leftovers[0]["is_greedy"] == [True, False]


def test_groups_are_run_groups_the_widest_first(tmp_path: Path) -> None:
    path = write_lm_eval(
        tmp_path,
        CHOICE_RESULTS,
        CHOICE_CONFIG,
        {"tiny_mc": CHOICES},
        group_subtasks={"all": ["some"], "some": ["tiny_mc"], "tiny_mc": []},
    )
    (run,) = read_lm_eval(path)
    assert run.run_spec.groups == ("all", "some", "tiny_mc")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results_x.json"
    path.write_text("{}")
    with pytest.raises(StoreError, match="is not a results file of lm-eval"):
        list(read_lm_eval(path))
    path.write_text("{")
    with pytest.raises(StoreError, match="is damaged"):
        list(read_lm_eval(path))
    with pytest.raises(UsageError, match="does not exist"):
        find_lm_eval_results(tmp_path / "nowhere")


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = write_lm_eval(tmp_path, CHOICE_RESULTS, CHOICE_CONFIG, {"tiny_mc": CHOICES})
    samples = next(path.parent.glob("samples_*"))
    samples.write_text(samples.read_text() + '{"doc_id": 3')
    with pytest.raises(StoreError, match=r"samples_tiny_mc_.*:4 is damaged"):
        list(read_lm_eval(path))


def test_an_imported_run_is_reported_to_trackers(tmp_path: Path) -> None:
    run = kept_choices(tmp_path)
    events = [event for event, _ in stored_events(run.directory.path)]
    finished = events[-1]
    assert isinstance(finished, RunFinished)
    assert finished.run.name == run.directory.path.name
    assert finished.result.stats == run.stats
    plain = event_to_json(finished)
    assert plain["status"] == run.manifest.status
    assert [stat["name"] for stat in plain["stats"]] == [stat.name for stat in run.stats]
