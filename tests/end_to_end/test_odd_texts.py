"""Half a character, NaN and very long integers in a benchmark and in its answers end no command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Serve
from tests.end_to_end.workspace import Workspace, records_of

HALF = "half \ud83d here"
PLUGIN = r"""
from collections.abc import Iterator

import evalkit
from evalkit import DataStore, Instance, Reference, RunSpec, ScenarioSpec

HALF = "half \ud83d here"


@evalkit.scenario("halves")
class Halves(evalkit.Scenario):
    "Texts with half a character."

    def instances(self, data: DataStore) -> Iterator[Instance]:
        for number in range(6):
            extra = {HALF: HALF, "nothing": float("nan"), "long": 2**70, "endless": float("-inf"), 3: "three"}
            references = (Reference(HALF, ("correct",)), Reference("other", ()))
            yield Instance(f"{number} {HALF}", references, "test", sub_split=HALF, extra=extra)


@evalkit.run_spec_function("halves")
def halves(note: str = HALF) -> RunSpec:
    "Texts with half a character."
    return RunSpec(
        name="halves:",
        scenario_spec=ScenarioSpec(name="halves"),
        adapter_spec=evalkit.generation(HALF, "Question", "Answer", max_tokens=5),
        metric_specs=evalkit.metric_specs("exact_match", "f1_score"),
        groups=(HALF,),
    )
"""


def strictly(text: str) -> Any:
    """JSON as every reader takes it: without NaN."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def halves(workspace: Workspace, serve: Serve) -> tuple[object, ...]:
    """The options of commands that evaluate a model which answers with half a character."""
    (workspace.path / "halves.py").write_text(PLUGIN, encoding="utf-8")
    workspace.deploy("test/a", serve(answers=lambda prompt: HALF).url)
    return ("-r", "halves:model=test/a", "--plugin", "halves.py")


def test_a_run_completes_and_its_files_are_json_that_says_the_same(
    workspace: Workspace, halves: tuple[object, ...]
) -> None:
    finished = workspace.evalkit("run", *halves, "--cache", "-q")
    assert (finished.code, "Traceback" in finished.err) == (0, False), finished.err
    directory = workspace.run()
    instance = directory.instances()[0]
    assert instance.input == f"0 {HALF}"
    assert (instance.references[0].text, instance.sub_split) == (HALF, HALF)
    extra = {HALF: HALF, "nothing": float("nan"), "long": 2**70, "endless": float("-inf"), "3": "three"}
    assert repr(instance.extra) == repr(extra)
    assert [record.outcome.completions[0].text for record in records_of(directory)] == [HALF] * 6  # type: ignore[union-attr]
    stored = workspace.stored()
    assert list(stored.dataframe()["outputs"]) == [(HALF,)] * 6
    assert list(stored.dataframe()["input"]) == [f"{number} {HALF}" for number in range(6)]
    assert (stored.stat("exact_match").mean, stored.stat("f1_score").mean) == (1.0, 1.0)
    for path in directory.path.glob("*.json*"):
        text = path.read_text(encoding="utf-8")
        for piece in text.splitlines() if path.suffix == ".jsonl" else [text]:
            strictly(piece)


def test_a_second_run_takes_such_answers_from_the_cache(
    workspace: Workspace, halves: tuple[object, ...]
) -> None:
    workspace.evalkit("run", *halves, "--cache", "-q")
    finished = workspace.evalkit("run", *halves, "--cache", "--suite", "again", "-q")
    assert finished.code == 0, finished.err
    outcomes = [record.outcome for record in records_of(workspace.run("again"))]
    assert all(outcome.cached for outcome in outcomes)  # type: ignore[union-attr]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_plan_shows_such_requests(workspace: Workspace, halves: tuple[object, ...], as_json: bool) -> None:
    finished = workspace.evalkit("plan", "--requests", *halves, *(["--json"] if as_json else []))
    assert finished.code == 0, finished.err
    if as_json:
        rows = [strictly(line) for line in finished.out.splitlines()]
        assert [row["prompt"].count(HALF) for row in rows] == [2] * 6
    else:
        assert finished.out.count(r"half \ud83d here") == 12


def test_every_command_that_reads_the_run_gets_through(
    workspace: Workspace, halves: tuple[object, ...]
) -> None:
    workspace.evalkit("run", *halves, "-q")
    for arguments in (
        ("summarize",),
        ("summarize", "--json"),
        ("summarize", "--by-split"),
        ("summarize", "--groups"),
        ("summarize", "--groups", "--json"),
        ("score", workspace.run().path),
        ("summarize", "--csv"),
        ("summarize", "--format", "markdown"),
        ("summarize", "--groups", "--format", "latex"),
        ("list", "run_spec", "--plugin", "halves.py"),
        ("list", "--plugin", "halves.py", "--json"),
        ("show", "halves", "--plugin", "halves.py"),
        ("show", "halves", "--plugin", "halves.py", "--json"),
        ("export", "helm", "benchmark_output", "-o", "helm"),
        ("import", "helm", "helm", "-o", "back"),
    ):
        finished = workspace.evalkit(*arguments)
        assert (finished.code, "Traceback" in finished.err) == (0, False), (arguments, finished.err)
        if "--json" in arguments:
            strictly(finished.out)
    exported = next(Path(workspace.path / "helm").glob("runs/*/*/scenario_state.json"))
    state = strictly(exported.read_text(encoding="utf-8"))["request_states"][0]
    assert state["result"]["completions"][0]["text"] == HALF
