"""The file of the JSON-lines tracker: one whole line per event, whatever was in the file before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evalkit.response import Completion, Failure, Response, Usage
from evalkit.results.run_result import RunResult, StageReport
from evalkit.runs.events import (
    Event,
    ModelLoaded,
    ModelLoading,
    Note,
    RequestFinished,
    RunFinished,
    RunsPlanned,
    RunStarted,
    Scored,
    StageFinished,
    StageStarted,
)
from evalkit.trackers.jsonl import JsonLinesTracker
from tests.run_events import handle

RUN = handle("gsm:model=test_a")
REPORT = StageReport("answers", "partial", 10, 7, 3, {"timeout": 3}, 0.5)
HANDLE = {
    "run": RUN.name,
    "path": str(RUN.path.absolute()),
    "run_spec": RUN.spec_name,
    "digest": RUN.digest,
    "deployment": RUN.deployment,
}
STAGE = {
    "stage": "answers",
    "status": "partial",
    "num_requests": 10,
    "num_answered": 7,
    "num_failed": 3,
    "failures": {"timeout": 3},
    "cost_usd": 0.5,
}
FORMS: list[tuple[Event, dict[str, Any]]] = [
    (RunsPlanned((RUN,)), {"event": "runs_planned", "runs": [HANDLE]}),
    (RunStarted(RUN), {"event": "run_started", **HANDLE}),
    (ModelLoading("test/a", (RUN,)), {"event": "model_loading", "deployment": "test/a", "runs": [RUN.name]}),
    (
        ModelLoaded("test/a", (RUN,), 1.25),
        {"event": "model_loaded", "deployment": "test/a", "runs": [RUN.name], "seconds": 1.25},
    ),
    (
        StageStarted(RUN, "answers", 10, 4),
        {
            "event": "stage_started",
            "run": RUN.name,
            "stage": "answers",
            "num_requests": 10,
            "num_answered": 4,
        },
    ),
    (
        RequestFinished(RUN, "answers", "t0/id1", Response((Completion("A secret"),), Usage(3, 2), 0.5), 0.1),
        {
            "event": "request_finished",
            "run": RUN.name,
            "stage": "answers",
            "key": "t0/id1",
            "status": "answered",
            "prompt_tokens": 3,
            "completion_tokens": 2,
            "latency_s": 0.5,
            "cached": False,
            "cost_usd": 0.1,
        },
    ),
    (
        RequestFinished(RUN, "answers", "t0/id2", Failure("timeout", "no answer\nin 60 s"), None),
        {
            "event": "request_finished",
            "run": RUN.name,
            "stage": "answers",
            "key": "t0/id2",
            "status": "failed",
            "reason": "timeout",
            "message": "no answer in 60 s",
        },
    ),
    (
        Scored(RUN, 7, {"exact_match": 0.25, "bits": float("nan")}),
        {"event": "scored", "run": RUN.name, "num_scored": 7, "scores": {"exact_match": 0.25, "bits": None}},
    ),
    (StageFinished(RUN, REPORT), {"event": "stage_finished", "run": RUN.name, **STAGE}),
    (
        RunFinished(RUN, RunResult(RUN.name, "partial", counts={"num_requests": 10}, stages=(REPORT,))),
        {
            "event": "run_finished",
            **HANDLE,
            "status": "partial",
            "message": "",
            "counts": {"num_requests": 10},
            "cost_usd": None,
            "reported_cost_usd": None,
            "stages": [STAGE],
            "stats": [],
        },
    ),
    (Note("a line is damaged", RUN), {"event": "note", "run": RUN.name, "message": "a line is damaged"}),
    (Note("all is planned"), {"event": "note", "run": None, "message": "all is planned"}),
]


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Every line is whole."""
    raw = path.read_bytes()
    assert raw.endswith(b"\n")
    return [json.loads(line) for line in raw.splitlines()]


def write(path: Path, session: str, *events: Event) -> None:
    tracker = JsonLinesTracker(str(path))
    tracker.open(session)
    for at, event in enumerate(events):
        tracker.track(event, float(at))
    tracker.close(0)


def test_there_is_a_form_for_every_event() -> None:
    assert {type(event) for event, _ in FORMS} == set(Event.__args__)


@pytest.mark.parametrize(("event", "plain"), FORMS, ids=lambda each: type(each).__name__)
def test_an_event_is_a_line(event: Event, plain: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "new" / "events.jsonl", "s1", event)
    first, line, last = lines_of(tmp_path / "new" / "events.jsonl")
    assert (first["event"], first["format"]) == ("session_started", 1)
    assert line == {"session": "s1", "at": 0.0, **plain}
    assert (last["event"], last["num_dropped"]) == ("session_finished", 0)


def test_no_prompt_and_no_answer_is_in_it(tmp_path: Path) -> None:
    write(tmp_path / "events.jsonl", "s1", *(event for event, _ in FORMS))
    assert b"A secret" not in (tmp_path / "events.jsonl").read_bytes()


def test_a_file_that_is_there_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(path, "s1", RunStarted(RUN))
    before = path.read_bytes()
    write(path, "s2", RunStarted(RUN))
    assert path.read_bytes().startswith(before)
    assert [line["session"] for line in lines_of(path)] == ["s1"] * 3 + ["s2"] * 3


def test_a_torn_line_is_cut_off_wherever_it_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(path, "s1", RunsPlanned((RUN,) * 2000), RunStarted(RUN))
    whole = path.read_bytes().splitlines(keepends=True)
    for number in (0, 1, 3):
        line, before = whole[number], b"".join(whole[:number])
        for length in {1, 5, 11, 12, len(line) // 2, len(line) - 2}:
            path.write_bytes(before + line[:length])
            write(path, "s2", RunStarted(RUN))
            assert path.read_bytes().startswith(before + b'{"session":"s2"')
            assert len(lines_of(path)) == number + 3
        # Only the line break is missing: nothing is lost.
        path.write_bytes(before + line[:-1])
        write(path, "s2", RunStarted(RUN))
        assert path.read_bytes().startswith(before + line + b'{"session":"s2"')


@pytest.mark.parametrize("own", ["my notes", '{"session": 1}', '{"sess', '{"session":"mine"}', "x\ny"])
def test_no_text_of_somebody_elses_is_cut_off(own: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(own)
    write(path, "s1", RunStarted(RUN))
    kept = path.read_text().splitlines()[:-3]
    # A torn beginning of a tracker's own line looks no different.
    assert kept == ([] if own == '{"sess' else own.splitlines())


def test_two_processes_append_whole_lines_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    source = (
        "import sys\n"
        "from evalkit.runs.events import Note\n"
        "from evalkit.trackers.jsonl import JsonLinesTracker\n"
        "tracker = JsonLinesTracker(sys.argv[1])\n"
        "tracker.open(sys.argv[2])\n"
        "for number in range(500):\n"
        "    tracker.track(Note(f'{number} ' + 'x' * 3000), 0.0)\n"
        "tracker.close(0)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", source, str(path), name]) for name in ("s1", "s2")]
    assert [writer.wait() for writer in writers] == [0, 0]
    lines = lines_of(path)
    for session in ("s1", "s2"):
        notes = [e["message"] for e in lines if e["session"] == session and e["event"] == "note"]
        assert [int(note.split()[0]) for note in notes] == list(range(500))


def test_a_device_can_be_written_to() -> None:
    write(Path("/dev/null"), "s1", RunStarted(RUN))


def test_what_can_not_be_written_is_raised(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    tracker = JsonLinesTracker(str(tmp_path / "file" / "events.jsonl"))
    with pytest.raises(OSError, match="file"):
        tracker.open("s1")
    full = JsonLinesTracker("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        full.open("s1")
