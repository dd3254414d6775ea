"""Evaluates language models: sends the requests of run entries, keeps every answer, and scores them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from evalkit.api import load_run, plan, run
    from evalkit.clients.client import Client
    from evalkit.data import Archive, DataFile, DataStore
    from evalkit.errors import EvalkitError, UnclearVerdict, UsageError
    from evalkit.instance import Instance, Reference
    from evalkit.judges.judge import Judge, Question, Reply
    from evalkit.leaderboards.tree import LeaderboardTree
    from evalkit.leaderboards.tree_file import read_leaderboard
    from evalkit.perturbations.perturbation import Perturbation
    from evalkit.registry import (
        adapter,
        client,
        judge,
        leaderboard,
        metric,
        perturbation,
        router,
        run_expander,
        run_spec_function,
        scenario,
        tokenizer,
        tracker,
    )
    from evalkit.request import Request
    from evalkit.response import Completion, Response, Usage
    from evalkit.results.run_result import RunResult
    from evalkit.routers.router import Router
    from evalkit.run_specs.layouts import dialogue, generation, multiple_choice
    from evalkit.runs.legacy_observer import Observer
    from evalkit.runs.options import RunOptions
    from evalkit.scenarios.scenario import Scenario
    from evalkit.scoring.metric import Metric
    from evalkit.scoring.unit import Unit
    from evalkit.specs.run_spec import AdapterSpec, JudgeSpec, MetricSpec, RunSpec, ScenarioSpec, metric_specs
    from evalkit.tokenization import Tokenizer
    from evalkit.trackers.tracker import Tracker

__all__ = [
    "AdapterSpec",
    "Archive",
    "Client",
    "Completion",
    "DataFile",
    "DataStore",
    "EvalkitError",
    "Instance",
    "Judge",
    "JudgeSpec",
    "LeaderboardTree",
    "Metric",
    "MetricSpec",
    "Observer",
    "Perturbation",
    "Question",
    "Reference",
    "Reply",
    "Request",
    "Response",
    "Router",
    "RunOptions",
    "RunResult",
    "RunSpec",
    "Scenario",
    "ScenarioSpec",
    "Tokenizer",
    "Tracker",
    "UnclearVerdict",
    "Unit",
    "Usage",
    "UsageError",
    "__version__",
    "adapter",
    "client",
    "dialogue",
    "generation",
    "judge",
    "leaderboard",
    "load_run",
    "metric",
    "metric_specs",
    "multiple_choice",
    "perturbation",
    "plan",
    "read_leaderboard",
    "router",
    "run",
    "run_expander",
    "run_spec_function",
    "scenario",
    "tokenizer",
    "tracker",
]

# Where each public name lives: nothing is imported before it is used, so `import evalkit` is cheap.
_HOME_OF = {
    "AdapterSpec": "evalkit.specs.run_spec",
    "Archive": "evalkit.data",
    "Client": "evalkit.clients.client",
    "Completion": "evalkit.response",
    "DataFile": "evalkit.data",
    "DataStore": "evalkit.data",
    "EvalkitError": "evalkit.errors",
    "Instance": "evalkit.instance",
    "Judge": "evalkit.judges.judge",
    "JudgeSpec": "evalkit.specs.run_spec",
    "LeaderboardTree": "evalkit.leaderboards.tree",
    "Metric": "evalkit.scoring.metric",
    "MetricSpec": "evalkit.specs.run_spec",
    "Observer": "evalkit.runs.legacy_observer",
    "Perturbation": "evalkit.perturbations.perturbation",
    "Question": "evalkit.judges.judge",
    "Reference": "evalkit.instance",
    "Reply": "evalkit.judges.judge",
    "Request": "evalkit.request",
    "Response": "evalkit.response",
    "Router": "evalkit.routers.router",
    "RunOptions": "evalkit.runs.options",
    "RunResult": "evalkit.results.run_result",
    "RunSpec": "evalkit.specs.run_spec",
    "Scenario": "evalkit.scenarios.scenario",
    "ScenarioSpec": "evalkit.specs.run_spec",
    "Tokenizer": "evalkit.tokenization",
    "Tracker": "evalkit.trackers.tracker",
    "UnclearVerdict": "evalkit.errors",
    "Unit": "evalkit.scoring.unit",
    "Usage": "evalkit.response",
    "UsageError": "evalkit.errors",
    "adapter": "evalkit.registry",
    "client": "evalkit.registry",
    "dialogue": "evalkit.run_specs.layouts",
    "generation": "evalkit.run_specs.layouts",
    "judge": "evalkit.registry",
    "leaderboard": "evalkit.registry",
    "load_run": "evalkit.api",
    "metric": "evalkit.registry",
    "metric_specs": "evalkit.specs.run_spec",
    "multiple_choice": "evalkit.run_specs.layouts",
    "perturbation": "evalkit.registry",
    "plan": "evalkit.api",
    "read_leaderboard": "evalkit.leaderboards.tree_file",
    "router": "evalkit.registry",
    "run": "evalkit.api",
    "run_expander": "evalkit.registry",
    "run_spec_function": "evalkit.registry",
    "scenario": "evalkit.registry",
    "tokenizer": "evalkit.registry",
    "tracker": "evalkit.registry",
}


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        import importlib

        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'evalkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
