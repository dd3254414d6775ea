"""Events as plain data: what trackers write of them. No prompt, no answer and no key is in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evalkit.redaction import one_line
from evalkit.response import Failure
from evalkit.results.run_result import RunResult, StageReport
from evalkit.runs.events import (
    Event,
    ModelLoaded,
    ModelLoading,
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


def event_to_json(event: Event) -> dict[str, Any]:
    """An event as a dictionary: `event` is what it is called, `run` the name of the run that it is about."""
    name, plain = _FORMS[type(event)]
    return {"event": name, **plain(event)}


def _of_runs_planned(event: RunsPlanned) -> dict[str, Any]:
    return {"runs": [_of_handle(run) for run in event.runs]}


def _of_run_started(event: RunStarted) -> dict[str, Any]:
    return _of_handle(event.run)


def _of_handle(run: RunHandle) -> dict[str, Any]:
    return {
        "run": run.name,
        "path": str(run.path.absolute()),
        "run_spec": run.spec_name,
        "digest": run.digest,
        "deployment": run.deployment,
    }


def _of_model_loading(event: ModelLoading) -> dict[str, Any]:
    return {"deployment": event.deployment, "runs": [run.name for run in event.runs]}


def _of_model_loaded(event: ModelLoaded) -> dict[str, Any]:
    names = [run.name for run in event.runs]
    return {"deployment": event.deployment, "runs": names, "seconds": round(event.seconds, 3)}


def _of_stage_started(event: StageStarted) -> dict[str, Any]:
    return {
        "run": event.run.name,
        "stage": event.stage,
        "num_requests": event.num_requests,
        "num_answered": event.num_answered,
    }


def _of_request_finished(event: RequestFinished) -> dict[str, Any]:
    plain: dict[str, Any] = {"run": event.run.name, "stage": event.stage, "key": event.key}
    outcome = event.outcome
    if isinstance(outcome, Failure):
        failed = {"reason": one_line(outcome.reason), "message": one_line(outcome.message)}
        return {**plain, "status": "failed", **failed}
    usage = outcome.usage if outcome.usage.is_reported else None
    return {
        **plain,
        "status": "answered",
        "prompt_tokens": usage and usage.prompt_tokens,
        "completion_tokens": usage and usage.completion_tokens,
        "latency_s": outcome.latency_s,
        "cached": outcome.cached,
        "cost_usd": event.cost_usd,
    }


def _of_scored(event: Scored) -> dict[str, Any]:
    return {"run": event.run.name, "num_scored": event.num_scored, "scores": dict(event.scores)}


def _of_stage_finished(event: StageFinished) -> dict[str, Any]:
    return {"run": event.run.name, **_of_report(event.report)}


def _of_report(report: StageReport) -> dict[str, Any]:
    return {
        "stage": report.stage,
        "status": report.status,
        "num_requests": report.num_requests,
        "num_answered": report.num_answered,
        "num_failed": report.num_failed,
        "failures": _cleaned(report.failures),
        "cost_usd": report.cost_usd,
    }


def _of_run_finished(event: RunFinished) -> dict[str, Any]:
    result: RunResult = event.result
    return {
        **_of_handle(event.run),
        "status": result.status,
        "message": one_line(result.message),
        "counts": dict(result.counts),
        "cost_usd": result.cost_usd,
        "reported_cost_usd": result.reported_cost_usd,
        "stages": [_of_report(stage) for stage in result.stages],
        "stats": [stat.to_json() for stat in result.stats],
    }


def _of_note(event: Note) -> dict[str, Any]:
    return {"run": event.run and event.run.name, "message": one_line(event.message)}


def _cleaned(failures: Mapping[str, int]) -> dict[str, int]:
    return {one_line(reason): number for reason, number in failures.items()}


_FORMS: Mapping[type, tuple[str, Callable[[Any], dict[str, Any]]]] = {
    RunsPlanned: ("runs_planned", _of_runs_planned),
    RunStarted: ("run_started", _of_run_started),
    ModelLoading: ("model_loading", _of_model_loading),
    ModelLoaded: ("model_loaded", _of_model_loaded),
    StageStarted: ("stage_started", _of_stage_started),
    RequestFinished: ("request_finished", _of_request_finished),
    Scored: ("scored", _of_scored),
    StageFinished: ("stage_finished", _of_stage_finished),
    RunFinished: ("run_finished", _of_run_finished),
    Note: ("note", _of_note),
}
