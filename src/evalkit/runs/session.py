"""What the runs of a plan share, from before the first to after the last."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.clients.factory import allowances, build_client, identity_of, is_resident
from evalkit.execution.budget import Budget
from evalkit.execution.cache import ResponseCache
from evalkit.execution.client_lifecycle import ClientLifecycle, LoadedModelSlots
from evalkit.execution.executor import Executor
from evalkit.execution.sender import Sender
from evalkit.models.deployment import ModelDeployment
from evalkit.models.tokenizers import counting_tokenizer
from evalkit.results.prior_runs import PriorRuns
from evalkit.runs.events import Emitter, ModelLoaded, ModelLoading, RunHandle
from evalkit.runs.load import LoadedRun
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import Plan, PlanContext, PlannedRun
from evalkit.specs.digest import digest

# How long requests in flight may go on after the first Ctrl-C; a second one ends them at once.
GRACE_S = 10.0
_ALLOCATIONS_PER_COLLECTION = 20_000
_JUDGE = " (judge)"


@dataclass(frozen=True, slots=True)
class Session:
    """One executor per deployment, one scoring thread, and who hears of events.

    Attributes:
        executors: By the name of the deployment; of a routed one, its members have theirs. One that judges
            after all answers has its own, by `judge_key`.
        deferred: Deployments that judge after all answers, since their models would not fit besides others.
        runs: The handle of each run, in the order of the plan.
        prior_runs: Runs of the suite that may answer for others; None where a fresh start wants none.
        request_locks: By `single_request_digest` and who is asked: held by the one run that sends such
            requests now.
        needed_by: The runs that still need a deployment, by its name; each run as `id` has it.
    """

    context: PlanContext
    executors: Mapping[str, Executor]
    scoring: ThreadPoolExecutor
    events: Emitter
    runs: Sequence[RunHandle]
    needed_by: Mapping[str, set[int]]
    deferred: frozenset[str] = frozenset()
    prior_runs: PriorRuns | None = None
    request_locks: defaultdict[tuple[str, tuple[str, ...]], asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )
    _noted: set[str] = field(default_factory=set)

    def note(self, run: RunHandle, messages: Iterable[str]) -> None:
        """Report what the user should know of a run."""
        for message in messages:
            self.events.note(message, run)

    def note_loaded(self, run: RunHandle, loaded: LoadedRun) -> None:
        """Report what there is to say of a run's instances, once; also of data that several runs share."""
        for note in loaded.notes:
            is_shared = note in loaded.unverified
            if (known := note if is_shared else f"{run.name}: {note}") not in self._noted:
                self._noted.add(known)
                self.events.note(note, None if is_shared else run)

    def phases(self, run: PlannedRun) -> list[tuple[str, ...]]:
        """The names of those who answer a run, by phases; mostly there is one, in which all do.

        If the runs need more models on this machine than may be loaded, each member that has one gets its own
        phase, and the others answer in the first. The order is the same for all runs, so that each model is
        loaded once, and no run keeps a model loaded while it waits for another one.
        """
        answering = {member.name for member in run.members}
        later = set(map(judge_key, self.deferred))
        resident = [
            name
            for name, executor in self.executors.items()
            if executor.sender.resident and name not in later
        ]
        ours = [name for name in resident if name in answering]
        others = [name for name in self.executors if name in answering and name not in resident]
        if len(ours) < 2 or len(resident) <= self.context.options.max_loaded_models:
            return [(*ours, *others)]
        return [(ours[0], *others), *((name,) for name in ours[1:])]

    def judging(self, name: str) -> Executor:
        """The executor of a deployment that judges."""
        return self.executors[judge_key(name) if name in self.deferred else name]

    @property
    def deferred_in_order(self) -> list[str]:
        """Those who judge after all answers, in the order in which their models are loaded."""
        return [name for name in map(_judging_name, self.executors) if name in self.deferred]

    async def release_judge(self, run: PlannedRun, name: str) -> None:
        """A run needs one of those no more who judge after all answers."""
        await self.release(run, judge_key(name))

    async def release_member(self, run: PlannedRun, name: str) -> None:
        """A run needs a member no more to answer; it is kept where it also judges."""
        if name in self.deferred or all(each.name != name for each in run.judging):
            await self.release(run, name)

    async def release_all(self, run: PlannedRun, *, but_deferred: bool = False) -> None:
        """A run needs nothing more, or only those who judge after all answers."""
        names = [each.name for each in run.asked]
        later = [judge_key(each.name) for each in run.judging if each.name in self.deferred]
        await self.release(run, *names, *(() if but_deferred else later))

    async def release(self, run: PlannedRun, *deployments: str) -> None:
        """A run needs these deployments no more; the last run that does closes their clients."""
        for name in deployments:
            needed_by = self.needed_by.get(name, set())
            if id(run) in needed_by:
                needed_by.discard(id(run))
                if not needed_by:
                    await self.executors[name].sender.close()


@asynccontextmanager
async def open_session(
    plan: Plan, names: Sequence[str], context: PlanContext, events: Emitter
) -> AsyncIterator[Session]:
    """A session for the runs of a plan; on leaving, everything is closed.

    Args:
        plan: The runs.
        names: Of their directories, in the same order.
        context: Options, models and data.
        events: Where everything is reported.

    Raises:
        UsageError: A key is missing, or a budget can't be kept; nothing has been sent.
    """
    options = context.options
    cache = ResponseCache(options.output_path / "cache.sqlite") if options.cache else None
    budget = Budget(max_usd=options.budget_usd, max_tokens=options.budget_tokens)
    handles = [
        RunHandle(
            name,
            options.suite_path / name,
            run.name,
            run.digest.full if run.digest is not None else None,
            run.deployment.name,
        )
        for run, name in zip(plan.runs, names, strict=True)
    ]
    builder = _ExecutorBuilder(plan, handles, options, events, budget, cache)
    executors, needed_by, deferred = builder.build()
    with (
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="scoring") as scoring,
        _signals(executors),
        _rare_collections(),
    ):
        try:
            yield Session(
                context,
                executors,
                scoring,
                events,
                runs=handles,
                needed_by=needed_by,
                deferred=deferred,
                prior_runs=None if options.fresh else _prior_runs(plan, handles, options.suite_path),
            )
        finally:
            for executor in executors.values():
                await executor.sender.close()
            if cache is not None:
                cache.close()


def judge_key(name: str) -> str:
    """The key of a deployment that judges after all answers: no deployment has a blank in its name."""
    return name + _JUDGE


def _judging_name(key: str) -> str:
    return key.removesuffix(_JUDGE) if key.endswith(_JUDGE) else ""


class _ExecutorBuilder:
    """Makes the executors of a plan, in the order in which models are loaded: those who answer come first."""

    def __init__(
        self,
        plan: Plan,
        handles: Sequence[RunHandle],
        options: RunOptions,
        events: Emitter,
        budget: Budget,
        cache: ResponseCache | None,
    ) -> None:
        self._runs = list(zip(plan.runs, handles, strict=True))
        self._options, self._events, self._budget, self._cache = options, events, budget, cache
        self._slots = LoadedModelSlots(options.max_loaded_models)
        self._executors: dict[str, Executor] = {}
        self._needed_by: defaultdict[str, set[int]] = defaultdict(set)

    def build(self) -> tuple[dict[str, Executor], Mapping[str, set[int]], frozenset[str]]:
        """The executors, which runs need each, and who judges after all answers."""
        for run, _ in self._runs:
            for member in run.members:
                self._add(member.name, member, run)
        deferred = self._deferred()
        for run, _ in self._runs:
            for deployment in run.judging:
                is_deferred = deployment.name in deferred
                self._add(judge_key(deployment.name) if is_deferred else deployment.name, deployment, run)
        return self._executors, dict(self._needed_by), deferred

    def _deferred(self) -> frozenset[str]:
        """Those who judge with a model for which there is no room besides the models that answer."""
        judging = {each.name: each for run, _ in self._runs for each in run.judging if is_resident(each)}
        answering = {name for name, executor in self._executors.items() if executor.sender.resident}
        room = self._options.max_loaded_models - len(answering)
        if room < 0:
            return frozenset(judging)
        return frozenset([name for name in judging if name not in answering][room:])

    def _add(self, key: str, deployment: ModelDeployment, run: PlannedRun) -> None:
        self._needed_by[key].add(id(run))
        if key not in self._executors:
            served = tuple(handle for other, handle in self._runs if deployment in other.asked)
            lifecycle = _lifecycle(deployment, self._slots, self._events, served)
            self._executors[key] = _executor(deployment, lifecycle, self._options, self._budget, self._cache)


def _prior_runs(plan: Plan, handles: Sequence[RunHandle], suite_path: Path) -> PriorRuns:
    planned = zip(plan.runs, handles, strict=True)
    return PriorRuns(
        suite_path,
        [(handle.path, run.identity, run.digest) for run, handle in planned if run.digest is not None],
    )


def _lifecycle(
    deployment: ModelDeployment, slots: LoadedModelSlots, events: Emitter, runs: tuple[RunHandle, ...]
) -> ClientLifecycle:
    """What loads a deployment's model, and reports it for these runs."""
    client, began_s = build_client(deployment), 0.0

    def tell(beginning: bool) -> None:
        nonlocal began_s
        if beginning:
            began_s = time.monotonic()
            events.note(f"{deployment.name}: loading the model")
            events.emit(ModelLoading(deployment.name, runs))
        else:
            seconds = time.monotonic() - began_s
            events.note(f"{deployment.name}: loaded in {seconds:.1f} s")
            events.emit(ModelLoaded(deployment.name, runs, seconds))
            for note in client.notes:
                events.note(f"{deployment.name}: {note}")

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
    sender = Sender(
        lifecycle.client,
        name=deployment.name,
        limits=limits,
        budget=budget,
        prices=deployment.prices,
        lifecycle=lifecycle,
        count=tokenizer.count if tokenizer is not None else None,
        allowance=allowances(deployment, type(lifecycle.client)),
    )
    # A fresh start takes no earlier answers, but the cache keeps those that it gets.
    sources = () if cache is None or options.fresh else (cache,)
    return Executor(sender, sources=sources, cache=cache, identity_digest=digest(identity_of(deployment)))


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
            executor.sender.stop(grace_s=GRACE_S if pressed == 1 else 0.0)

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
