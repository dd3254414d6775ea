"""Files of other harnesses with NaN, infinities, half a character or a byte order mark are read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import StoreError
from evalkit.interchange.foreign_files import ForeignFiles, finite
from evalkit.interchange.helm_import import read_helm_run
from evalkit.interchange.import_writer import keep_run
from evalkit.interchange.imported_run import ImportedRun
from evalkit.interchange.inspect_import import read_inspect_log
from evalkit.interchange.lm_eval_import import read_lm_eval
from evalkit.response import Response
from evalkit.results.run_directory import read_lines
from evalkit.results.stored_run import StoredRun
from tests.interchange.harnesses import (
    MOMENT,
    helm_stat,
    helm_state,
    inspect_header,
    inspect_sample,
    lm_eval_choice,
    write_helm_run,
    write_inspect,
    write_lm_eval,
)

HALF = "half \ud83d here"
NAN = math.nan


def kept(run: ImportedRun, tmp_path: Path) -> StoredRun:
    """The run as stored; every file of it must be JSON for strict readers too."""
    path = keep_run(run, tmp_path / "runs").path

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    for file in path.rglob("*.json*"):
        text = file.read_text(encoding="utf-8")
        for piece in text.splitlines() if file.suffix == ".jsonl" else [text]:
            json.loads(piece, parse_constant=refuse)
    return StoredRun.open(path)


def test_one_nan_in_lm_evals_files_loses_nothing_else(tmp_path: Path) -> None:
    choices = [lm_eval_choice(i, f"{HALF} {i}?", 0, [-0.2, -0.9]) for i in range(3)]
    choices[1]["acc"] = NAN
    results = {"mc": {"acc,none": 1.0, "acc_stderr,none": NAN, "bleu,none": 3.5, "chrf,none": -math.inf}}
    config = {"mc": {"output_type": "multiple_choice", "test_split": "test"}}
    (run,) = read_lm_eval(write_lm_eval(tmp_path / "out", results, config, {"mc": choices}))
    assert f"results_{MOMENT}.json has 1 times NaN, 1 times -Infinity for a number" in "\n".join(run.notes)
    assert f"samples_mc_{MOMENT}.jsonl has 1 times NaN for a number" in "\n".join(run.notes)
    stored = kept(run, tmp_path)
    assert stored.directory.instances()[2].input == f"{HALF} 2?\nAnswer:"
    assert (stored.stat("acc").n, stored.stat("acc").mean, stored.stat("bleu").mean) == (2, 1.0, 3.5)
    assert "chrf" not in {stat.name for stat in stored.stats}
    leftovers = list(read_lines(stored.directory.imported_path / "leftovers.jsonl"))
    assert [row["acc"] for row in leftovers if "acc" in row] == ["NaN"]
    document = json.loads((stored.directory.imported_path / "results.json").read_text())
    assert (document["acc_stderr,none"], document["chrf,none"]) == ("NaN", "-Infinity")


def test_one_nan_in_helms_files_loses_nothing_else(tmp_path: Path) -> None:
    states = [helm_state(f"id{i}", f"{HALF} {i}", "4", "4") for i in range(3)]
    completion: dict[str, Any] = states[1]["result"]["completions"][0]
    completion["logprob"] = NAN
    completion["tokens"] = [{"text": "4", "logprob": -0.5}, {"text": HALF, "logprob": NAN}]
    scores = {(f"id{i}", 0): {"exact_match": 1.0, "toxic_frac": [0.5, NAN, 0.0][i]} for i in range(3)}
    stats = [helm_stat("exact_match", 1.0), helm_stat("perplexity", NAN), helm_stat("bits_per_byte", 2.0)]
    run = read_helm_run(write_helm_run(tmp_path / "theirs", states, scores, stats))
    notes = "\n".join(run.notes)
    # Mean, sum, smallest and largest of each; its variance was 0.
    assert "stats.json has 5 times NaN for a number" in notes
    assert "scenario_state.json has 2 times NaN for a number" in notes
    assert "per_instance_stats.json has 5 times NaN for a number" in notes
    stored = kept(run, tmp_path)
    assert (stored.stat("exact_match").mean, stored.stat("toxic_frac").n) == (1.0, 2)
    assert stored.stat("bits_per_byte").mean == 2.0
    assert "perplexity" not in {stat.name for stat in stored.stats}
    answers = {state.instance_id: outcome for state, outcome in run.records if isinstance(outcome, Response)}
    # A token without a log-probability is not counted as certain.
    assert (answers["id1"].completions[0].logprob, answers["id1"].completions[0].tokens) == (None, None)
    assert stored.directory.instances()[0].input == f"{HALF} 0"


def test_one_nan_in_a_log_of_inspect_loses_nothing_else(tmp_path: Path) -> None:
    samples = [inspect_sample(i, HALF, value) for i, value in enumerate(("C", NAN, "I"))]
    samples[0]["metadata"] = {"weight": NAN}
    samples[0]["output"]["time"] = NAN
    run = read_inspect_log(write_inspect(tmp_path / "log.eval", inspect_header(samples=3), samples))
    assert run.notes == ["log.eval has 3 times NaN for a number: no score or stat is made of those"]
    stored = kept(run, tmp_path)
    assert (stored.stat("choice").n, stored.stat("choice").mean) == (2, 0.5)
    leftovers = list(read_lines(stored.directory.imported_path / "leftovers.jsonl"))
    assert leftovers[1]["scores"]["choice"]["value"] == "NaN"


def test_a_byte_order_mark_and_blank_lines_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": Infinity}\n')
    files = ForeignFiles()
    assert [line["a"] for line in files.lines(path)] == [1, math.inf]
    assert list(files.notes()) == [
        "x.jsonl has 1 times Infinity for a number: no score or stat is made of those"
    ]


def test_what_is_no_json_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(StoreError, match=r"x\.jsonl:2 is damaged"):
        list(ForeignFiles().lines(path))
    assert ForeignFiles().read(tmp_path / "none.json") is None


@pytest.mark.parametrize("value", [NAN, math.inf, None, "1", [1.0], 10**400])
def test_what_is_no_finite_number_is_none(value: Any) -> None:
    assert finite(value) is None
    assert (finite(True), finite(2)) == (1.0, 2.0)
