"""Runs overlap: a slow deployment holds nobody up, and no run waits for the last stragglers of another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import evalkit
from evalkit import Observer, RunResult
from tests.end_to_end.conftest import Serve
from tests.end_to_end.workspace import Workspace, until

OPERATIONS = ("add", "subtract", "multiply")


@dataclass
class Ended(Observer):
    """Remembers the runs that have ended, and says when they are as many as wanted."""

    wanted: int
    then: Callable[[], None]
    names: list[str] = field(default_factory=list)

    def finished_run(self, result: RunResult) -> None:
        self.names.append(result.name)
        if len(self.names) == self.wanted:
            self.then()


def test_a_slow_deployment_holds_nobody_up(workspace: Workspace, serve: Serve) -> None:
    slow, fast = serve(), serve(latency_s=0.01)
    # The slow one answers nothing more until the fast one has finished all its runs.
    slow.gate.hold_after(1)
    workspace.deploy("test/slow", slow.url, limits={"max_concurrency": 1})
    workspace.deploy("test/fast", fast.url)
    entries = [f"arithmetic:operation={name},num_test=3,model=test/slow" for name in OPERATIONS]
    entries += [f"arithmetic:operation={name},num_test=60,model=test/fast" for name in OPERATIONS]
    ended = Ended(len(OPERATIONS), slow.gate.open)

    results = evalkit.run(
        entries,
        observer=ended,
        model_deployments=workspace.deployments_path,
        output_path=workspace.path / "benchmark_output",
    )

    assert [result.status for result in results] == ["complete"] * 6
    assert slow.double.max_in_flight == 1
    assert all("test_fast" in name for name in ended.names[:3]), ended.names
    assert all("test_slow" in name for name in ended.names[3:]), ended.names


def test_the_limit_stays_in_use_from_run_to_run(workspace: Workspace, serve: Serve) -> None:
    limit, num_test = 8, 20
    server = serve()
    server.gate.hold_after(0)
    limits = {"max_concurrency": limit, "initial_concurrency": limit}
    workspace.deploy("test/a", server.url, limits=limits)
    entries = [
        f"arithmetic:operation={name},digits={digits},num_test={num_test},model=test/a"
        for name in OPERATIONS
        for digits in (2, 3)
    ]
    process = workspace.start("run", "-q", "-r", *entries)

    # One is let through whenever as many wait as may be in flight. If a run waited for the last answer of
    # the one before, fewer would wait at its end, and this would wait for ever.
    total = len(entries) * num_test
    for num_answered in range(total):
        crowd = min(limit, total - num_answered)
        until(lambda crowd=crowd: server.gate.num_held == crowd)  # type: ignore[misc]
        server.gate.hold_after(1)
        until(lambda done=num_answered + 1: server.num_answered == done)  # type: ignore[misc]

    finished = workspace.finish(process)
    assert finished.code == 0, finished.err
    assert len(server.crowds) == total
