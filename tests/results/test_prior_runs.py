"""Which runs of a suite are sources for which."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from evalkit.execution.answer_source import content_key
from evalkit.execution.journal import Journal
from evalkit.execution.journal_line import JournalOwner
from evalkit.request import Request, RequestState
from evalkit.response import Completion, Response
from evalkit.results.manifest import Manifest
from evalkit.results.prior_runs import PriorRuns
from evalkit.results.run_directory import RunDirectory
from evalkit.specs.digest import digest, identity, request_part, run_digest
from evalkit.specs.run_spec import AdapterSpec, RunSpec, ScenarioSpec, metric_specs

SPEC = RunSpec(
    name="sums",
    scenario_spec=ScenarioSpec(name="sums", args={"a": 1, "b": 2}),
    adapter_spec=AdapterSpec(method="generation", model="a/b", max_eval_instances=100),
    metric_specs=metric_specs("exact_match"),
)
STATE = RequestState("t0/id1", "id1", 0, Request("1 + 1"))
ANSWER = Response((Completion("2"),))


def covered(spec: RunSpec = SPEC, **changes: Any) -> dict[str, Any]:
    """What identifies a run of a spec."""
    context: dict[str, Any] = {
        "deployment_identity": {"name": "a/b", "revision": "1"},
        "data_digest": "d" * 64,
        "versions": {"scenario": 1, "adapter": 1},
    }
    return identity(spec, **{**context, **changes})


OURS = covered()
FEWER = covered(SPEC.with_adapter(max_eval_instances=50))


def keep(suite: Path, name: str, whole: dict[str, Any]) -> RunDirectory:
    """A run with one answer."""
    directory, parts = RunDirectory(suite / name), run_digest(whole)
    directory.path.mkdir(parents=True)
    directory.write_manifest(Manifest("sums", "sums", parts.full, parts.requests, whole))
    with Journal.open(directory.journal_path, JournalOwner(parts.requests, request_part(whole))) as journal:
        journal.append(STATE, ANSWER)
    return directory


def found(suite: Path, whole: dict[str, Any] = OURS, name: str = "ours", *planned: Any) -> list[str]:
    """The names of the runs that answer."""
    runs = PriorRuns(suite, [(suite / name, whole, run_digest(whole)), *planned])
    names = []
    for source in runs.sources(suite / name, whole, run_digest(whole).full):
        key = content_key(digest(whole["deployment"]), STATE.request, STATE.sample)
        answer = source.get(key, STATE)
        assert answer is not None
        names.append(answer.origin.source)
        source.close()
    return names


@pytest.mark.parametrize(
    "other",
    [
        FEWER,
        covered(SPEC.with_adapter(num_train_trials=3)),
        covered(SPEC.with_adapter(num_trials=2)),
        covered(SPEC.with_adapter(eval_splits=("test",))),
        covered(SPEC.model_copy(update={"metric_specs": metric_specs("f1_score")})),
        covered(judges=[{"name": "rating", "version": 1, "verdict_version": 1}]),
        covered(SPEC.with_adapter(num_trials=2, eval_splits=("test",), max_eval_instances=None)),
    ],
    ids=["instances", "train trials", "samples", "splits", "metrics", "judges", "several"],
)
def test_runs_that_differ_in_how_much_they_ask_answer_for_each_other(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    keep(tmp_path, "theirs", other)
    assert found(tmp_path) == ["theirs"]
    keep(tmp_path, "ours", OURS)
    assert found(tmp_path, other, "theirs") == ["ours"]


def test_the_run_that_was_written_to_last_answers_first(tmp_path: Path) -> None:
    for number, name in enumerate(("b", "a", "c")):
        keep(tmp_path, name, covered(SPEC.with_adapter(num_trials=2 + number)))
        os.utime(tmp_path / name / "journal.jsonl", (1000 + number, 1000 + number))
    assert found(tmp_path) == ["c", "a", "b"]


@pytest.mark.parametrize(
    "other",
    [
        covered(SPEC.with_adapter(temperature=0.7)),
        covered(SPEC.with_adapter(max_train_instances=1)),
        covered(SPEC.with_adapter(instructions="Add.")),
        covered(SPEC.model_copy(update={"scenario_spec": ScenarioSpec(name="sums", args={"a": 2, "b": 2})})),
        covered(data_digest="e" * 64),
        covered(data_digest=None),
        covered(versions={"scenario": 2, "adapter": 1}),
        covered(deployment_identity={"name": "a/b", "revision": "2"}),
        covered(deployment_identity={"name": "a/c", "revision": "1"}),
    ],
)
def test_runs_that_differ_in_anything_else_do_not(tmp_path: Path, other: dict[str, Any]) -> None:
    keep(tmp_path, "theirs", other)
    assert not found(tmp_path)


def test_the_order_of_arguments_says_nothing(tmp_path: Path) -> None:
    scenario = ScenarioSpec(name="sums", args={"b": 2, "a": 1})
    adapter = SPEC.adapter_spec.model_copy(update={"max_eval_instances": 50})
    keep(
        tmp_path,
        "theirs",
        covered(SPEC.model_copy(update={"scenario_spec": scenario, "adapter_spec": adapter})),
    )
    assert found(tmp_path) == ["theirs"]


def test_a_run_is_no_source_for_itself_or_a_copy_of_itself(tmp_path: Path) -> None:
    keep(tmp_path, "ours", OURS)
    keep(tmp_path, "a copy", OURS)
    assert not found(tmp_path)


def test_hidden_and_imported_runs_are_no_sources(tmp_path: Path) -> None:
    keep(tmp_path, ".replaced", FEWER)
    keep(tmp_path / ".replaced", "inside", FEWER)
    (keep(tmp_path, "imported run", FEWER).path / "imported").mkdir()
    assert not found(tmp_path)


def test_where_the_manifest_is_lost_the_journal_says_whose_it_is(tmp_path: Path) -> None:
    directory = keep(tmp_path, "theirs", FEWER)
    manifest = directory.path / "manifest.json"
    for damaged in ("", "{", "[]", '{"identity": 7}', manifest.read_text().replace("a/b", "a/x")):
        manifest.write_text(damaged)
        expected = [] if "a/x" in damaged else ["theirs"]
        assert found(tmp_path) == expected, damaged
    manifest.unlink()
    assert found(tmp_path) == ["theirs"]


def test_a_journal_of_another_run_is_no_source(tmp_path: Path) -> None:
    directory = keep(tmp_path, "theirs", FEWER)
    other = keep(tmp_path, "another", covered(SPEC.with_adapter(temperature=0.7)))
    directory.journal_path.write_bytes(other.journal_path.read_bytes())
    assert not found(tmp_path)


def test_runs_that_are_planned_together_know_each_other_before_they_begin(tmp_path: Path) -> None:
    runs = PriorRuns(
        tmp_path, [(tmp_path / name, whole, run_digest(whole)) for name, whole in (("a", OURS), ("b", FEWER))]
    )
    assert not runs.sources(tmp_path / "a", OURS, run_digest(OURS).full)
    keep(tmp_path, "a", OURS)
    (source,) = runs.sources(tmp_path / "b", FEWER, run_digest(FEWER).full)
    source.close()


def test_there_may_be_no_suite_yet(tmp_path: Path) -> None:
    assert not found(tmp_path / "not there")
