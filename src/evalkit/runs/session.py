"""All runs of a plan at once: they overlap, share one executor per deployment, and end cleanly."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from evalkit.clients.factory import allowances, build_client, identity_of
from evalkit.errors import EvalkitError
from evalkit.execution.budget import Budget
from evalkit.execution.cache import ResponseCache
from evalkit.execution.client_lifecycle import ClientLifecycle, LoadedModelSlots
from evalkit.execution.executor import Executor
from evalkit.models.deployment import ModelDeployment
from evalkit.models.tokenizers import counting_tokenizer
from evalkit.plugins import described
from evalkit.redaction import without_keys
from evalkit.results.claim import name_runs
from evalkit.results.manifest import RunStatus
from evalkit.results.run_result import RunResult
from evalkit.runs.events import Observer
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import Plan, PlanContext, PlannedRun
from evalkit.runs.runner import Session, run_one
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
_ALLOCATIONS_PER_COLLECTION = 20_000


def exit_code(results: Sequence[RunResult]) -> int:
    """0 complete, 1 some requests failed, 3 something stopped a run, 130 interrupted."""
    return max((EXIT_CODES[result.status] for result in results), default=0)


async def run_all(plan: Plan, context: PlanContext, observer: Observer) -> list[RunResult]:
    """Do the runs of a plan; a run that fails does not touch the others.

    A model that is loaded into this process is loaded once, for all its runs, and let go after the last; the
    models of a plan follow one another, `max_loaded_models` at a time.

    Raises:
        UsageError: A key is missing, or a budget can't be kept; nothing has been sent.
    """
    cache = ResponseCache(context.options.output_path / "cache.sqlite") if context.options.cache else None
    budget = Budget(max_usd=context.options.budget_usd, max_tokens=context.options.budget_tokens)
    slots = LoadedModelSlots(context.options.max_loaded_models)
    owed = Counter(run.deployment.name for run in plan.runs)
    suite_path = context.options.suite_path
    names = name_runs([(run.name, run.digest, run.identity) for run in plan.runs], suite_path)
    named = list(zip(plan.runs, names, strict=True))
    paths = {run.digest.full: suite_path / name for run, name in named if run.digest}
    executors: dict[str, Executor] = {}
    for run in plan.runs:
        if (name := run.deployment.name) not in executors:
            served = [told for other, told in named if other.deployment.name == name]
            lifecycle = _lifecycle(run.deployment, slots, observer, served)
            executors[name] = _executor(run.deployment, lifecycle, context.options, budget, cache)

    async def run_and_let_go(run: PlannedRun, name: str) -> RunResult:
        result = await _run_safely(run, name, session)
        owed[run.deployment.name] -= 1
        if not owed[run.deployment.name]:
            await executors[run.deployment.name].close()
        return result

    observer.planned(names)
    with (
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="scoring") as scoring,
        _signals(executors),
        _rare_collections(),
    ):
        session = Session(context, executors, scoring, observer, paths)
        try:
            return list(await asyncio.gather(*map(run_and_let_go, plan.runs, names)))
        finally:
            for executor in executors.values():
                await executor.close()
            if cache is not None:
                cache.close()


async def _run_safely(run: PlannedRun, name: str, session: Session) -> RunResult:
    try:
        result = await run_one(run, session)
    except EvalkitError as error:
        result = RunResult(name=name, status="error", message=without_keys(str(error)))
    except Exception as error:  # noqa: BLE001 - a bug in a plugin ends its own run, not the others
        result = RunResult(name=name, status="error", message=described(error))
    session.observer.finished_run(result)
    return result


def _lifecycle(
    deployment: ModelDeployment, slots: LoadedModelSlots, observer: Observer, names: list[str]
) -> ClientLifecycle:
    """What loads a deployment's model, and reports it for the runs of these names."""
    client, began_s = build_client(deployment), 0.0

    def tell(beginning: bool) -> None:
        nonlocal began_s
        if beginning:
            began_s = time.monotonic()
            observer.note(f"{deployment.name}: loading the model")
            observer.loading(names)
        else:
            observer.note(f"{deployment.name}: loaded in {time.monotonic() - began_s:.1f} s")
            observer.loaded(names)
            for note in client.notes:
                observer.note(f"{deployment.name}: {note}")

    return ClientLifecycle(client, slots, tell)


def _executor(
    deployment: ModelDeployment,
    lifecycle: ClientLifecycle,
    options: RunOptions,
    budget: Budget,
    cache: ResponseCache | None,
) -> Executor:
    limits = deployment.limits
    if options.num_threads is not None:
        limits = limits.model_copy(
            update={
                "max_concurrency": options.num_threads,
                "initial_concurrency": min(limits.initial_concurrency, options.num_threads),
            }
        )
    tokenizer = counting_tokenizer(deployment.tokenizer_name)
    return Executor(
        lifecycle.client,
        name=deployment.name,
        limits=limits,
        budget=budget,
        prices=deployment.prices,
        cache=cache,
        identity_digest=digest(identity_of(deployment)),
        lifecycle=lifecycle,
        count=tokenizer.count if tokenizer is not None else None,
        allowance=allowances(deployment, type(lifecycle.client)),
    )


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Collect cyclic garbage less often: a run makes little, and looking for it takes a tenth of its time."""
    usual = gc.get_threshold()
    gc.set_threshold(max(usual[0], _ALLOCATIONS_PER_COLLECTION), *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


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
