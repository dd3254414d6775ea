"""Complete runs of an earlier evalkit: read by today's rules, and what changed is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import evalkit
from evalkit import Observer
from evalkit.results.run_directory import RunDirectory
from evalkit.runs.events import RunFinished, StageFinished
from evalkit.trackers.stored_events import stored_events
from tests.old_format import made_old

ENTRY = "arithmetic:num_test=12,model=evalkit/echo"


class Notes(Observer):
    """Remembers the remarks."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def run(folder: Path) -> tuple[RunDirectory, list[str], str]:
    notes = Notes()
    (result,) = evalkit.run(ENTRY, output_path=folder, observer=notes)
    assert result.path is not None
    return RunDirectory(Path(result.path)), notes.notes, result.status


def make_old(directory: RunDirectory, blocked: int) -> None:
    """As evalkit 0.1 left a run: no word of the rules of scoring, blocked answers kept as empty ones."""
    made_old(directory)
    lines = directory.journal_path.read_text().splitlines()
    for number in range(len(lines) - blocked, len(lines)):
        plain = json.loads(lines[number])
        plain["response"]["completions"][0] |= {"text": "", "finish_reason": "content_filter"}
        lines[number] = json.dumps(plain, separators=(",", ":"))
    directory.journal_path.write_text("\n".join(lines) + "\n")


def stat(directory: RunDirectory) -> dict[str, Any]:
    (found,) = [s for s in directory.stats() if s["name"] == "exact_match" and s["split"] == "all"]
    return dict(found)


def test_a_complete_run_is_scored_anew_once_and_says_what_changed(tmp_path: Path) -> None:
    directory, _, _ = run(tmp_path)
    assert stat(directory)["n"] == 12
    good = stat(directory)
    wrong = [{**s, "mean": 0.123} if s["name"] == "exact_match" else s for s in directory.stats()]
    directory.write_stats(wrong)
    make_old(directory, blocked=0)
    _, notes, status = run(tmp_path)
    assert status == "complete"
    assert stat(directory) == good
    (note,) = notes
    assert f"exact_match 0.123 -> {good['mean']:.3f}" in note
    assert run(tmp_path)[1:] == ([], "complete")


def test_what_a_filter_blocked_then_is_a_failure_now(tmp_path: Path) -> None:
    directory, _, _ = run(tmp_path)
    make_old(directory, blocked=3)
    run(tmp_path)
    assert (stat(directory)["n"], stat(directory)["n_failed"], stat(directory)["n_blocked"]) == (9, 3, 3)
    # Nothing of it is asked again, whether the run counts as complete or is resumed.
    num_lines = len(directory.journal_path.read_text().splitlines())
    manifest = directory.manifest()
    assert manifest is not None
    directory.write_manifest(replace(manifest, status="interrupted"))
    _, _, status = run(tmp_path)
    assert status == "complete"
    assert directory.journal_path.read_text().count('"key"') == num_lines - 1


def test_a_run_of_an_earlier_evalkit_is_reported_to_trackers(tmp_path: Path) -> None:
    directory, _, _ = run(tmp_path)
    make_old(directory, blocked=0)
    events = [event for event, _ in stored_events(directory.path)]
    (stage,) = (event.report for event in events if isinstance(event, StageFinished))
    assert (stage.stage, stage.status) == ("answers", "complete")
    assert (stage.num_requests, stage.num_answered) == (12, 12)
    finished = events[-1]
    assert isinstance(finished, RunFinished)
    assert finished.run.name == directory.path.name
    (mean,) = (s.mean for s in finished.result.stats if s.name == "exact_match" and s.split == "all")
    assert mean == stat(directory)["mean"]
