"""Starting again: what is kept is never asked twice, never overwritten, and never mixed."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from evalkit.execution.journal_index import scan_journal
from evalkit.response import Response
from evalkit.results.run_directory import RunDirectory
from tests.end_to_end.conftest import Serve
from tests.end_to_end.servers import Double
from tests.end_to_end.workspace import Workspace, contents, index_of, records_of, until

NUM_REQUESTS = 100
ENTRY = f"arithmetic:num_test={NUM_REQUESTS},model=test/a"
PLUGIN = '''
from evalkit import RunSpec, ScenarioSpec, generation, metric_specs, run_spec_function


def sums(*metrics: str) -> RunSpec:
    return RunSpec(
        name="sums",
        scenario_spec=ScenarioSpec(name="arithmetic", args={"num_test": 60}),
        adapter_spec=generation("", "Question", "Answer"),
        metric_specs=metric_specs(*metrics),
    )


@run_spec_function("sums_exactly")
def sums_exactly() -> RunSpec:
    """Sums, scored in one way."""
    return sums("exact_match")


@run_spec_function("sums_loosely")
def sums_loosely() -> RunSpec:
    """The same sums, scored in another."""
    return sums("quasi_exact_match", "f1_score")
'''


def killed_run(workspace: Workspace, server: Double, num_lines: int) -> RunDirectory:
    """A run that was killed when its journal had some lines."""
    process = workspace.start("run", "-r", ENTRY, "-q")
    until(lambda: workspace.num_lines() >= num_lines)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until(lambda: server.in_flight == 0)
    directory = workspace.run()
    assert len(index_of(directory).answered) < NUM_REQUESTS
    return directory


def test_a_finished_run_is_left_alone(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    workspace.deploy("test/a", server.url)
    first = workspace.evalkit("run", "-r", ENTRY, "-q")
    assert first.code == 0, first.err
    before = contents(workspace.suite(), leaving_out=("run.lock",))

    second = workspace.evalkit("run", "-r", ENTRY, "-q")

    assert second == first
    assert server.num_received == NUM_REQUESTS
    assert contents(workspace.suite(), leaving_out=("run.lock",)) == before


def test_fresh_asks_all_anew_and_keeps_the_old(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    workspace.deploy("test/a", server.url)
    assert workspace.evalkit("run", "-r", ENTRY, "-q").code == 0
    before = contents(workspace.run().path)

    finished = workspace.evalkit("run", "-r", ENTRY, "--fresh")

    assert finished.code == 0, finished.err
    assert server.num_answered == 2 * NUM_REQUESTS
    (old,) = (workspace.suite() / ".replaced").iterdir()
    assert str(old.relative_to(workspace.path)) in finished.err
    assert contents(old, leaving_out=("run.lock",)) == {k: v for k, v in before.items() if k != "run.lock"}
    assert workspace.stored().manifest.starts == 1
    assert len(index_of(workspace.run()).answered) == NUM_REQUESTS
    rows = json.loads(workspace.evalkit("summarize", "--json").out)
    assert {row["run"] for row in rows} == {workspace.run().path.name}


def test_a_change_the_name_does_not_show_gets_a_directory_of_its_own(
    workspace: Workspace, serve: Serve
) -> None:
    server = serve()
    workspace.deploy("test/a", server.url)
    assert workspace.evalkit("run", "-r", ENTRY, "-q").code == 0
    before = contents(workspace.run().path, leaving_out=("run.lock",))

    warm = workspace.evalkit("run", "-r", f"{ENTRY},temperature=0.5")

    assert warm.code == 0, warm.err
    assert server.num_answered == 2 * NUM_REQUESTS
    plain, marked = workspace.runs()
    assert contents(plain.path, leaving_out=("run.lock",)) == before
    manifest = marked.manifest()
    assert manifest is not None
    assert marked.path.name == f"{plain.path.name}@{manifest.digest[:8]}"
    assert "temperature: 0 -> 0.5" in warm.err
    assert marked.path.name in warm.err
    for entry in (ENTRY, f"{ENTRY},temperature=0.5"):
        assert workspace.evalkit("run", "-r", entry, "-q").code == 0
    assert server.num_answered == 2 * NUM_REQUESTS


def test_two_runs_of_one_name_in_one_plan_are_told_apart(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    workspace.deploy("test/a", server.url)
    finished = workspace.evalkit("run", "-r", ENTRY, f"{ENTRY},temperature=0.5")
    assert finished.code == 0, finished.err
    assert "temperature" in finished.err
    assert len(workspace.runs()) == 2
    ends = re.findall(rf"^(\S+): {NUM_REQUESTS}/{NUM_REQUESTS} done.* complete", finished.err, re.MULTILINE)
    assert sorted(ends) == [run.path.name for run in workspace.runs()]


@pytest.mark.parametrize("together", [False, True])
def test_other_metrics_need_no_other_answers(workspace: Workspace, serve: Serve, together: bool) -> None:
    server = serve(latency_s=0.005)
    workspace.deploy("test/a", server.url)
    (workspace.path / "plugin.py").write_text(PLUGIN)
    entries = ["sums_exactly:model=test/a", "sums_loosely:model=test/a"]
    calls = [entries] if together else [[entry] for entry in entries]
    for call in calls:
        finished = workspace.evalkit("run", "--plugin", "plugin.py", "-r", *call)
        assert finished.code == 0, finished.err
    assert "60 answers taken from sums" in finished.err
    assert server.num_received == 60
    exactly, loosely = workspace.runs()
    assert "exact_match" in {stat["name"] for stat in exactly.stats()}
    (f1,) = [stat for stat in loosely.stats() if stat["name"] == "f1_score"]
    assert (f1["mean"], f1["n"]) == (1.0, 60)
    manifest, other = exactly.manifest(), loosely.manifest()
    assert manifest is not None
    assert other is not None
    assert manifest.request_digest == other.request_digest
    assert loosely.path.name == f"{exactly.path.name}@{other.digest[:8]}"


def test_a_run_in_progress_is_locked(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    server.gate.hold_after(1)
    workspace.deploy("test/a", server.url)
    first = workspace.start("run", "-r", ENTRY, "-q")
    until(lambda: workspace.num_lines() > 0)

    for flags in ((), ("--fresh",)):
        second = workspace.evalkit("run", "-r", ENTRY, "-q", *flags)
        assert second.code == 3
        assert f"is in use by process {first.pid}" in second.err
        assert "Traceback" not in second.err

    server.gate.open()
    finished = workspace.finish(first)
    assert finished.code == 0, finished.err
    assert server.num_answered == NUM_REQUESTS


def test_the_cache_answers_across_suites(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    prices = {"input_usd_per_million_tokens": 1.0, "output_usd_per_million_tokens": 1.0}
    workspace.deploy("test/a", server.url, prices=prices)
    for suite in ("first", "second"):
        finished = workspace.evalkit("run", "-r", ENTRY, "-q", "--cache", "--suite", suite)
        assert finished.code == 0, finished.err
    assert server.num_answered == NUM_REQUESTS
    outcomes = [record.outcome for record in records_of(workspace.run("second"))]
    assert all(isinstance(outcome, Response) and outcome.cached for outcome in outcomes)
    assert workspace.stored("second").manifest.cost_usd == 0
    assert workspace.stored("first").manifest.cost_usd == pytest.approx(server.num_tokens / 1e6, abs=1e-6)
    assert workspace.run("first").scores_path.read_bytes() == workspace.run("second").scores_path.read_bytes()
    warm = workspace.evalkit("run", "-r", f"{ENTRY},temperature=0.5", "-q", "--cache", "--suite", "second")
    assert warm.code == 0
    assert server.num_answered == 2 * NUM_REQUESTS


def damaged_middle(journal: Path) -> tuple[int, str]:
    """Overwrite part of a middle line; its offset and the key of its request."""
    lines = journal.read_bytes().splitlines(keepends=True)
    middle = len(lines) // 2
    key = json.loads(lines[middle])["key"]
    offset = sum(map(len, lines[:middle]))
    lines[middle] = b"\x00" * 40 + lines[middle][40:]
    journal.write_bytes(b"".join(lines))
    return offset, key


def test_a_damaged_line_costs_its_own_request_only(workspace: Workspace, serve: Serve) -> None:
    server = serve(latency_s=0.01)
    workspace.deploy("test/a", server.url, limits={"max_concurrency": 4})
    directory = killed_run(workspace, server, num_lines=30)
    offset, key = damaged_middle(directory.journal_path)
    kept = index_of(directory).answered
    assert key not in kept
    num_served = len(server.prompts)

    finished = workspace.evalkit("run", "-r", ENTRY)

    assert finished.code == 0, finished.err
    (note,) = [line for line in finished.err.splitlines() if line.startswith("note: ")]
    assert str(directory.journal_path.relative_to(workspace.path)) in note
    assert f"byte {offset} " in note
    assert "asked again" in note
    assert len(server.prompts) - num_served == NUM_REQUESTS - len(kept)
    index = scan_journal(directory.journal_path)
    assert len(index.answered) == NUM_REQUESTS
    assert [damage.offset for damage in index.damage] == [offset]
    assert workspace.stored().stat("exact_match").mean == 1.0


def test_a_torn_last_line_is_healed(workspace: Workspace, serve: Serve) -> None:
    server = serve(latency_s=0.01)
    workspace.deploy("test/a", server.url, limits={"max_concurrency": 4})
    directory = killed_run(workspace, server, num_lines=30)
    journal = directory.journal_path
    whole = journal.read_bytes()
    journal.write_bytes(whole[: -len(whole.splitlines()[-1]) // 2])
    kept = index_of(directory).answered
    num_served = len(server.prompts)

    finished = workspace.evalkit("run", "-r", ENTRY, "-q")

    assert finished.code == 0, finished.err
    assert len(server.prompts) - num_served == NUM_REQUESTS - len(kept)
    index = index_of(directory)
    assert len(index.answered) == index.num_lines == NUM_REQUESTS
    assert not index.damage
    assert workspace.stored().stat("exact_match").n == NUM_REQUESTS


def test_scores_are_made_anew_from_the_journal_alone(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    workspace.deploy("test/a", server.url)
    assert workspace.evalkit("run", "-r", ENTRY, "-q").code == 0
    directory = workspace.run()
    scores, stats = directory.scores_path.read_bytes(), directory.stats()
    directory.scores_path.unlink()
    (directory.path / "stats.json").unlink()

    finished = workspace.evalkit("score", directory.path)

    assert finished.code == 0, finished.err
    assert server.num_received == NUM_REQUESTS
    assert directory.scores_path.read_bytes() == scores
    assert directory.stats() == stats
