"""Ctrl-C and SIGTERM: what is in flight is kept, a second one ends at once, the next start goes on."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.end_to_end.conftest import Serve
from tests.end_to_end.workspace import Workspace, handled, index_of, until

IN_FLIGHT = 8
LIMITS = {"max_concurrency": IN_FLIGHT, "initial_concurrency": IN_FLIGHT}
NUM_REQUESTS = 200
ENTRY = f"arithmetic:num_test={NUM_REQUESTS},model=test/a"
# The command, if the first signal let requests finish for an hour: whoever ends sooner was told to.
PATIENT = (
    "import evalkit.runs.session; evalkit.runs.session.GRACE_S = 3600; from evalkit.cli import main; main()"
)
BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.mark.slow
@BOTH
def test_the_first_signal_keeps_what_is_in_flight(
    workspace: Workspace, serve: Serve, number: signal.Signals
) -> None:
    server = serve(latency_s=0.1, jitter=0.5)
    server.gate.hold_after(20)
    workspace.deploy("test/a", server.url, limits=LIMITS)
    process = workspace.start("run", "-r", ENTRY)
    until(lambda: workspace.num_lines() == 20 and server.gate.num_held == IN_FLIGHT)
    process.send_signal(number)
    until(lambda: handled(process, number))
    server.gate.open()
    finished = workspace.finish(process)

    assert finished.code == 130
    # Once, with what to do.
    [told] = [line for line in finished.err.splitlines() if line.startswith("interrupted: ")]
    assert told.count("interrupted") == 1
    assert told.endswith(": the same command goes on from here")
    assert "Traceback" not in finished.err
    until(lambda: server.in_flight == 0)
    index = index_of(workspace.run())
    assert not index.damage
    assert index.torn_bytes == 0
    assert 20 + IN_FLIGHT <= len(index.answered) == server.num_answered < NUM_REQUESTS
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
    server = serve()
    server.gate.hold_after(0)
    workspace.deploy("test/a", server.url, limits=LIMITS)
    process = workspace.start_program([sys.executable, "-c", PATIENT, "run", "-r", ENTRY])
    until(lambda: server.gate.num_held == IN_FLIGHT)
    process.send_signal(number)
    until(lambda: handled(process, number))
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(number)
    finished = workspace.finish(process)

    assert finished.code == 130
    assert "Traceback" not in finished.err
    assert index_of(workspace.run()).num_lines == 0
    assert workspace.stored().manifest.status == "interrupted"


@pytest.mark.slow
def test_a_signal_while_runs_wait_for_their_turn_ends_them_all(workspace: Workspace, serve: Serve) -> None:
    server = serve(latency_s=0.1)
    server.gate.hold_after(10)
    workspace.deploy("test/a", server.url, limits=LIMITS)
    operations = ("add", "subtract", "multiply")
    entries = [f"arithmetic:operation={name},num_test=60,model=test/a" for name in operations]
    process = workspace.start("run", "-q", "-r", *entries)
    until(lambda: workspace.num_lines() == 10 and server.gate.num_held == IN_FLIGHT)
    process.send_signal(signal.SIGINT)
    until(lambda: handled(process, signal.SIGINT))
    server.gate.open()
    assert workspace.finish(process).code == 130
    assert workspace.evalkit("run", "-q", "-r", *entries).code == 0
    assert server.num_answered == 180
    assert [len(index_of(run).answered) for run in workspace.runs()] == [60, 60, 60]
