"""Data files of the user's own: a broken one leaves the name to the mended one, an edit is said in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import evalkit
from evalkit import Observer
from evalkit.registry import isolated_registries
from evalkit.results.run_directory import RunDirectory
from evalkit.results.run_result import RunResult

PLUGIN = """
import json
import evalkit
from evalkit import DataFile, Instance, Reference, RunSpec, ScenarioSpec

ROWS = DataFile.local("rows.jsonl")

@evalkit.scenario("own")
class Own(evalkit.Scenario):
    def files(self):
        return (ROWS,)

    def instances(self, data):
        for line in data.path(ROWS).read_text().splitlines():
            row = json.loads(line)
            yield Instance(row["q"], (Reference(row["a"], ("correct",)),), split="test")

@evalkit.run_spec_function("own")
def own() -> RunSpec:
    return RunSpec(
        name="own",
        scenario_spec=ScenarioSpec(name="own"),
        adapter_spec=evalkit.generation("", "Q", "A", max_tokens=5),
        metric_specs=evalkit.metric_specs("exact_match"),
        groups=("own",),
    )
"""
NAME = "own:model=evalkit_echo"
SUITE = Path("out/runs/default")


class Notes(Observer):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(PLUGIN)
    with isolated_registries():
        yield


def run(rows: str) -> tuple[RunResult, list[str]]:
    Path("rows.jsonl").write_text(rows)
    seen = Notes()
    (result,) = evalkit.run("own:model=evalkit/echo", observer=seen, plugins="own.py", output_path="out")
    return result, seen.notes


def row(answer: str) -> str:
    return json.dumps({"q": "Which?", "a": answer}) + "\n"


def test_a_run_whose_data_could_not_be_read_leaves_its_name_to_the_next() -> None:
    broken, _ = run('{"q": "Whi')
    assert (broken.status, broken.name) == ("error", NAME)
    manifest = RunDirectory(SUITE / NAME).manifest()
    assert manifest is not None
    assert manifest.status == "error"
    assert "JSONDecodeError" in manifest.message
    mended, notes = run(row("this"))
    assert (mended.status, mended.name) == ("complete", NAME)
    assert any("asked nothing; set aside as" in note for note in notes)
    assert [path.name for path in SUITE.glob("[!.]*")] == [NAME]
    assert len(list((SUITE / ".replaced").iterdir())) == 1
    again, _ = run(row("this"))
    assert again.stats == mended.stats


def test_a_run_with_answers_keeps_its_name_and_the_edit_is_said_in_words() -> None:
    first, _ = run(row("this"))
    second, notes = run(row("that"))
    assert (first.name, second.status) == (NAME, "complete")
    assert second.name.startswith(f"{NAME}@")
    [note] = [note for note in notes if "kept apart as" in note]
    assert " (what is in rows.jsonl, or its name, has changed)" in note
    assert len(note) < 300
    broken, _ = run("no JSON")
    assert broken.status == "error"
    assert {path.name for path in SUITE.glob("[!.]*")} == {NAME, second.name, broken.name}


def test_other_metrics_that_ask_anew_are_named_not_taken_apart() -> None:
    seen = Notes()
    for entry in ("arithmetic:num_test=2", "arithmetic:num_test=2,process_output=remove_thinking"):
        evalkit.run(f"{entry},model=evalkit/echo", observer=seen, output_path="out")
    [note] = [note for note in seen.notes if "kept apart as" in note]
    assert (
        "metric_specs: exact_match, quasi_exact_match, final_number_exact_match -> output_processing(" in note
    )
    assert "absent -> [" not in note
    assert "its requests differ, so they are sent again" in note
