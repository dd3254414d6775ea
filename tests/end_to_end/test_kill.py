"""`kill -9` at any moment loses at most what was in flight, and nothing is sent twice that was kept."""

from __future__ import annotations

import random
import signal
from collections import Counter

import pytest

from tests.end_to_end.conftest import Serve
from tests.end_to_end.servers import Double, prompt_hash, solve_two_of_three
from tests.end_to_end.workspace import Workspace, index_of, records_of, timeless_stats, until

NUM_REQUESTS = 900
NUM_KILLS = 20
IN_FLIGHT = 8
# A start gets this many answers before it is killed, plus those that come in while the signal is on its way.
MOST_LINES_PER_START = 30
ENTRY = f"arithmetic:digits=3,num_test={NUM_REQUESTS},model=test/a"


def kept_hashes(workspace: Workspace) -> set[str]:
    """The prompts whose answers the journal holds."""
    if not workspace.suite().exists():
        return set()
    return {prompt_hash(record.state.request.prompt) for record in records_of(workspace.run())}


def killed_start(workspace: Workspace, server: Double, num_more_lines: int) -> bool:
    """Start the run and kill it when it has that many more answers; whether it was killed in time."""
    goal = workspace.num_lines() + num_more_lines
    # However late the kill is, the run is not over by then.
    server.gate.hold_after(num_more_lines + IN_FLIGHT)
    process = workspace.start("run", "-r", ENTRY, "-q")
    if num_more_lines == 0:
        until(lambda: workspace.suite().exists() or process.poll() is not None)
    else:
        until(lambda: workspace.num_lines() >= goal or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    server.gate.open()
    # What was in flight when the client died is answered to nobody; wait for that before taking stock.
    until(lambda: server.in_flight == server.gate.num_held == 0)
    return process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_twenty_kills_cost_nothing_but_what_was_in_flight(workspace: Workspace, serve: Serve) -> None:
    server = serve(latency_s=0.008, jitter=0.5, answers=solve_two_of_three)
    limits = {"max_concurrency": IN_FLIGHT, "initial_concurrency": IN_FLIGHT}
    prices = {"input_usd_per_million_tokens": 2.0, "output_usd_per_million_tokens": 8.0}
    workspace.deploy("test/a", server.url, limits=limits, prices=prices)
    rng = random.Random(7)
    kept: set[str] = set()
    for _ in range(NUM_KILLS):
        num_served = len(server.prompts)
        assert killed_start(workspace, server, rng.randrange(MOST_LINES_PER_START + 1))
        sent_again = kept & set(server.hashes()[num_served:])
        assert not sent_again
        before, kept = kept, kept_hashes(workspace)
        assert before <= kept
    num_served = len(server.prompts)
    assert len(kept) < NUM_REQUESTS, "the run was finished before the last kill: nothing was tested"
    assert len(kept) > NUM_KILLS

    finished = workspace.evalkit("run", "-r", ENTRY, "-q")

    assert finished.code == 0, finished.err
    assert not kept & set(server.hashes()[num_served:])
    times_served = Counter(server.hashes())
    assert len(times_served) == NUM_REQUESTS
    # Twice, since an answer may be on its way to the journal while its successor is in flight already.
    assert sum(times_served.values()) - NUM_REQUESTS <= NUM_KILLS * 2 * IN_FLIGHT
    index = index_of(workspace.run())
    assert len(index.answered) == index.num_lines == NUM_REQUESTS
    assert not index.damage
    assert not index.failures

    unbroken = workspace.evalkit("run", "-r", ENTRY, "-q", "--suite", "unbroken")
    assert unbroken.code == 0, unbroken.err
    killed_run, unbroken_run = workspace.run(), workspace.run("unbroken")
    assert killed_run.scores_path.read_bytes() == unbroken_run.scores_path.read_bytes()
    assert timeless_stats(killed_run) == timeless_stats(unbroken_run)
    assert 0.5 < float(workspace.stored().stat("exact_match").mean or 0) < 0.8
    manifest, unbroken_manifest = killed_run.manifest(), unbroken_run.manifest()
    assert manifest is not None
    assert unbroken_manifest is not None
    assert manifest.usage == unbroken_manifest.usage
    assert manifest.counts == unbroken_manifest.counts
    assert manifest.cost_usd == unbroken_manifest.cost_usd
