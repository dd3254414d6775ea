"""The Python API: the same path, with results and records as objects."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import evalkit
from evalkit import Observer, RunResult
from evalkit.errors import EntryError, StoreError
from evalkit.registry import isolated_registries
from evalkit.response import Outcome, Response
from evalkit.testing.server import Faults
from tests.end_to_end.conftest import Serve
from tests.end_to_end.servers import solve_two_of_three
from tests.end_to_end.workspace import Workspace, index_of

ENTRY = "arithmetic:num_test=60,model=test/a"
BROKEN = '''
from evalkit import DataStore, Instance, RunSpec, Scenario, ScenarioSpec, generation, metric_specs
from evalkit import run_spec_function, scenario


@scenario("broken")
class Broken(Scenario):
    """Breaks."""

    def instances(self, data: DataStore):
        raise KeyError("no more numbers")


@run_spec_function("broken")
def broken() -> RunSpec:
    """Breaks."""
    return RunSpec(
        name="broken",
        scenario_spec=ScenarioSpec(name="broken"),
        adapter_spec=generation("", "Q", "A"),
        metric_specs=metric_specs("exact_match"),
    )
'''


class Listener(Observer):
    """Keeps every event."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.opened_runs: dict[str, tuple[int, int]] = {}
        self.outcomes: Counter[str] = Counter()
        self.results: list[RunResult] = []
        self.cost_usd = 0.0

    def planned(self, names: list[str]) -> None:
        self.names = names

    def opened(self, name: str, num_requests: int, num_answered: int) -> None:
        self.opened_runs[name] = (num_requests, num_answered)

    def finished_request(self, name: str, outcome: Outcome, cost_usd: float | None) -> None:
        assert name in self.opened_runs
        self.outcomes["answered" if isinstance(outcome, Response) else "failed"] += 1
        self.cost_usd += cost_usd or 0.0

    def finished_run(self, result: RunResult) -> None:
        self.results.append(result)


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    with isolated_registries():
        yield


def options(workspace: Workspace) -> dict[str, Any]:
    """Where the workspace's deployments are, and where results go."""
    return {
        "model_deployments": workspace.deployments_path,
        "output_path": workspace.path / "benchmark_output",
    }


def test_run_gives_results_and_load_run_gives_records(workspace: Workspace, serve: Serve) -> None:
    server = serve(answers=solve_two_of_three)
    prices = {"input_usd_per_million_tokens": 1.0, "output_usd_per_million_tokens": 1.0}
    workspace.deploy("test/a", server.url, prices=prices)
    listener = Listener()

    (result,) = evalkit.run(ENTRY, observer=listener, **options(workspace))

    assert result.status == "complete"
    assert result.counts["num_answered"] == 60
    (stat,) = [stat for stat in result.stats if stat.name == "exact_match"]
    assert stat.n == 60
    assert 0.5 < (stat.mean or 0) < 0.8
    assert listener.names == [result.name]
    assert listener.opened_runs == {result.name: (60, 0)}
    assert listener.outcomes == {"answered": 60}
    assert listener.results == [result]
    assert listener.cost_usd == pytest.approx(server.num_tokens / 1e6)
    assert result.cost_usd == pytest.approx(listener.cost_usd, abs=1e-6)

    assert result.path is not None
    run = evalkit.load_run(result.path)
    records = list(run.records())
    assert len(records) == 60
    assert run.stat("exact_match") == stat
    for record in records:
        (prompt,), (output,) = record.prompts, record.outputs
        assert record.input in prompt
        assert output == solve_two_of_three(prompt)
        assert record.scores["exact_match"] == (output in record.references)
        assert record.prompt_tokens == len(prompt) // 4 + 1
        assert record.latency_s > 0
    table = run.dataframe()
    assert len(table) == 60
    assert table["exact_match"].mean() == pytest.approx(stat.mean)
    assert list(table["instance_id"]) == [record.instance_id for record in records]


def test_failures_are_results_not_exceptions(workspace: Workspace, serve: Serve) -> None:
    server = serve(faults=Faults(server_error=0.4), seed=2)
    workspace.deploy("test/a", server.url, limits={"max_attempts": 1})
    listener = Listener()
    (result,) = evalkit.run(ENTRY, observer=listener, **options(workspace))
    assert result.status == "partial"
    num_failed = server.double.outcomes["500"]
    assert num_failed > 0
    assert result.failures == {"server_error": num_failed}
    assert listener.outcomes == {"answered": 60 - num_failed, "failed": num_failed}
    assert result.path is not None
    table = evalkit.load_run(result.path).dataframe()
    assert (table["status"] == "failed").sum() == num_failed
    assert table["exact_match"].isna().sum() == num_failed


def test_it_works_where_an_event_loop_is_running(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    workspace.deploy("test/a", server.url)

    async def notebook() -> list[RunResult]:
        return evalkit.run([ENTRY], **options(workspace))

    (result,) = asyncio.run(notebook())
    assert result.status == "complete"
    assert server.num_answered == 60


def test_a_mistake_is_raised_in_a_running_loop_too(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    workspace.deploy("test/a", server.url, api_key_env="NO_SUCH_KEY")

    async def notebook() -> list[RunResult]:
        return evalkit.run([ENTRY], **options(workspace))

    with pytest.raises(evalkit.UsageError, match="NO_SUCH_KEY"):
        asyncio.run(notebook())
    assert server.num_received == 0


def test_plan_sends_nothing_and_names_mistakes(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    workspace.deploy("test/a", server.url)
    plan = evalkit.plan([ENTRY, "simple_mcqa:model=test/a", ENTRY], **options(workspace))
    assert [run.run_spec.scenario_spec.name for run in plan.runs] == ["arithmetic", "simple_mcqa"]
    with pytest.raises(EntryError, match="did you mean 'num_test'"):
        evalkit.plan("arithmetic:num_tests=3,model=test/a", **options(workspace))
    assert server.num_received == 0
    assert not workspace.suite().exists()


def test_the_same_call_again_resumes(workspace: Workspace, serve: Serve) -> None:
    server = serve(faults=Faults(malformed=0.3), seed=4)
    workspace.deploy("test/a", server.url, limits={"max_attempts": 1})
    (first,) = evalkit.run(ENTRY, **options(workspace))
    workspace.deploy("test/a", serve().url)
    listener = Listener()
    (second,) = evalkit.run(ENTRY, observer=listener, **options(workspace))
    assert (first.status, second.status) == ("partial", "complete")
    assert listener.opened_runs == {second.name: (60, first.counts["num_answered"])}
    assert listener.outcomes == {"answered": first.counts["num_failed"]}


def test_a_plugin_that_breaks_ends_its_own_run_only(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    workspace.deploy("test/a", server.url)
    plugin = workspace.path / "broken.py"
    plugin.write_text(BROKEN)
    entries = ["broken:model=test/a", ENTRY]
    broken, healthy = evalkit.run(entries, plugins=str(plugin), **options(workspace))
    assert healthy.status == "complete"
    assert broken.status == "error"
    assert "no more numbers" in broken.message
    assert server.num_answered == 60


def test_load_run_refuses_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a run directory"):
        evalkit.load_run(tmp_path)


def test_the_journal_is_written_before_the_observer_hears(workspace: Workspace, serve: Serve) -> None:
    workspace.deploy("test/a", serve().url)

    class Auditor(Listener):
        def finished_request(self, name: str, outcome: Outcome, cost_usd: float | None) -> None:
            super().finished_request(name, outcome, cost_usd)
            # What finishes at the same time is written at once.
            assert len(index_of(workspace.run()).answered) >= self.outcomes["answered"]

    (result,) = evalkit.run(ENTRY, observer=Auditor(), **options(workspace))
    assert result.status == "complete", result.message
