"""Ctrl-C and SIGTERM: what is in flight is kept, a second one ends at once, the next start goes on."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from evalkit.running import GRACE_S
from tests.end_to_end.conftest import Serve
from tests.end_to_end.workspace import Workspace, index_of, until

IN_FLIGHT = 8
LIMITS = {"max_concurrency": IN_FLIGHT, "initial_concurrency": IN_FLIGHT}
NUM_REQUESTS = 200
ENTRY = f"arithmetic:num_test={NUM_REQUESTS},model=test/a"
BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.mark.slow
@BOTH
def test_the_first_signal_keeps_what_is_in_flight(
    workspace: Workspace, serve: Serve, number: signal.Signals
) -> None:
    server = serve(latency_s=0.1, jitter=0.5)
    workspace.deploy("test/a", server.url, limits=LIMITS)
    process = workspace.start("run", "-r", ENTRY)
    until(lambda: workspace.num_lines() >= 20)
    process.send_signal(number)
    finished = workspace.finish(process)

    assert finished.code == 130
    assert "interrupted" in finished.err
    assert "Traceback" not in finished.err
    until(lambda: server.in_flight == 0)
    index = index_of(workspace.run())
    assert not index.damage
    assert index.torn_bytes == 0
    assert len(index.answered) == server.num_answered < NUM_REQUESTS
    stored = workspace.stored()
    assert stored.manifest.status == "interrupted"
    assert stored.stat("exact_match").n == server.num_answered

    finished = workspace.evalkit("run", "-r", ENTRY, "-q")
    assert finished.code == 0, finished.err
    assert server.num_answered == NUM_REQUESTS
    assert len(set(server.prompts)) == NUM_REQUESTS
    assert workspace.stored().stat("exact_match").mean == 1.0


@BOTH
def test_the_second_signal_ends_at_once(workspace: Workspace, serve: Serve, number: signal.Signals) -> None:
    server = serve(latency_s=60.0)
    workspace.deploy("test/a", server.url, limits=LIMITS)
    process = workspace.start("run", "-r", ENTRY)
    until(lambda: server.in_flight == IN_FLIGHT)
    process.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    began_s = time.monotonic()
    process.send_signal(number)
    finished = workspace.finish(process)

    assert time.monotonic() - began_s < GRACE_S / 2
    assert finished.code == 130
    assert "Traceback" not in finished.err
    assert index_of(workspace.run()).num_lines == 0
    assert workspace.stored().manifest.status == "interrupted"


@pytest.mark.slow
def test_a_signal_while_runs_wait_for_their_turn_ends_them_all(workspace: Workspace, serve: Serve) -> None:
    server = serve(latency_s=0.1)
    workspace.deploy("test/a", server.url, limits=LIMITS)
    operations = ("add", "subtract", "multiply")
    entries = [f"arithmetic:operation={name},num_test=60,model=test/a" for name in operations]
    process = workspace.start("run", "-q", "-r", *entries)
    until(lambda: workspace.num_lines() >= 10)
    process.send_signal(signal.SIGINT)
    assert workspace.finish(process).code == 130
    assert workspace.evalkit("run", "-q", "-r", *entries).code == 0
    assert server.num_answered == 180
    assert [len(index_of(run).answered) for run in workspace.runs()] == [60, 60, 60]
