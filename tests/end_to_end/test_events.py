"""The events of a run: their order, one handle for each run, and a report per stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import evalkit
from evalkit import Observer, RunResult
from evalkit.response import Failure, Outcome, Response
from evalkit.results.run_result import stages_of
from evalkit.runs.events import (
    Event,
    Note,
    RequestFinished,
    RunFinished,
    RunHandle,
    RunsPlanned,
    RunStarted,
    Scored,
    StageFinished,
    StageStarted,
)
from evalkit.testing.server import Faults
from tests.end_to_end.conftest import Serve
from tests.end_to_end.servers import solve_two_of_three
from tests.end_to_end.workspace import Workspace, index_of

ENTRIES = [f"arithmetic:operation={name},num_test=20,model=test/a" for name in ("add", "subtract")]
PRICES = {"input_usd_per_million_tokens": 1.0, "output_usd_per_million_tokens": 1.0}


class Heard:
    """Keeps every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def of(self, name: str) -> list[Event]:
        """The events of one run, in order."""
        return [event for event in self.events if run_of(event) is not None and run_of(event).name == name]  # type: ignore[union-attr]


def run_of(event: Event) -> RunHandle | None:
    return getattr(event, "run", None)


def options(workspace: Workspace, **more: Any) -> dict[str, Any]:
    output = workspace.path / "benchmark_output"
    return {"model_deployments": workspace.deployments_path, "output_path": output, **more}


def kinds(events: list[Event]) -> list[type]:
    """What the events of one run are, without those that may come at any time, equal neighbours being one."""
    found: list[type] = []
    for event in events:
        if not isinstance(event, Scored | Note) and found[-1:] != [type(event)]:
            found.append(type(event))
    return found


WHOLE = [RunStarted, StageStarted, RequestFinished, StageFinished, RunFinished]


def test_the_events_of_each_run_come_in_one_order(workspace: Workspace, serve: Serve) -> None:
    workspace.deploy("test/a", serve(answers=solve_two_of_three).url, prices=PRICES)
    heard = Heard()
    results = evalkit.run(ENTRIES, observer=heard, **options(workspace))

    assert isinstance(heard.events[0], RunsPlanned)
    assert [run.name for run in heard.events[0].runs] == [result.name for result in results]
    for result in results:
        events = heard.of(result.name)
        assert kinds(events) == WHOLE
        assert sum(isinstance(event, RequestFinished) for event in events) == 20
        assert isinstance(events[-1], RunFinished)
        assert events[-1].result == result
        scored = [event for event in events if isinstance(event, Scored)]
        assert scored[-1].num_scored == 20
        (mean,) = (stat.mean for stat in result.stats if stat.name == "exact_match")
        assert scored[-1].scores["exact_match"] == pytest.approx(mean)
        # Every request by its key in the journal.
        keys = {event.key for event in events if isinstance(event, RequestFinished)}
        assert keys == set(index_of_path(result).answered)


def index_of_path(result: RunResult) -> Any:
    from evalkit.results.run_directory import RunDirectory

    assert result.path is not None
    return index_of(RunDirectory(result.path))


def test_a_run_has_one_handle_in_all_events(workspace: Workspace, serve: Serve) -> None:
    workspace.deploy("test/a", serve().url)
    heard = Heard()
    results = evalkit.run(ENTRIES, observer=heard, **options(workspace))
    planned = heard.events[0]
    assert isinstance(planned, RunsPlanned)
    for handle, result in zip(planned.runs, results, strict=True):
        assert all(run_of(event) is handle for event in heard.of(handle.name))
        assert (handle.name, handle.path) == (result.name, result.path)
        stored = evalkit.load_run(handle.path)
        assert (handle.digest, handle.spec_name) == (stored.manifest.digest, stored.run_spec.name)
        assert handle.deployment == "test/a"


def test_a_complete_run_has_no_stage_in_this_start(workspace: Workspace, serve: Serve) -> None:
    workspace.deploy("test/a", serve().url)
    (first,) = evalkit.run(ENTRIES[0], **options(workspace))
    heard = Heard()
    (again,) = evalkit.run(ENTRIES[0], observer=heard, **options(workspace))
    assert kinds(heard.of(again.name)) == [RunStarted, RunFinished]
    assert [(stage.stage, stage.status, stage.num_answered) for stage in again.stages] == [
        ("answers", "complete", 20)
    ]
    assert first.stages == again.stages


def test_a_run_that_fails_before_its_first_stage_has_a_beginning_and_an_end(tmp_path: Path) -> None:
    plugin = tmp_path / "broken.py"
    plugin.write_text(
        "import evalkit\n"
        "@evalkit.scenario('breaks')\n"
        "class Breaks(evalkit.Scenario):\n"
        "    '''Breaks.'''\n"
        "    def instances(self, data):\n"
        "        raise KeyError('gone')\n"
        "@evalkit.run_spec_function('breaks')\n"
        "def breaks() -> evalkit.RunSpec:\n"
        "    '''Breaks.'''\n"
        "    return evalkit.RunSpec(name='breaks', scenario_spec=evalkit.ScenarioSpec(name='breaks'),\n"
        "        adapter_spec=evalkit.generation('', 'Q', 'A'),\n"
        "        metric_specs=evalkit.metric_specs('exact_match'))\n"
    )
    heard = Heard()
    (result,) = evalkit.run(
        "breaks:model=evalkit/echo", observer=heard, plugins=str(plugin), output_path=tmp_path / "out"
    )
    assert result.status == "error"
    assert kinds(heard.of(result.name)) == [RunStarted, RunFinished]


def test_an_error_inside_a_stage_is_its_status_and_nothing_follows_the_end(
    workspace: Workspace, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalkit.errors import StoreError
    from evalkit.execution.journal import Journal

    workspace.deploy("test/a", serve(latency_s=0.005).url, limits={"max_concurrency": 2})
    written: list[int] = []
    extend = Journal.extend

    def broken(self: Journal, finished: Any) -> None:
        written.append(len(finished))
        if sum(written) > 5:
            raise StoreError("the disk is full")
        extend(self, finished)

    monkeypatch.setattr(Journal, "extend", broken)
    heard = Heard()
    (result,) = evalkit.run(ENTRIES[0], observer=heard, **options(workspace))
    assert result.status == "error"
    events = heard.of(result.name)
    assert kinds(events) == WHOLE
    assert isinstance(events[-1], RunFinished)
    (stage,) = (event for event in events if isinstance(event, StageFinished))
    assert (stage.report.stage, stage.report.status) == ("answers", "error")


def test_a_stage_reports_counts_failures_cost_and_status(workspace: Workspace, serve: Serve) -> None:
    server = serve(faults=Faults(server_error=0.4), seed=2)
    workspace.deploy("test/a", server.url, limits={"max_attempts": 1}, prices=PRICES)
    heard = Heard()
    (result,) = evalkit.run(ENTRIES[0], observer=heard, **options(workspace))
    num_failed = server.double.outcomes["500"]
    assert num_failed
    (finished,) = (event for event in heard.events if isinstance(event, StageFinished))
    report = finished.report
    assert result.stages == (report,)
    assert (report.status, report.num_requests, report.num_answered) == ("partial", 20, 20 - num_failed)
    assert (report.num_failed, report.failures) == (num_failed, {"server_error": num_failed})
    requests = [event for event in heard.events if isinstance(event, RequestFinished)]
    assert sum(isinstance(event.outcome, Failure) for event in requests) == num_failed
    assert report.cost_usd == result.cost_usd
    if result.cost_usd is not None:
        assert report.cost_usd == pytest.approx(sum(event.cost_usd or 0.0 for event in requests))

    # The next start counts over both starts, and asks only what failed.
    workspace.deploy("test/a", serve().url, prices=PRICES)
    heard = Heard()
    (second,) = evalkit.run(ENTRIES[0], observer=heard, **options(workspace))
    (begun,) = (event for event in heard.events if isinstance(event, StageStarted))
    assert (begun.num_requests, begun.num_answered) == (20, 20 - num_failed)
    (stage,) = second.stages
    assert (stage.status, stage.num_answered, stage.num_failed, stage.failures) == ("complete", 20, 0, {})
    manifest = evalkit.load_run(workspace.run().path).manifest
    assert stages_of(manifest) == second.stages


class Methods(Observer):
    """An observer of evalkit 0.1."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def planned(self, names: list[str]) -> None:
        self.calls.append(("planned", *names))

    def note(self, message: str) -> None:
        self.calls.append(("note", message))

    def opened(self, name: str, num_requests: int, num_answered: int) -> None:
        self.calls.append(("opened", name, num_requests, num_answered))

    def finished_request(self, name: str, outcome: Outcome, cost_usd: float | None) -> None:
        self.calls.append(("request", name, isinstance(outcome, Response), cost_usd))

    def scored(self, name: str, num_scored: int, scores: Mapping[str, float]) -> None:
        self.calls.append(("scored", name))

    def finished_run(self, result: RunResult) -> None:
        self.calls.append(("finished", result.name))


def test_an_observer_with_methods_hears_the_same(workspace: Workspace, serve: Serve) -> None:
    workspace.deploy("test/a", serve().url)
    old = Methods()
    (result,) = evalkit.run(ENTRIES[0], observer=old, **options(workspace))
    name = result.name
    assert old.calls[:2] == [("planned", name), ("opened", name, 20, 0)]
    assert old.calls.count(("request", name, True, None)) == 20
    assert ("scored", name) in old.calls
    assert old.calls[-1] == ("finished", name)


def test_an_observer_may_be_a_function(workspace: Workspace, serve: Serve) -> None:
    workspace.deploy("test/a", serve().url)
    events: list[Event] = []
    (result,) = evalkit.run(ENTRIES[0], observer=events.append, **options(workspace))
    assert sum(isinstance(event, RequestFinished) for event in events) == 20

    async def waits(event: Event) -> None:
        raise AssertionError("never called")

    wrong: list[tuple[Any, str]] = [
        (3, "int is not an observer: it has no method on_event"),
        (Heard, "the class Heard is not an observer: give an instance"),
        (waits, "write def, not async def"),
    ]
    for observer, message in wrong:
        with pytest.raises(TypeError, match=message):
            evalkit.run(ENTRIES[0], observer=observer, **options(workspace, fresh=True))
    assert evalkit.load_run(result.path or "").manifest.status == "complete"


@pytest.mark.parametrize("wants_requests", [False, None])
def test_nothing_is_made_for_a_request_that_nobody_listens_to(
    workspace: Workspace, serve: Serve, wants_requests: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.deploy("test/a", serve().url)

    def never(*args: Any) -> None:
        raise AssertionError("an event was made for one request")

    monkeypatch.setattr("evalkit.runs.stage.RequestFinished", never)
    heard = None
    if wants_requests is not None:
        heard = Heard()
        heard.wants_requests = wants_requests  # type: ignore[attr-defined]
    (result,) = evalkit.run(ENTRIES[0], observer=heard, **options(workspace))
    assert result.status == "complete"
    if heard is not None:
        assert kinds(heard.of(result.name)) == [RunStarted, StageStarted, StageFinished, RunFinished]


@pytest.mark.parametrize("kind", [RunStarted, StageStarted, RequestFinished, Scored, StageFinished])
def test_what_an_observer_raises_ends_its_own_run_as_an_error(
    workspace: Workspace, serve: Serve, kind: type
) -> None:
    workspace.deploy("test/a", serve().url)

    def hear(event: Event) -> None:
        run = run_of(event)
        if isinstance(event, kind) and run is not None and "add" in run.name:
            raise ValueError("the observer is broken")

    first, second = evalkit.run(ENTRIES, observer=hear, **options(workspace))
    assert (first.status, second.status) == ("error", "complete")
    assert "the observer is broken" in first.message


def test_what_an_observer_raises_at_an_end_waits_for_the_other_runs(
    workspace: Workspace, serve: Serve
) -> None:
    workspace.deploy("test/a", serve(latency_s=0.01).url, limits={"max_concurrency": 1})
    finished: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, RunFinished):
            finished.append(event.result.status)
            if len(finished) == 1:
                raise ValueError("the observer is broken")

    with pytest.raises(ValueError, match="the observer is broken"):
        evalkit.run(ENTRIES, observer=hear, **options(workspace))
    assert finished == ["complete", "complete"]
    # The same call again has nothing to do.
    assert [result.status for result in evalkit.run(ENTRIES, **options(workspace))] == ["complete"] * 2
