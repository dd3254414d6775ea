"""Runs overlap: a slow deployment holds nobody up, and no run waits for the last stragglers of another."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import fmean

import evalkit
from evalkit import Observer, RunResult
from tests.end_to_end.conftest import Serve
from tests.end_to_end.workspace import Workspace

OPERATIONS = ("add", "subtract", "multiply")


@dataclass
class Clock(Observer):
    """Remembers when each run ended."""

    ended_s: dict[str, float] = field(default_factory=dict)

    def finished_run(self, result: RunResult) -> None:
        self.ended_s[result.name] = time.monotonic()


def test_a_slow_deployment_holds_nobody_up(workspace: Workspace, serve: Serve) -> None:
    slow, fast = serve(latency_s=0.3), serve(latency_s=0.01)
    workspace.deploy("test/slow", slow.url, limits={"max_concurrency": 1})
    workspace.deploy("test/fast", fast.url)
    entries = [f"arithmetic:operation={name},num_test=3,model=test/slow" for name in OPERATIONS]
    entries += [f"arithmetic:operation={name},num_test=60,model=test/fast" for name in OPERATIONS]
    clock = Clock()

    began_s = time.monotonic()
    results = evalkit.run(
        entries,
        observer=clock,
        model_deployments=workspace.deployments_path,
        output_path=workspace.path / "benchmark_output",
    )

    assert [result.status for result in results] == ["complete"] * 6
    assert slow.double.max_in_flight == 1
    ended_s = {
        kind: max(at - began_s for name, at in clock.ended_s.items() if name.endswith(kind))
        for kind in ("slow", "fast")
    }
    assert ended_s["slow"] >= 9 * 0.3
    assert ended_s["fast"] < ended_s["slow"] / 2


def test_the_limit_stays_in_use_from_run_to_run(workspace: Workspace, serve: Serve) -> None:
    limit, num_test = 8, 20
    server = serve(latency_s=0.1, jitter=0.5)
    limits = {"max_concurrency": limit, "initial_concurrency": limit}
    workspace.deploy("test/a", server.url, limits=limits)
    entries = [
        f"arithmetic:operation={name},digits={digits},num_test={num_test},model=test/a"
        for name in OPERATIONS
        for digits in (2, 3)
    ]

    finished = workspace.evalkit("run", "-q", "-r", *entries)

    assert finished.code == 0, finished.err
    assert server.double.max_in_flight == limit
    assert len(server.crowds) == len(entries) * num_test
    # If each run waited for the one before, the crowd would shrink to one at each boundary: 4.5 on average.
    for boundary in range(num_test, len(server.crowds), num_test):
        assert fmean(server.crowds[boundary - limit : boundary]) > 0.75 * limit
