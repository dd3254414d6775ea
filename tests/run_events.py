"""Events of runs, as a run would emit them, for observers to hear."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evalkit.response import Outcome
from evalkit.results.run_result import ANSWERS, RunResult
from evalkit.runs.events import (
    EventObserver,
    ModelLoaded,
    ModelLoading,
    RequestFinished,
    RunFinished,
    RunHandle,
    RunsPlanned,
    Scored,
    StageStarted,
)

DEPLOYMENT = "test/a"


def handle(name: str) -> RunHandle:
    return RunHandle(name, Path("out") / name, name, "0" * 64, DEPLOYMENT)


def planned(observer: EventObserver, *names: str) -> None:
    observer.on_event(RunsPlanned(tuple(map(handle, names))))


def loading(observer: EventObserver, *names: str) -> None:
    observer.on_event(ModelLoading(DEPLOYMENT, tuple(map(handle, names))))


def loaded(observer: EventObserver, *names: str) -> None:
    observer.on_event(ModelLoaded(DEPLOYMENT, tuple(map(handle, names)), 1.0))


def opened(observer: EventObserver, name: str, num_requests: int, num_answered: int) -> None:
    observer.on_event(StageStarted(handle(name), ANSWERS, num_requests, num_answered))


def finished_request(
    observer: EventObserver, name: str, outcome: Outcome, cost_usd: float | None = None
) -> None:
    observer.on_event(RequestFinished(handle(name), ANSWERS, "t0/id0", outcome, cost_usd))


def scored(observer: EventObserver, name: str, num_scored: int, scores: Mapping[str, float]) -> None:
    observer.on_event(Scored(handle(name), num_scored, scores))


def finished_run(observer: EventObserver, result: RunResult) -> None:
    observer.on_event(RunFinished(handle(result.name), result))
