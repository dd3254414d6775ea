"""All runs of a plan at once: they overlap, share one executor per deployment, and end cleanly."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from evalkit.clients.factory import build_client
from evalkit.engine.budget import Budget
from evalkit.engine.cache import ResponseCache
from evalkit.engine.executor import Executor
from evalkit.errors import EvalkitError
from evalkit.models.deployment import ModelDeployment
from evalkit.observer import Observer
from evalkit.options import RunOptions
from evalkit.planning import Plan, PlannedRun, Workplace
from evalkit.plugins import described
from evalkit.results.run_directory import RunStatus
from evalkit.results.run_result import RunResult
from evalkit.runner import Workshop, run_one
from evalkit.specs.digest import digest

EXIT_CODES: dict[RunStatus, int] = {
    "complete": 0,
    "partial": 1,
    "stopped": 3,
    "error": 3,
    "running": 3,
    "interrupted": 130,
}
# How long requests in flight may go on after the first Ctrl-C; a second one ends them at once.
GRACE_S = 10.0


def exit_code(results: Sequence[RunResult]) -> int:
    """0 complete, 1 some requests failed, 3 something stopped a run, 130 interrupted."""
    return max((EXIT_CODES[result.status] for result in results), default=0)


async def run_all(plan: Plan, place: Workplace, observer: Observer) -> list[RunResult]:
    """Do the runs of a plan; a run that fails does not touch the others.

    Raises:
        UsageError: A key is missing, or a budget can't be kept; nothing has been sent.
    """
    cache = ResponseCache(place.options.output_path / "cache.sqlite") if place.options.cache else None
    budget = Budget(max_usd=place.options.budget_usd, max_tokens=place.options.budget_tokens)
    executors: dict[str, Executor] = {}
    for run in plan.runs:
        if run.deployment.name not in executors:
            executors[run.deployment.name] = _executor(run.deployment, place.options, budget, cache)
    observer.planned([run.name for run in plan.runs])
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="scoring") as scoring, _signals(executors):
        shop = Workshop(place, executors, scoring, observer)
        try:
            return list(await asyncio.gather(*(_run_safely(run, shop) for run in plan.runs)))
        finally:
            for executor in executors.values():
                await executor.close()
            if cache is not None:
                cache.close()


async def _run_safely(run: PlannedRun, shop: Workshop) -> RunResult:
    try:
        result = await run_one(run, shop)
    except EvalkitError as error:
        result = RunResult(name=run.name, status="error", message=str(error))
    except Exception as error:  # noqa: BLE001 - a bug in a plugin ends its own run, not the others
        result = RunResult(name=run.name, status="error", message=described(error))
    shop.observer.finished_run(result)
    return result


def _executor(
    deployment: ModelDeployment, options: RunOptions, budget: Budget, cache: ResponseCache | None
) -> Executor:
    limits = deployment.limits
    if options.num_threads is not None:
        limits = limits.model_copy(
            update={
                "max_concurrency": options.num_threads,
                "initial_concurrency": min(limits.initial_concurrency, options.num_threads),
            }
        )
    return Executor(
        build_client(deployment),
        name=deployment.name,
        limits=limits,
        budget=budget,
        prices=deployment.prices,
        cache=cache,
        identity_digest=digest(deployment.identity()),
    )


@contextmanager
def _signals(executors: dict[str, Executor]) -> Iterator[None]:
    """The first Ctrl-C lets requests in flight finish; the second ends them at once."""
    loop = asyncio.get_running_loop()
    pressed = 0

    def stop() -> None:
        nonlocal pressed
        pressed += 1
        for executor in executors.values():
            executor.stop(grace_s=GRACE_S if pressed == 1 else 0.0)

    handled = []
    # Outside the main thread (a notebook server) signals are the host's business.
    with suppress(RuntimeError, ValueError, NotImplementedError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
