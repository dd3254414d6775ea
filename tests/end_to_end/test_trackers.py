"""Trackers of real commands: what a kill leaves, one that hangs, keys, and `evalkit track` afterwards."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from evalkit.testing.server import Faults
from tests.end_to_end.conftest import Serve
from tests.end_to_end.servers import solve_two_of_three
from tests.end_to_end.test_planted_keys import STYLES, deploy, obeyed, plant, repeating
from tests.end_to_end.workspace import Workspace, index_of, until

ENTRY = "arithmetic:digits=3,num_test=80,model=test/a"
PRICES = {"input_usd_per_million_tokens": 1.0, "output_usd_per_million_tokens": 1.0}
HANGS = '''
import time
import evalkit
from evalkit.trackers import tracking

tracking.PROGRESS_WAIT_S, tracking.END_WAIT_S = 1.0, 3.0


@evalkit.tracker("hangs")
class Hangs(evalkit.Tracker):
    """Never comes back."""

    def track(self, event, at):
        while True:
            time.sleep(1)


@evalkit.tracker("raises")
class Raises(evalkit.Tracker):
    """Raises."""

    def track(self, event, at):
        raise RuntimeError("the table is gone")
'''


def events_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def kinds(lines: list[dict[str, Any]]) -> list[str]:
    """What happened, without what may come at any time."""
    return [line["event"] for line in lines if line["event"] not in ("scored", "note")]


def timeless(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in ("session", "at")}


def test_a_killed_run_leaves_whole_lines_and_the_next_start_appends(
    workspace: Workspace, serve: Serve
) -> None:
    server = serve(answers=solve_two_of_three)
    workspace.deploy("test/a", server.url, limits={"max_concurrency": 4}, prices=PRICES)
    path = workspace.path / "events.jsonl"
    words = ("run", "-r", ENTRY, "-q", "--tracker", "jsonl:path=events.jsonl,requests=true")
    server.gate.hold_after(30)
    process = workspace.start(*words)
    # Both have 20 answers, and neither has all: the server holds the rest back.
    until(
        lambda: (
            (path.exists() and path.read_bytes().count(b'"request_finished"') >= 20)
            or process.poll() is not None
        )
    )
    process.send_signal(signal.SIGKILL)
    process.communicate()
    server.gate.open()
    first = path.read_bytes()
    whole = first[: first.rfind(b"\n") + 1]
    killed = [json.loads(line) for line in whole.splitlines()]
    assert kinds(killed)[:4] == ["session_started", "runs_planned", "run_started", "stage_started"]
    journalled = index_of(workspace.run()).answered
    assert {line["key"] for line in killed if line["event"] == "request_finished"} <= set(journalled)
    # What a kill in the middle of a write leaves.
    path.write_bytes(whole + b'{"session":"0123","at":17')

    finished = workspace.evalkit(*words)

    assert finished.code == 0, finished.err
    assert path.read_bytes().startswith(whole + b'{"session":"')
    lines = events_of(path)
    second = lines[len(killed) :]
    assert len({line["session"] for line in killed}) == len({line["session"] for line in second}) == 1
    assert killed[0]["session"] != second[0]["session"]
    (stage,) = (line for line in second if line["event"] == "stage_started")
    assert (stage["num_requests"], stage["num_answered"]) == (80, len(journalled))
    asked = {line["key"] for line in second if line["event"] == "request_finished"}
    assert not asked & set(journalled)
    assert asked | set(journalled) == set(index_of(workspace.run()).answered)
    assert kinds(second)[-3:] == ["stage_finished", "run_finished", "session_finished"]


def test_a_tracker_that_hangs_or_raises_changes_nothing(workspace: Workspace, serve: Serve) -> None:
    workspace.deploy("test/a", serve(answers=solve_two_of_three).url)
    (workspace.path / "hangs.py").write_text(HANGS)
    plain = workspace.evalkit("run", "-r", ENTRY, "-q", "--suite", "plain")
    words = ("--plugin", "hangs.py", "--tracker", "hangs", "raises", "jsonl:path=events.jsonl")
    tracked = workspace.evalkit("run", "-r", ENTRY, "-q", "--suite", "plain", "--fresh", *words)
    assert (plain.code, tracked.code) == (0, 0), tracked.err
    assert tracked.out == plain.out
    notes = [line for line in tracked.err.splitlines() if "tracker" in line]
    assert len(notes) == 2
    assert "note: tracker 'hangs' was not ready 3 s after the runs" in notes[0]
    assert "note: tracker 'raises' failed and was switched off: RuntimeError: the table is gone" in notes[1]
    assert kinds(events_of(workspace.path / "events.jsonl"))[-1] == "session_finished"


def test_no_key_is_in_what_a_tracker_writes(workspace: Workspace) -> None:
    plant(workspace)
    with repeating(list(STYLES.values())) as server:
        deploy(workspace, server.url)
        tracker = "jsonl:path=events.jsonl,requests=true"
        printed = [
            workspace.evalkit("run", "-r", "arithmetic:num_test=200,model=test/a", "--tracker", tracker),
            workspace.evalkit("track", workspace.suite(), "--tracker", "jsonl:path=later.jsonl"),
        ]
    assert not any("Traceback" in each.err for each in printed)
    assert not [found for each in printed for found in obeyed(each.out + each.err)]
    # The server repeated the keys; the workspace is searched for them at the end of the test.
    assert "***" in (workspace.path / "events.jsonl").read_text()
    assert '"status":"failed"' in (workspace.path / "events.jsonl").read_text()


def test_track_reports_afterwards_what_was_reported_live(workspace: Workspace, serve: Serve) -> None:
    server = serve(answers=solve_two_of_three, faults=Faults(server_error=0.3), seed=3)
    workspace.deploy("test/a", server.url, limits={"max_attempts": 1}, prices=PRICES)
    entries = [f"arithmetic:operation={name},num_test=30,model=test/a" for name in ("add", "subtract")]
    live = workspace.evalkit("run", "-q", "-r", *entries, "--tracker", "jsonl:path=live.jsonl")
    assert live.code == 1, live.err
    later = workspace.evalkit("track", workspace.suite(), "--tracker", "jsonl:path=later.jsonl")
    assert (later.code, later.out, later.err) == (0, "", "")
    assert kinds(events_of(workspace.path / "later.jsonl")) == [
        "session_started",
        *["run_started", "stage_finished", "run_finished"] * 2,
        "session_finished",
    ]
    for event in ("run_started", "stage_finished", "run_finished"):
        said_live, said_later = (
            sorted(
                (timeless(line) for line in events_of(workspace.path / name) if line["event"] == event),
                key=lambda line: str(line["run"]),
            )
            for name in ("live.jsonl", "later.jsonl")
        )
        assert said_live == said_later
        assert len(said_live) == 2
    assert any(line.get("failures") for line in events_of(workspace.path / "later.jsonl"))


def test_track_leaves_out_what_has_not_ended_and_says_so(workspace: Workspace, serve: Serve) -> None:
    server = serve(answers=solve_two_of_three)
    workspace.deploy("test/a", server.url)
    whole = "arithmetic:operation=subtract,num_test=5,model=test/a"
    assert workspace.evalkit("run", "-r", whole, "-q").code == 0
    server.gate.hold_after(3)
    process = workspace.start("run", "-r", "arithmetic:num_test=50,model=test/a", "-q")
    until(lambda: server.gate.num_held > 0 or process.poll() is not None)
    going_on = workspace.evalkit("track", workspace.suite(), "--tracker", "jsonl:path=events.jsonl")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    server.gate.open()
    killed = workspace.evalkit("track", workspace.suite(), "--tracker", "jsonl:path=events.jsonl")
    for track in (going_on, killed):
        assert track.code == 1
        assert "has not ended" in track.err
    names = [line["run"] for line in events_of(workspace.path / "events.jsonl") if "stats" in line]
    assert len(names) == 2
    assert all("subtract" in name for name in names)


def test_track_ends_with_an_error_where_the_tracker_fails(workspace: Workspace, serve: Serve) -> None:
    workspace.deploy("test/a", serve(answers=solve_two_of_three).url)
    (workspace.path / "hangs.py").write_text(HANGS)
    assert workspace.evalkit("run", "-r", ENTRY, "-q").code == 0
    track = ("track", workspace.suite(), "--plugin", "hangs.py", "--tracker")
    failed = workspace.evalkit(*track, "raises")
    assert failed.code == 3
    assert failed.err.startswith("error: tracker 'raises' failed: RuntimeError: the table is gone (")
    assert "hangs.py:" in failed.err
    unknown = workspace.evalkit(*track, "jsnl:path=x")
    assert unknown.code == 2
    assert "unknown tracker 'jsnl'; did you mean 'jsonl'?" in unknown.err
    nothing = workspace.evalkit("track", "nowhere", "--tracker", "jsonl:path=x")
    assert nothing.code == 2


def test_trackers_are_listed_like_other_plugins(workspace: Workspace) -> None:
    (workspace.path / "hangs.py").write_text(HANGS)
    listed = json.loads(workspace.evalkit("list", "trackers", "--plugin", "hangs.py", "--json").out)
    assert [entry["name"] for entry in listed] == ["hangs", "jsonl", "raises", "wandb"]
    (shown,) = json.loads(workspace.evalkit("show", "jsonl", "--json").out)
    assert shown["kind"] == "tracker"
    assert {p["name"]: p["required"] for p in shown["params"]} == {"path": True, "requests": False}


def test_a_config_file_may_name_trackers(workspace: Workspace, serve: Serve) -> None:
    workspace.deploy("test/a", serve(answers=solve_two_of_three).url)
    (workspace.path / "plan.yaml").write_text(
        f'run_entries: ["{ENTRY}"]\ntrackers: jsonl:path=events.jsonl\n'
    )
    assert workspace.evalkit("run", "--config", "plan.yaml", "-q").code == 0
    assert kinds(events_of(workspace.path / "events.jsonl"))[-1] == "session_finished"
