"""From options to planned runs: everything that can be known, and checked, before a request is sent."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from evalkit.data.content import links_in
from evalkit.errors import DataError, EntryError, EvalkitError, UsageError
from evalkit.file_reads import watched_reads
from evalkit.instance import EVAL_SPLITS, TRAIN, Instance
from evalkit.parameters import bind_arguments
from evalkit.plugins import described, load_plugins, read_at_import
from evalkit.registry import ADAPTERS, METRICS, SCENARIOS
from evalkit.request import RequestState
from evalkit.runs.options import RunOptions
from evalkit.specs.conf import ConfEntry, read_conf
from evalkit.specs.digest import RunDigest, differing_fields, identity, run_digest
from evalkit.specs.expand import BadEntry, ExpandOptions, expand_entries, first_of
from evalkit.specs.fixups import AppliedFixUp
from evalkit.specs.run_spec import RunSpec

if TYPE_CHECKING:
    from evalkit.adapters.adapter import Adapter
    from evalkit.data import DataFile, DataStore
    from evalkit.models.catalog import ModelCatalog
    from evalkit.models.deployment import ModelDeployment
    from evalkit.perturbations.augmenter import Augmenter
    from evalkit.scenarios.scenario import Scenario

MAX_REPEATED_SHOWN = 3
MAX_UNDECLARED_SHOWN = 3


@dataclass(frozen=True, slots=True)
class PlanContext:
    """What plans are made from: options, models, and data."""

    options: RunOptions
    models: ModelCatalog
    data: DataStore


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run spec with everything resolved.

    Attributes:
        entry: The run entry it came from.
        augmenter: Makes the perturbed copies of its instances, if it has any.
        digest: None where a data file without a pinned checksum is not local yet.
        identity: All that the digest covers.
        fixups: What was changed in the run spec because of its model.
        problem: Why its data is not available; such a run ends at once, without touching the others.
        note: What the user should know of how its model is asked.
        read_early: What the scenario read while it was made, before it was asked for instances.
    """

    entry: str
    run_spec: RunSpec
    deployment: ModelDeployment
    scenario: Scenario
    augmenter: Augmenter
    digest: RunDigest | None
    identity: Mapping[str, Any]
    fixups: tuple[AppliedFixUp, ...] = ()
    problem: str = ""
    note: str = ""
    read_early: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The run name."""
        return self.run_spec.name

    def files(self) -> tuple[DataFile, ...]:
        """The data files it needs: the scenario's, then the perturbations' word lists."""
        return (*self.scenario.files(), *self.augmenter.files())


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs to do, in order, and what the user should know about them.

    Attributes:
        bad_entries: Wrong entries that `skip_bad_entries` left out; they are among the notes too.
    """

    runs: tuple[PlannedRun, ...]
    notes: tuple[str, ...] = ()
    bad_entries: tuple[BadEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadedRun:
    """A planned run with its instances: `requests()` are what will be sent.

    Attributes:
        instances: The evaluated ones, in plan order.
        train: The few-shot pool.
        notes: What the user should know of how the instances were made.
        unverified: Those of the notes that name data which is not the pinned one.
    """

    adapter: Adapter
    instances: list[Instance]
    train: list[Instance]
    num_requests: int = field(default=0)
    notes: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()

    def requests(self, answered: frozenset[str] | set[str] = frozenset()) -> Iterator[RequestState]:
        """The requests in plan order, without those whose key is in `answered`."""
        return self.adapter.requests(self.instances, self.train, skip=answered.__contains__)


def open_plan_context(
    options: RunOptions, on_download: Callable[[str, int, int | None], None] | None = None
) -> PlanContext:
    """Load plugins and model files.

    Args:
        options: What the user asks for.
        on_download: Told of downloads: URL, bytes received, bytes expected (None if unknown).

    Raises:
        PluginError: A plugin that was named does not load.
        ConfigError: A model file is wrong.
    """
    from evalkit.data import DataStore
    from evalkit.data.download import Downloader
    from evalkit.models.catalog import ModelCatalog

    load_plugins(options.plugins)
    mirror = options.mirror()
    if mirror is not None and not mirror.is_dir():
        raise UsageError(f"the data directory {mirror} does not exist")
    data = DataStore(
        mirror=mirror,
        offline=options.offline,
        verify=not options.unverified_data,
        downloader=Downloader(progress=on_download),
    )
    return PlanContext(options, ModelCatalog.load(options.deployment_files()), data)


def make_plan(context: PlanContext, *, fetch: bool = False) -> Plan:
    """Resolve and check every run that the options ask for.

    Args:
        context: Options, models and data.
        fetch: Download the data files that are missing; without it, no socket is opened.

    Raises:
        UsageError: A mistake in an entry, file or option; nothing has been loaded or sent.
    """
    options = context.options
    entries = [ConfEntry(description=text, priority=1) for text in options.run_entries]
    for path in options.conf_paths:
        entries = [*entries, *read_conf(path)]
    if not entries:
        raise UsageError("nothing to run: give --run-entries or --conf-paths")
    expansion = expand_entries(
        entries,
        context.models,
        ExpandOptions(
            models_to_run=options.models_to_run,
            groups_to_run=options.groups_to_run,
            priority=options.priority,
            max_eval_instances=options.max_eval_instances,
            num_train_trials=options.num_train_trials,
            skip_bad_entries=options.skip_bad_entries,
        ),
    )
    notes = [*context.models.notes, *_left_out(expansion.skipped)]
    runs, bad = [], list(expansion.bad)
    for expanded in expansion.run_specs:
        entry = expanded.entry
        try:
            run = plan_run(entry.description, expanded.run_spec, context, fetch=fetch)
            runs.append(replace(run, fixups=expanded.fixups))
        except UsageError as error:
            bad.append(BadEntry(entry.description, str(error), entry.source))
            if not options.skip_bad_entries or (expanded is expansion.run_specs[-1] and not runs):
                whole = (0, len(entry.description))
                raise EntryError(str(error), entry.description, whole, entry.source) from None
    kept, more_notes = _told_apart(runs)
    notes += _likely_slips(kept, context.models)
    moved = context.models.moved
    notes += dict.fromkeys(moved[name] for run in kept if (name := run.deployment.name) in moved)
    notes += dict.fromkeys(run.note for run in kept if run.note)
    notes += [f"left out, since it is wrong: {entry}" for entry in first_of(list(dict.fromkeys(bad)))]
    return Plan(tuple(kept), (*notes, *_changed_for_models(kept), *more_notes), tuple(dict.fromkeys(bad)))


def plan_run(entry: str, run_spec: RunSpec, context: PlanContext, *, fetch: bool = False) -> PlannedRun:
    """Resolve and check one run spec.

    Raises:
        UsageError: It names a plugin, argument or deployment that does not exist.
    """
    from evalkit.clients.factory import identity_of, with_model_facts
    from evalkit.perturbations.augmenter import Augmenter
    from evalkit.scoring.fit import refuse_unfitting

    spec = run_spec.scenario_spec
    scenario_class = SCENARIOS.get(spec.name)
    args = bind_arguments("scenario", spec.name, scenario_class, spec.args)
    with watched_reads(scenario_class.__module__) as reads:
        scenario: Scenario = scenario_class(**args)
        scenario_files = tuple(scenario.files())
    method = run_spec.adapter_spec.method
    adapter_class: Any = ADAPTERS.get(method)
    adapter = adapter_class(run_spec.adapter_spec)  # says what is impossible before anything is loaded
    for metric_spec in run_spec.metric_specs:
        skip = ("gold", "prediction", "adapter_spec")
        bind_arguments("metric", metric_spec.name, METRICS.get(metric_spec.name), metric_spec.args, skip)
    refuse_unfitting(type(adapter), method, run_spec.metric_specs)
    missing = _missing_here(run_spec, is_plan=not fetch)
    deployment = context.models.deployment(run_spec.adapter_spec.model_deployment)
    deployment = with_model_facts(deployment, fetch=fetch and not context.options.offline)
    if context.options.no_window:
        deployment = deployment.without_window()
    deployment, note = _with_usable_tokenizer(deployment)
    augmenter = Augmenter.of(run_spec.data_augmenter_spec)
    files = (*scenario_files, *augmenter.files())
    data_digest, problem = _data_digest(files, context, fetch=fetch)
    covered = identity(
        run_spec,
        deployment_identity=identity_of(deployment),
        data_digest=data_digest,
        versions={
            "scenario": scenario.version,
            "adapter": adapter_class.version,
            **augmenter.versions(),
        },
    )
    known = data_digest is not None or not files  # a run without data files has nothing to wait for
    return PlannedRun(
        entry=entry,
        run_spec=run_spec,
        deployment=deployment,
        scenario=scenario,
        augmenter=augmenter,
        digest=run_digest(covered) if known else None,
        identity=covered,
        problem=problem,
        note="; ".join(filter(None, (note, missing, "" if fetch else _missing_variable(deployment)))),
        read_early=(*read_at_import(scenario_class.__module__), *reads.files),
    )


def _missing_here(run_spec: RunSpec, *, is_plan: bool) -> str:
    """What the metrics miss on this machine, in words; a plan only notes it, it may be for another machine.

    Raises:
        UsageError: Something is missing, and the run would start here.
    """
    from evalkit.scoring.fit import refuse_machine

    try:
        refuse_machine(run_spec.metric_specs)
    except UsageError as error:
        if not is_plan:
            raise
        return f"{run_spec.name} can't run on this machine: {error}"
    return ""


def _missing_variable(deployment: ModelDeployment) -> str:
    """Which header can't be sent from this machine, in words; `run` refuses that, a plan only notes it."""
    from evalkit.clients.credentials import missing_header

    missing = missing_header(deployment.client_spec.args.get("headers_from_env"))
    return f"'{deployment.name}' can't be asked on this machine: {missing}" if missing else ""


def _with_usable_tokenizer(deployment: ModelDeployment) -> tuple[ModelDeployment, str]:
    """The deployment with a tokenizer that can be used here, and what to tell the user if that is another."""
    from evalkit.models.tokenizers import usable

    if deployment.tokenizer_name is None:
        return deployment, ""
    name, note = usable(deployment.tokenizer_name)
    if deployment.max_request_length is None:
        return deployment, ""  # nothing is fitted, so nothing changes
    return deployment.model_copy(update={"tokenizer_name": name}), note


def _data_digest(files: Sequence[DataFile], context: PlanContext, *, fetch: bool) -> tuple[str | None, str]:
    """The digest of a run's data, if it is known, and why the data is not available, or nothing."""
    try:
        for file in files if fetch else ():
            context.data.path(file)
        return (context.data.digest(files) if files else None), ""
    except DataError as error:
        return None, str(error)


def data_is_local(run: PlannedRun, context: PlanContext) -> bool:
    """Whether the run's instances can be made without a download and without asking a service."""
    return not run.augmenter.asks_service and all(context.data.is_local(file) for file in run.files())


def load_instances(run: PlannedRun, context: PlanContext, at_most: int | None = None) -> LoadedRun:
    """Make the instances, choose the evaluated ones, and add the perturbed copies.

    Args:
        run: The run.
        context: Where its data is.
        at_most: Stop making instances after so many to evaluate; for estimates.

    Raises:
        DataError: A data file is missing or damaged, or the scenario gives one id to two instances.
    """
    from evalkit.adapters.sampling import downsample
    from evalkit.scenarios.scenario import with_ids

    if run.problem:
        raise DataError(run.problem)
    adapter_spec = run.run_spec.adapter_spec
    eval_splits = adapter_spec.eval_splits or EVAL_SPLITS
    reading = watched_reads(type(run.scenario).__module__)
    try:
        with _collector_paused(), reading as reads:
            everything = list(with_ids(_first(run.scenario.instances(context.data), at_most, eval_splits)))
    except EvalkitError:
        raise
    except Exception as error:
        name = run.run_spec.scenario_spec.name
        raise DataError(f"scenario '{name}' failed to make its instances: {described(error)}") from error
    if len({instance.id for instance in everything}) != len(everything):
        raise DataError(f"scenario '{run.run_spec.scenario_spec.name}' gives one id to several instances")
    instances = downsample(everything, adapter_spec.max_eval_instances, adapter_spec.eval_splits)
    train = [instance for instance in everything if instance.split == TRAIN]
    instances, train = run.augmenter.augmented(instances, train, context.data)
    if not instances:
        raise DataError(f"{run.name}: no instance to evaluate in splits {', '.join(eval_splits)}")
    _refuse_changed_data(run, context)
    adapter: Adapter = ADAPTERS.get(adapter_spec.method)(adapter_spec, window_of(run.deployment))
    unverified = tuple(context.data.unverified(run.files()))
    notes = (*unverified, *_undeclared(run, (*run.read_early, *reads.files), context))
    return LoadedRun(adapter, instances, train, adapter.num_requests(instances), notes, unverified)


def _refuse_changed_data(run: PlannedRun, context: PlanContext) -> None:
    """Nothing, if the data is still what the run's digest says.

    Raises:
        DataError: A file was edited after the run was planned.
    """
    planned = run.identity["data_digest"]
    if planned is not None and context.data.digest(run.files()) != planned:
        raise DataError(f"{run.name}: its data changed after it was planned; start it again")


def _undeclared(run: PlannedRun, read: Iterable[str], context: PlanContext) -> tuple[str, ...]:
    """A note if files were read that the run's digest does not cover."""
    paths = [context.data.path(file) for file in run.files() if context.data.is_local(file)]
    # Links in a folder lead out of it; what they lead to counts all the same.
    declared = [os.path.realpath(path) for path in (*paths, *chain.from_iterable(map(links_in, paths)))]
    missed = [
        path
        for path in dict.fromkeys(read)
        if not any(path == known or path.startswith(known + os.sep) for known in declared)
    ]
    if not missed:
        return ()
    named = ", ".join(missed[:MAX_UNDECLARED_SHOWN])
    more = f" and {len(missed) - MAX_UNDECLARED_SHOWN} more" if len(missed) > MAX_UNDECLARED_SHOWN else ""
    return (
        f"scenario '{run.run_spec.scenario_spec.name}' reads {named}{more}, declared by none of its files(): "
        "after an edit the run still counts as the same. Let files() give "
        f"DataFile.local({os.path.basename(missed[0])!r}), and open data.path(file)",
    )


def _first(
    instances: Iterable[Instance], at_most: int | None, eval_splits: Sequence[str]
) -> Iterator[Instance]:
    """The instances up to the one that makes `at_most` to evaluate; all of them for None."""
    num_made = 0
    for instance in instances:
        yield instance
        num_made += instance.split in eval_splits
        if num_made == at_most:
            return


def num_evaluated(run: PlannedRun) -> int | None:
    """How many instances are evaluated, if the scenario knows without making them and none is perturbed."""
    sizes = run.scenario.sizes()
    if sizes is None or run.run_spec.data_augmenter_spec.perturbation_specs:
        return None
    adapter_spec = run.run_spec.adapter_spec
    pool = sum(sizes.get(split, 0) for split in adapter_spec.eval_splits or EVAL_SPLITS)
    return min(pool, adapter_spec.max_eval_instances or pool)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No cyclic garbage collection: where all that is made stays, it is a third of the time for nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def window_of(deployment: ModelDeployment) -> Any:
    """The context window that prompts for this deployment must fit."""
    from evalkit.adapters.window import NO_WINDOW, TokenWindow
    from evalkit.models.tokenizers import tokenizer

    length = deployment.max_request_length or deployment.max_sequence_length
    if length is None or deployment.tokenizer_name is None:
        return NO_WINDOW
    return TokenWindow(
        tokenizer(deployment.tokenizer_name),
        length,
        max_sequence_length=deployment.max_sequence_length,
        max_total_length=deployment.max_sequence_and_generated_tokens_length,
    )


def _left_out(skipped: list[tuple[ConfEntry, str]]) -> list[str]:
    """One note per reason; a conf can have hundreds of entries of too low a priority."""
    by_reason: dict[str, list[str]] = {}
    for entry, reason in skipped:
        by_reason.setdefault(reason, []).append(entry.description)
    return [
        f"left out {entries[0]}{f' and {len(entries) - 1} more' if len(entries) > 1 else ''}: {reason}"
        for reason, entries in by_reason.items()
    ]


def _changed_for_models(runs: list[PlannedRun]) -> list[str]:
    """One note per fix-up, with what it changed and in how many runs."""
    by_fixup: dict[AppliedFixUp, list[PlannedRun]] = {}
    for run in runs:
        for fixup in run.fixups:
            by_fixup.setdefault(fixup, []).append(run)
    return [
        f"fix-up '{fixup.name}' changed {', '.join(fixup.fields)} of {found[0].name}"
        f"{f' and {len(found) - 1} more' if len(found) > 1 else ''}: {fixup.because}"
        for fixup, found in by_fixup.items()
    ]


def _likely_slips(runs: list[PlannedRun], models: ModelCatalog) -> list[str]:
    """Any name under a provider's prefix can be asked for; one that is nearly a known model may be a slip."""
    names = dict.fromkeys(run.deployment.name for run in runs)
    return [
        f"'{name}' is no registered model and is asked for as it stands; did you mean '{meant}'?"
        for name in names
        if (meant := models.likely_meant(name)) is not None
    ]


def _told_apart(runs: list[PlannedRun]) -> tuple[list[PlannedRun], list[str]]:
    """Equal digests once, in the groups of all; one name with two digests reported with what differs."""
    kept: list[PlannedRun] = []
    groups: dict[int, tuple[str, ...]] = {}
    by_digest: dict[str, PlannedRun] = {}
    by_name: dict[str, PlannedRun] = {}
    notes, repeated = [], []
    for run in runs:
        # Where data is missing there is no digest yet, but what is known of two runs can be compared.
        key = run_digest(run.identity).full
        twin = by_digest.setdefault(key, run)
        if twin is not run:
            groups[id(twin)] = (*groups.get(id(twin), twin.run_spec.groups), *run.run_spec.groups)
            repeated.append(f"{run.entry} is the same run as {twin.entry}; it runs once")
            continue
        first = by_name.setdefault(run.name, run)
        if first is not run:
            fields = ", ".join(differing_fields(first.identity, run.identity))
            notes.append(f"two runs are named {run.name}; kept apart by digest, they differ in {fields}")
        kept.append(run)
    if len(repeated) > MAX_REPEATED_SHOWN:
        more = len(repeated) - MAX_REPEATED_SHOWN
        repeated = [*repeated[:MAX_REPEATED_SHOWN], f"… and so are {more} more entries"]
    return [_in_groups(run, groups.get(id(run), ())) for run in kept], notes + repeated


def _in_groups(run: PlannedRun, groups: Iterable[str]) -> PlannedRun:
    """The run in these groups, each once, if there are any; a group is a label and in no digest."""
    if not (together := tuple(dict.fromkeys(groups))):
        return run
    return replace(run, run_spec=run.run_spec.model_copy(update={"groups": together}))
