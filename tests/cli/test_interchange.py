"""`evalkit export` and `evalkit import`, called as a user would."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.interchange.harnesses import (
    helm_stat,
    helm_state,
    inspect_header,
    inspect_sample,
    lm_eval_choice,
    write_helm_run,
    write_inspect,
    write_lm_eval,
)

RUN = ("run", "-r", "simple_mcqa", "--models-to-run", "evalkit/majority", "evalkit/random", "-m", 9, "-q")


@pytest.fixture(autouse=True)
def carried_over() -> None:
    importlib.import_module("evalkit.metrics.carried")


def test_a_suite_goes_to_helms_layout_and_back(call: Call) -> None:
    call(*RUN, "-o", "out", "--suite", "s")
    called = call("export", "helm", "out", "-o", "helm")
    assert called.code == 0
    assert "wrote 2 runs to helm/runs/s" in called.out
    assert "helm-summarize --output-path helm --suite s" in called.out
    called = call("import", "helm", "helm", "-o", "back")
    assert called.code == 0
    assert "computed anew: exact_match" in called.out
    assert "differ" not in called.out
    ours, theirs = (
        {(r["run"], r["metric"]): r["mean"] for r in json.loads(call("summarize", "-o", o, "--json").out)}
        for o in ("out", "back")
    )
    assert ours.items() <= theirs.items()


def test_neither_writes_over_what_it_reads(call: Call, tmp_path: Path) -> None:
    call(*RUN, "-o", "out", "--suite", "s")
    called = call("export", "helm", "out", "-o", "out")
    assert called.code == 2
    assert "holds the runs themselves" in called.err
    path = write_helm_run(tmp_path, [helm_state("id0", "?", "a", "a")], {}, [helm_stat("exact_match", 1.0)])
    called = call("import", "helm", path, "-o", "benchmark_output")
    assert called.code == 2
    assert "holds HELM's runs themselves" in called.err


def test_what_an_import_could_not_place_is_told(call: Call, tmp_path: Path) -> None:
    write_inspect(tmp_path / "logs" / "a.eval", inspect_header(), [inspect_sample(1, "A", "C")])
    called = call("import", "inspect", "logs")
    assert called.code == 0
    assert "carried over: choice" in called.out
    assert "written to imported/ only: messages (1), scores (1), events (1)" in called.out
    assert "1 of 2 samples are not in the log" in called.out
    assert "already imported" in call("import", "inspect", "logs").out


def test_lm_eval_results_can_be_summarised(call: Call, tmp_path: Path) -> None:
    write_lm_eval(
        tmp_path / "out",
        {"tiny_mc": {"acc,none": 1.0}},
        {"tiny_mc": {"output_type": "multiple_choice"}},
        {"tiny_mc": [lm_eval_choice(i, "?", 0, [-0.1, -0.9]) for i in range(3)]},
    )
    assert call("import", "lm-eval", "out", "--suite", "theirs").code == 0
    shown = call("summarize", "--suite", "theirs", "--groups", "--format", "markdown")
    assert shown.code == 0
    assert "| me/tiny | – | **1.000** [0.439, 1.000] | **1.000** [0.439, 1.000] |" in shown.out


@pytest.mark.parametrize("harness", ["helm", "lm-eval", "inspect"])
def test_a_folder_without_runs_is_one_line(call: Call, harness: str) -> None:
    called = call("import", harness, "nowhere")
    assert called.code == 2
    assert called.err == "error: nowhere does not exist\n"


@pytest.mark.parametrize("suite", ["../../x", "..", "/tmp/x", ".x", "", "a\nb", "a\x1b[2J"])
def test_a_suite_is_one_folder_below_runs_for_every_command(call: Call, tmp_path: Path, suite: str) -> None:
    call(*RUN, "-o", "out", "--suite", "s")
    write_inspect(tmp_path / "logs" / "a.eval", inspect_header(), [inspect_sample(1, "A", "C")])
    before = sorted(tmp_path.parent.rglob("*"))
    for command in (
        ("import", "helm", "out"),
        ("import", "lm-eval", "out"),
        ("import", "inspect", "logs"),
        ("export", "helm", "out"),
        RUN,
    ):
        called = call(*command, "-o", "other", "--suite", suite)
        assert called.code == 2
        assert "can't be the name of a suite" in called.err
        assert "\x1b" not in called.err
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_a_log_that_cannot_be_read_does_not_stop_the_others(call: Call, tmp_path: Path) -> None:
    good = write_inspect(tmp_path / "logs" / "b.eval", inspect_header(), [inspect_sample(1, "A", "C")])
    (tmp_path / "logs" / "a.eval").write_bytes(good.read_bytes()[:-30])
    called = call("import", "inspect", "logs", "-o", "out")
    assert called.code == 3
    assert called.err.splitlines() == [
        "error: logs/a.eval is cut off: it begins as a log of Inspect does, and its end is missing; the copy "
        "or the run that wrote it was stopped",
        "error: 1 of 2 could not be imported; 1 run imported",
    ]
    assert [path.name for path in (tmp_path / "out" / "runs" / "inspect").iterdir()] == [
        "inspect:task=arc,model=mockllm_model"
    ]


def test_the_limit_of_size_is_a_flag(call: Call, tmp_path: Path) -> None:
    write_inspect(tmp_path / "a.eval", inspect_header(), [inspect_sample(1, "A", "C")])
    called = call("import", "inspect", "a.eval", "--max-file-mb", "0.0005")
    assert called.code == 3
    assert "--max-file-mb or EVALKIT_MAX_FILE_MB allows more" in called.err
    assert not (tmp_path / "benchmark_output").exists()
    assert call("import", "inspect", "a.eval", "--max-file-mb", "1").code == 0
    called = call("import", "inspect", "a.eval", "--max-file-mb", "-1")
    assert (called.code, called.err) == (2, "error: --max-file-mb: -1.0 is not a number of MB above 0\n")


def test_what_was_not_compared_is_told(call: Call, tmp_path: Path) -> None:
    write_inspect(tmp_path / "a.eval", inspect_header(samples=1), [inspect_sample(1, "A", "C")])
    called = call("import", "inspect", "a.eval")
    assert "  not compared, since the source has no number over the whole run: choice\n" in called.out
    assert "note:" not in called.out


def test_only_what_is_known_of_a_number_is_shown(call: Call, tmp_path: Path) -> None:
    results = {"mc": {"acc,none": 0.9, "acc_stderr,none": 0.1}}
    write_lm_eval(tmp_path / "in", results, {"mc": {"output_type": "multiple_choice"}}, {})
    assert call("import", "lm-eval", tmp_path / "in", "-o", "out").code == 0
    assert call("summarize", "-o", "out").out.splitlines()[-1].split()[-5:] == [
        "acc",
        "0.900",
        "0.100",
        "3",
        "0",
    ]
    unknown = {"n-samples": None}
    write_lm_eval(tmp_path / "2", results, {"mc": {"output_type": "multiple_choice"}}, {}, **unknown)
    assert call("import", "lm-eval", tmp_path / "2", "-o", "out2").code == 0
    assert call("summarize", "-o", "out2").out.splitlines()[-1].split()[-3:] == ["0.100", "–", "0"]
    assert call("summarize", "-o", "out2", "--groups").code == 0


def test_how_many_scores_were_compared_is_told(call: Call, tmp_path: Path) -> None:
    states = [helm_state(f"id{i}", "?", "a", "a") for i in range(3)]
    scores = {("id0", 0): {"exact_match": 1.0}, ("id1", 0): {"exact_match": 0.0}}
    path = write_helm_run(tmp_path, states, scores, [helm_stat("exact_match", 0.5)])
    called = call("import", "helm", path, "-o", "out")
    assert "compared: 2 scores of instances with evalkit's own" in called.out
    assert "exact_match: other than given: 1 score; see imported/differences.jsonl" in called.out
    assert "note: per_instance_stats.json has no scores for 1 of 3 units (id2)" in called.out
    assert "is partial" in call("summarize", "-o", "out").err


def test_a_journal_that_never_ends_is_refused(call: Call, tmp_path: Path) -> None:
    call(*RUN, "-o", "out", "--suite", "s")
    (journal,) = sorted((tmp_path / "out").rglob("journal.jsonl"))[:1]
    journal.unlink()
    os.mkfifo(journal)
    called = call("score", journal.parent)
    assert called.code == 3
    assert "it is not a regular file" in called.err
