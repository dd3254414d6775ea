"""What answering took, as results; and scores that are seen while a run goes on."""

from __future__ import annotations

import csv
import io
import json
import math
import signal
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import evalkit
from evalkit import Observer, RunResult
from evalkit.registry import isolated_registries
from evalkit.response import Outcome, Response
from tests.end_to_end.conftest import Serve
from tests.end_to_end.servers import solve_two_of_three
from tests.end_to_end.workspace import Workspace, records_of, until

ENTRY = "arithmetic:num_test=60,model=test/a"


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    with isolated_registries():
        yield


def row_of(workspace: Workspace) -> dict[str, Any]:
    finished = workspace.evalkit("summarize", "--efficiency", "--json")
    assert finished.code == 0, finished.err
    (row,) = json.loads(finished.out)
    return dict(row)


def test_a_run_tells_what_it_took(workspace: Workspace, serve: Serve) -> None:
    server = serve(latency_s=0.05)
    workspace.deploy("test/a", server.url, limits={"max_concurrency": 4, "initial_concurrency": 4})
    began_s = time.monotonic()
    assert workspace.evalkit("run", "-r", ENTRY, "-q").code == 0
    took_s = time.monotonic() - began_s
    row = row_of(workspace)
    assert (row["status"], row["requests"], row["completion_tokens"]) == ("complete", 60, 60)
    # 15 rounds of 0.05 s each, four at a time; most wait for others.
    assert 0.75 <= row["busy_s"] < took_s
    assert row["requests_per_s"] == pytest.approx(60 / row["busy_s"])
    assert 1 < row["concurrency"] <= 4
    assert 0.05 <= row["service_s_p50"] <= row["service_s_p95"] < took_s
    assert row["queue_s"] > 0.05
    # APIs tell nothing of these.
    assert (
        row["padded_tokens"] is row["batch_size"] is row["peak_memory_bytes"] is row["first_token_s"] is None
    )
    stats = workspace.run().stats()
    assert {stat["n"] for stat in stats if stat["kind"] == "efficiency"} == {60}
    assert workspace.evalkit("score", workspace.run().path).code == 0
    assert workspace.run().stats() == stats


def test_it_is_shown_in_every_format(workspace: Workspace, serve: Serve) -> None:
    workspace.deploy("test/a", serve(latency_s=0.01).url)
    assert workspace.evalkit("run", "-r", ENTRY, "arithmetic:num_test=5,model=evalkit/echo", "-q").code == 0
    shown = {
        name: workspace.evalkit("summarize", "--efficiency", "-f", name)
        for name in ("table", "markdown", "latex", "csv")
    }
    assert {finished.code for finished in shown.values()} == {0}
    for name in ("table", "markdown", "latex"):
        assert "output tokens/s" in shown[name].out
        assert "memory" not in shown[name].out
        assert "evalkit" not in shown[name].out
    for finished in shown.values():
        assert "model=evalkit_echo has no efficiency numbers" in finished.err
    rows = list(csv.DictReader(io.StringIO(shown["csv"].out)))
    assert sorted(row["requests"] for row in rows) == ["", "60.0"]
    # The usual table has none of it, not even with token counts.
    usage = workspace.evalkit("summarize", "--usage", "--by-split").out
    assert "latency_s" in usage
    assert "queue_s" not in usage
    wrong = workspace.evalkit("summarize", "--efficiency", "--groups")
    assert (wrong.code, wrong.out) == (2, "")
    assert "--efficiency" in wrong.err


def test_baselines_and_the_cache_have_none(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    workspace.deploy("test/a", server.url)
    for suite in ("first", "second"):
        assert workspace.evalkit("run", "-r", ENTRY, "-q", "--cache", "--suite", suite).code == 0
    assert server.num_answered == 60
    assert {stat["kind"] for stat in workspace.run("first").stats()} == {"score", "usage", "efficiency"}
    assert {stat["kind"] for stat in workspace.run("second").stats()} == {"score", "usage"}
    finished = workspace.evalkit("summarize", "--efficiency", "--suite", "second")
    assert (finished.code, finished.out) == (0, "")
    assert "no efficiency numbers" in finished.err


def test_the_break_before_a_run_is_resumed_does_not_count(workspace: Workspace, serve: Serve) -> None:
    server = serve(latency_s=0.02)
    workspace.deploy("test/a", server.url, limits={"max_concurrency": 2})
    process = workspace.start("run", "-r", ENTRY, "-q")
    until(lambda: workspace.num_lines() >= 20)
    process.send_signal(signal.SIGKILL)
    workspace.finish(process)
    killed_at = time.time()
    time.sleep(0.5)
    assert workspace.evalkit("run", "-r", ENTRY, "-q").code == 0
    row = row_of(workspace)
    assert row["requests"] == 60
    told = [r.outcome.efficiency for r in records_of(workspace.run()) if isinstance(r.outcome, Response)]
    starts = sorted(efficiency.started_at for efficiency in told if efficiency is not None)
    assert len(starts) == 60
    # No request was being worked on.
    break_s = min(s for s in starts if s > killed_at) - max(s for s in starts if s < killed_at)
    assert break_s > 0.5
    assert row["busy_s"] <= starts[-1] - starts[0] + row["service_s_p95"] * 2 - break_s + 0.1


class Watcher(Observer):
    """Keeps what it is told of scores, and when."""

    def __init__(self) -> None:
        self.told: list[tuple[int, list[str], float]] = []
        self.num_finished: list[int] = []
        self.finished = 0
        self.results: list[RunResult] = []

    def finished_request(self, name: str, outcome: Outcome, cost_usd: float | None) -> None:
        self.finished += 1

    def scored(self, name: str, num_scored: int, scores: Mapping[str, float]) -> None:
        assert not self.results
        first = next(iter(scores), None)
        self.told.append((num_scored, list(scores), math.nan if first is None else scores[first]))
        self.num_finished.append(self.finished)

    def finished_run(self, result: RunResult) -> None:
        self.results.append(result)


def watch(workspace: Workspace, entry: str = ENTRY) -> Watcher:
    watcher = Watcher()
    evalkit.run(
        entry,
        observer=watcher,
        model_deployments=workspace.deployments_path,
        output_path=workspace.path / "benchmark_output",
    )
    return watcher


def test_scores_are_seen_while_a_run_goes_on(workspace: Workspace, serve: Serve) -> None:
    server = serve(latency_s=0.1, answers=solve_two_of_three)
    workspace.deploy("test/a", server.url, limits={"max_concurrency": 4, "initial_concurrency": 4})
    watcher = watch(workspace)
    answered = [told for told in watcher.told if told[0]]
    # The first answers are seen before the next ones are there.
    assert watcher.num_finished[watcher.told.index(answered[0])] <= 8
    assert len(answered) > 3
    assert [num_scored for num_scored, *_ in answered] == sorted(num_scored for num_scored, *_ in answered)
    (result,) = watcher.results
    (stat,) = [stat for stat in result.stats if stat.name == answered[-1][1][0]]
    assert answered[-1][0] == stat.n == 60
    assert answered[-1][2] == pytest.approx(stat.mean)


def test_what_earlier_starts_scored_is_seen_again(workspace: Workspace, serve: Serve) -> None:
    server = serve(latency_s=0.005)
    workspace.deploy("test/a", server.url, limits={"max_concurrency": 2})
    process = workspace.start("run", "-r", ENTRY, "-q")
    until(lambda: workspace.num_lines() >= 20)
    process.send_signal(signal.SIGKILL)
    workspace.finish(process)
    watcher = watch(workspace)
    assert watcher.told[0][0] >= 20
    assert watcher.told[-1][0] == 60
