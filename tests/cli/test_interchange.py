"""`evalkit export` and `evalkit import`, called as a user would."""

from __future__ import annotations

import importlib
import json
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
    assert "kept under imported/ only: messages (1), scores (1), events (1)" in called.out
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
