"""The Python API: `evalkit.run`, `evalkit.plan`, `evalkit.load_run`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from contextvars import copy_context
from pathlib import Path
from typing import Any, TypeVar

from evalkit.results.run_result import RunResult
from evalkit.results.stored_run import StoredRun
from evalkit.runs.events import AnyObserver, Emitter
from evalkit.runs.options import RunOptions, read_options
from evalkit.runs.plan import Plan, make_plan, open_plan_context

T = TypeVar("T")


def run(
    run_entries: str | Iterable[str] = (), *, observer: AnyObserver | None = None, **options: Any
) -> list[RunResult]:
    """Evaluate, keep and score; the same call again resumes.

    Args:
        run_entries: One run entry or several.
        observer: Hears of what happens, as typed events: a function that takes an event, or an object with a
            method `on_event`.
        **options: Fields of `RunOptions`, such as `models_to_run`, `max_eval_instances`, `output_path`.

    Returns:
        One result per run, in plan order. A run that failed is a result with status and message, not an
        exception.

    Raises:
        UsageError: Something asked for is not possible; nothing was sent.
    """
    from evalkit.runs.runner import run_all
    from evalkit.trackers.tracking import tracking

    context = open_plan_context(_options(run_entries, options))
    prepared = make_plan(context, fetch=True)
    observers = () if observer is None else (observer,)
    with tracking(context.trackers, Emitter(observers).note) as tracked:
        return _run_to_end(run_all(prepared, context, *observers, *tracked))


def plan(run_entries: str | Iterable[str] = (), **options: Any) -> Plan:
    """What `run` would do, with every run spec resolved and checked; sends nothing, opens no socket.

    Raises:
        UsageError: Something asked for is not possible.
    """
    return make_plan(open_plan_context(_options(run_entries, options)))


def load_run(path: str | Path) -> StoredRun:
    """A stored run: its spec, numbers, and records per instance.

    Raises:
        StoreError: There is no run at `path`, or it is damaged.
    """
    return StoredRun.open(Path(path))


def _options(run_entries: str | Iterable[str], options: dict[str, Any]) -> RunOptions:
    entries = (run_entries,) if isinstance(run_entries, str) else tuple(run_entries)
    listed = ("models_to_run", "groups_to_run", "plugins", "conf_paths", "nejumi_config", "model_deployments")
    for name in (*listed, "trackers"):
        if isinstance(options.get(name), str | Path):
            options[name] = (options[name],)
    return read_options(None, {"run_entries": entries, **options})


def _run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; where an event loop is running already (notebooks), on its own thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    outcome: list[T] = []
    failure: list[BaseException] = []

    def target() -> None:
        try:
            outcome.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            failure.append(error)

    thread = threading.Thread(target=copy_context().run, args=(target,))
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]
