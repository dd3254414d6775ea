"""What the W&B tracker makes of arguments and run directories, without W&B's package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import evalkit
from evalkit import UsageError
from evalkit.results.stored_run import InstanceRecord, StoredRun
from evalkit.runs.options import read_options
from evalkit.specs.plugin_call import parse_plugin_call
from evalkit.trackers.wandb import tables
from evalkit.trackers.wandb.failure import in_words
from evalkit.trackers.wandb.names import IDS, task_name, wandb_run_id
from evalkit.trackers.wandb.tracker import WandbTracker


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"project": ""}, "is not the name of a W&B project"),
        ({"project": "a/b"}, "'a/b' is not the name of a W&B project"),
        ({"project": "p", "entity": "a b"}, "'a b' is not the name of a W&B entity"),
    ],
)
def test_a_wrong_name_is_an_error_before_anything_is_sent(arguments: dict[str, str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        WandbTracker(**arguments, mode="disabled")  # type: ignore[arg-type]


def test_a_missing_package_is_an_error_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.trackers.wandb.tracker.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'evalkit\[wandb\]'"):
        WandbTracker("p")
    WandbTracker("p", mode="disabled")


def test_wandb_is_short_for_the_tracker(tmp_path: Path) -> None:
    assert read_options(None, {"wandb": "team/p"}).tracker_calls() == ("wandb:entity=team,project=p",)
    assert read_options(None, {"wandb": "p"}).tracker_calls() == ("wandb:project=p",)
    (tmp_path / "c.yaml").write_text("trackers: jsonl:path=x\nwandb: team/p\n")
    read = read_options(tmp_path / "c.yaml", {})
    assert read.tracker_calls() == ("jsonl:path=x", "wandb:entity=team,project=p")
    for text in ("a/b/c", "", "a,b", "/p", "team/"):
        with pytest.raises(UsageError, match="wandb"):
            read_options(None, {"wandb": text})
    call = parse_plugin_call("tracker", "wandb:project=p,tags=a|b,mode=offline")
    assert call.args == {"project": "p", "tags": ("a", "b"), "mode": "offline"}


def test_tasks_are_named_by_their_run_spec_without_the_model() -> None:
    taken: dict[str, str] = {}
    names = [
        task_name("mmlu:subject=law,model=openai_x,shots=5", taken, "1"),
        task_name("mmlu:subject=law,shots=5,model_deployment=y", taken, "2"),
        task_name("mmlu:subject=law,shots=5,model_deployment=y", taken, "2"),
        task_name("gsm:model=x", taken, "3"),
        task_name("日本", taken, "4"),
    ]
    law = "mmlu_subject_law_shots_5"
    assert names == [law, f"{law}_2", f"{law}_2", "gsm", "task"]


def test_a_suite_keeps_its_runs_ids(tmp_path: Path) -> None:
    first = wandb_run_id(tmp_path, "team/p", "test/a")
    assert first == wandb_run_id(tmp_path, "team/p", "test/a")
    assert first != wandb_run_id(tmp_path, "team/p", "test/b")
    assert first != wandb_run_id(tmp_path, "team/q", "test/a")
    assert [path.name for path in tmp_path.iterdir()] == [IDS]
    for damaged in ("", "[]", '{"team/p": 3}'):
        (tmp_path / IDS).write_text(damaged)
        assert wandb_run_id(tmp_path, "team/p", "test/a") == wandb_run_id(tmp_path, "team/p", "test/a")
    assert wandb_run_id(tmp_path / "not there", "team/p", "test/a")


def stored(tmp_path: Path) -> StoredRun:
    evalkit.run("arithmetic:num_test=5,model=evalkit/majority", output_path=tmp_path)
    (path,) = (tmp_path / "runs" / "default").glob("arith*")
    return StoredRun.open(path)


def test_columns_have_one_type_whatever_a_run_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stored(tmp_path)
    not_a_number, infinite = {"exact_match": float("nan")}, {"exact_match": float("inf"), "other": 1}
    several: dict[str, Any] = {"prompts": ("p", "q"), "outputs": ("o", None), "latency_s": 1, "detail": "d"}
    odd = [
        InstanceRecord("a", 0, 0, "test", "\ud800 日本 \x00", (), "failed", "timeout"),
        InstanceRecord("b", 0, 0, "test", "", ("x",), "scored", scores={"exact_match": 1}),
        InstanceRecord("c", 1, 2, "test", "q", ("x", "\udfff"), "scored", None, not_a_number, **several),
        InstanceRecord("d", 0, 0, "test", "q", (), "scored", scores=infinite),
        InstanceRecord("e", 0, 0, "test", "q", (), "scored", scores={"exact_match": True}),
    ]
    monkeypatch.setattr(StoredRun, "records", lambda self: iter(odd))
    monkeypatch.setattr(tables, "MOST_ROWS", 3)
    first, second = tables.instance_tables(run)
    assert [len(first.rows), len(second.rows)] == [3, 2]
    for table in (first, second, tables.stats_table(("task", stat) for stat in run.stats)):
        for row in table.rows:
            for (name, kind), cell in zip(table.columns, row, strict=True):
                assert cell is None or type(cell) is kind, (name, cell)
                if isinstance(cell, str):
                    cell.encode()
    names = [name for name, _ in first.columns]
    assert len(set(names)) == len(names)
    cells = [dict(zip(names, row, strict=True)) for row in (*first.rows, *second.rows)]
    assert [row["exact_match"] for row in cells] == [None, 1.0, None, None, 1.0]
    assert cells[0]["input"] == "? 日本 \x00"
    assert json.loads(cells[2]["prompt"]) == ["p", "q"]
    assert json.loads(cells[2]["output"]) == ["o", None]
    assert cells[1]["references"] == "x"


def test_a_score_that_is_called_as_a_column_has_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stored(tmp_path)
    monkeypatch.setattr(tables, "_score_names", lambda stats: ["status", "exact_match"])
    (table,) = tables.instance_tables(run)
    assert [name for name, _ in table.columns][-2:] == ["score_status", "exact_match"]


def test_failures_are_one_line_without_addresses() -> None:
    error = RuntimeError("POST http://user:pw@10.0.0.1:99/graphql\n failed")
    assert in_words(error) == "RuntimeError: POST the server failed"
