"""Who ended a run is said by its status, its message and the exit code, however few questions it has."""

from __future__ import annotations

import os
import signal

import pytest

from evalkit.testing.server import Faults
from tests.end_to_end.conftest import Serve
from tests.end_to_end.servers import dead_url, refusing, solve
from tests.end_to_end.workspace import Finished, Workspace, until

REFUSAL = "System role not supported"


def entry(num_test: int, model: str = "test/a", **arguments: object) -> str:
    """A run of so many questions."""
    more = "".join(f",{name}={value}" for name, value in arguments.items())
    return f"arithmetic:num_test={num_test},model={model}{more}"


def assert_stopped(workspace: Workspace, finished: Finished, words: str, runs: int = 1) -> None:
    """Every run was stopped, for this reason, and nobody is said to have interrupted it."""
    assert finished.code == 3, finished.err
    assert "interrupted" not in finished.err
    manifests = [run.manifest() for run in workspace.runs()]
    assert len(manifests) == runs
    for manifest in manifests:
        assert manifest is not None
        assert manifest.status == "stopped"
        assert words in manifest.message
        assert words in finished.err


@pytest.mark.parametrize("concurrency", [1, 64])
@pytest.mark.parametrize("num_test", [1, 19, 20, 32, 33, 100])
def test_a_server_that_refuses_everything_stops_a_run_of_any_size(
    workspace: Workspace, num_test: int, concurrency: int
) -> None:
    body = f'{{"error": {{"message": "{REFUSAL}"}}}}'.encode()
    server = refusing(400, body)
    server.start()
    try:
        workspace.deploy("test/a", server.url)
        finished = workspace.evalkit("run", "-q", "-n", concurrency, "-r", entry(num_test))
        assert_stopped(workspace, finished, REFUSAL)
        # Started again it is the same again, whatever the journal has of it.
        assert_stopped(workspace, workspace.evalkit("run", "-q", "-r", entry(num_test)), REFUSAL)
    finally:
        server.close()


@pytest.mark.parametrize("num_test", [20, 33])
def test_the_refusal_that_ends_a_run_is_counted_too(workspace: Workspace, num_test: int) -> None:
    """The message says that 20 requests were refused; so does the count beside it."""
    server = refusing(400, b'{"error": {"message": "no"}}')
    server.start()
    try:
        workspace.deploy("test/a", server.url)
        assert_stopped(
            workspace, workspace.evalkit("run", "-q", "-n", 1, "-r", entry(num_test)), "first 20 requests"
        )
    finally:
        server.close()
    [run] = workspace.runs()
    manifest = run.manifest()
    assert manifest is not None
    assert manifest.counts["num_failed"] == 20


@pytest.mark.parametrize("num_test", [1, 9, 10, 40])
def test_a_server_that_fails_at_everything_stops_a_run_of_any_size(
    workspace: Workspace, serve: Serve, num_test: int
) -> None:
    server = serve(faults=Faults(server_error=1.0))
    workspace.deploy("test/a", server.url, limits={"backoff_s": 0.001, "max_attempts": 2})
    assert_stopped(workspace, workspace.evalkit("run", "-q", "-r", entry(num_test)), "internal error")


def test_every_run_of_a_stopped_deployment_says_why(workspace: Workspace) -> None:
    workspace.deploy("test/a", dead_url(), limits={"backoff_s": 0.001})
    entries = [entry(number) for number in (1, 25, 30, 500)]
    finished = workspace.evalkit("run", "-q", "-r", *entries)
    assert_stopped(workspace, finished, "connection", runs=4)


def test_a_wrong_key_stops_runs_of_any_size(workspace: Workspace, serve: Serve) -> None:
    server = serve(required_key="sk-right-key-000000")
    workspace.deploy("test/a", server.url)
    finished = workspace.evalkit("run", "-q", "-r", entry(1), entry(30), entry(200))
    assert_stopped(workspace, finished, "HTTP 401", runs=3)


def test_a_spent_budget_stops_all_runs(workspace: Workspace, serve: Serve) -> None:
    workspace.deploy("test/a", serve().url)
    finished = workspace.evalkit("run", "-q", "--budget-tokens", 1, "-r", entry(1), entry(30), entry(200))
    assert_stopped(workspace, finished, "the budget is spent", runs=3)


def test_some_refused_and_some_answered_is_partial(workspace: Workspace, serve: Serve) -> None:
    workspace.deploy("test/a", serve(faults=Faults(server_error=0.5)).url, limits={"max_attempts": 1})
    finished = workspace.evalkit("run", "-q", "-r", entry(30))
    assert finished.code == 1
    assert workspace.stored().manifest.status == "partial"


def test_ctrl_c_is_an_interruption_and_not_for_those_stopped_before(
    workspace: Workspace, serve: Serve
) -> None:
    refused = refusing(400, b'{"error": {"message": "no"}}')
    refused.start()
    try:
        slow = serve(latency_s=0.05, answers=solve)
        workspace.deploy("test/a", slow.url, limits={"max_concurrency": 2})
        workspace.deploy("test/b", refused.url)
        process = workspace.start("run", "-q", "-r", entry(2000), entry(25, "test/b"))
        until(lambda: slow.num_answered > 4 and _stopped(workspace, "test_b"))
        os.kill(process.pid, signal.SIGINT)
        finished = workspace.finish(process)
    finally:
        refused.close()
    assert finished.code == 130
    by_name = {run.path.name.split("model=")[1][:6]: run.manifest() for run in workspace.runs()}
    assert by_name["test_a"] is not None
    assert by_name["test_b"] is not None
    assert by_name["test_a"].status == "interrupted"
    assert by_name["test_b"].status == "stopped"


def _stopped(workspace: Workspace, model: str) -> bool:
    manifests = [run.manifest() for run in workspace.runs() if f"model={model}" in run.path.name]
    return any(manifest is not None and manifest.status == "stopped" for manifest in manifests)
