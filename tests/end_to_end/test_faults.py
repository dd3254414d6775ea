"""A server that misbehaves: everything is answered or listed as failed, and no failure is a score."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from evalkit.response import Failure
from evalkit.testing.server import Faults
from tests.end_to_end.conftest import Serve
from tests.end_to_end.workspace import Workspace, records_of

FAULTS = Faults(
    rate_limited=0.10, server_error=0.05, dropped=0.02, stalled=0.01, malformed=0.005, retry_after_s=0.05
)
REASONS = {"server_error", "connection", "timeout", "malformed", "overload"}
NUM_REQUESTS = 700
ENTRY = f"arithmetic:digits=3,num_test={NUM_REQUESTS},model=test/a"
IMPATIENT = {"timeout_s": 1.5, "backoff_s": 0.01, "max_backoff_s": 2.0}


def test_with_enough_attempts_everything_is_answered(workspace: Workspace, serve: Serve) -> None:
    server = serve(latency_s=0.002, faults=FAULTS, seed=3)
    workspace.deploy("test/a", server.url, limits={**IMPATIENT, "max_attempts": 8})

    finished = workspace.evalkit("run", "-r", ENTRY, "-q", "--json")

    assert finished.code == 0, finished.err
    assert set(server.double.outcomes) == {"200", "429", "500", "dropped", "malformed", "stalled"}
    assert server.num_answered == NUM_REQUESTS
    (row,) = [r for r in json.loads(finished.out)["rows"] if r["metric"] == "exact_match"]
    assert (row["mean"], row["n"], row["n_failed"], row["n_total"]) == (1.0, NUM_REQUESTS, 0, NUM_REQUESTS)
    manifest = workspace.stored().manifest
    assert manifest.status == "complete"
    assert manifest.counts["num_answered"] == NUM_REQUESTS


def test_what_fails_is_listed_never_scored_and_retried_alone(workspace: Workspace, serve: Serve) -> None:
    server = serve(latency_s=0.002, faults=FAULTS, seed=5)
    impatient = {**IMPATIENT, "max_attempts": 1, "max_backoff_s": 0.5}
    workspace.deploy("test/a", server.url, limits=impatient)

    finished = workspace.evalkit("run", "-r", ENTRY, "-q")

    assert finished.code == 1, finished.err
    stored = workspace.stored()
    counts = stored.manifest.counts
    num_failed = counts["num_failed"]
    assert num_failed > 20
    assert counts["num_requests"] == NUM_REQUESTS == counts["num_answered"] + num_failed
    assert counts["num_answered"] == server.num_answered
    for stat in stored.stats:
        assert stat.n + stat.n_failed == stat.n_total == NUM_REQUESTS
        assert stat.n_failed == num_failed
    assert stored.stat("exact_match").mean == 1.0

    records = list(stored.records())
    failed = [record for record in records if record.status == "failed"]
    assert len(records) == NUM_REQUESTS
    assert len(failed) == num_failed
    assert not any(record.scores for record in failed)
    assert all(record.scores for record in records if record.status == "scored")
    reasons = Counter(record.reason for record in failed)
    # Lost connections and overload say little about the request: those are tried again for a while.
    assert {"server_error", "timeout", "malformed"} <= set(reasons) <= REASONS
    said = dict(
        (reason, int(count)) for count, reason in re.findall(r"(\d+) (\w+)", finished.err.split(": ")[-1])
    )
    assert said == reasons

    mended = serve()
    workspace.deploy("test/a", mended.url)
    finished = workspace.evalkit("run", "-r", ENTRY, "-q")
    assert finished.code == 0, finished.err
    assert mended.num_received == num_failed
    stored = workspace.stored()
    assert stored.stat("exact_match").n == NUM_REQUESTS
    assert stored.stat("exact_match").n_failed == 0
    outcomes = [record.outcome for record in records_of(workspace.run())]
    assert sum(isinstance(outcome, Failure) for outcome in outcomes) == num_failed


@pytest.mark.parametrize("fault", ["server_error", "malformed"])
def test_a_second_start_that_fails_again_keeps_count(workspace: Workspace, serve: Serve, fault: str) -> None:
    server = serve(faults=Faults(**{fault: 0.5}), seed=1)
    workspace.deploy("test/a", server.url, limits={**IMPATIENT, "max_attempts": 1})
    entry = "arithmetic:num_test=100,model=test/a"
    num_failed = 100
    for _ in range(3):
        num_received = server.num_received
        finished = workspace.evalkit("run", "-r", entry, "-q")
        assert finished.code == 1
        assert server.num_received - num_received == num_failed
        stat = workspace.stored().stat("exact_match")
        assert stat.n == server.num_answered
        assert stat.n + stat.n_failed == stat.n_total == 100
        num_failed = stat.n_failed
    assert 0 < num_failed < 50
