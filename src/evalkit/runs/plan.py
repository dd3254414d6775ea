"""From options to planned runs: everything that can be known, and checked, before a request is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from evalkit.errors import DataError, EntryError, UsageError
from evalkit.parameters import bind_arguments
from evalkit.plugins import load_plugins, read_at_import
from evalkit.read_audit import watched_reads
from evalkit.registry import ADAPTERS, METRICS, SCENARIOS
from evalkit.runs.options import RunOptions
from evalkit.runs.plan_judges import PlannedJudge, plan_judges, refuse_wrong_files
from evalkit.runs.plan_notes import changed_for_models, left_out, likely_typos
from evalkit.sandbox.choice import choose
from evalkit.specs.conf import ConfEntry, read_conf_file
from evalkit.specs.digest import RunDigest, differing_fields, identity, run_digest
from evalkit.specs.expand import TO_SKIP, BadEntry, ExpandOptions, expand_entries, first_of
from evalkit.specs.fixups import AppliedFixUp
from evalkit.specs.plugin_call import PluginCall, parse_plugin_call
from evalkit.specs.run_spec import RunSpec

if TYPE_CHECKING:
    from evalkit.adapters.adapter import Adapter
    from evalkit.data import DataFile, DataStore
    from evalkit.interchange.nejumi.nejumi_runs import NejumiRuns
    from evalkit.models.catalog import ModelCatalog
    from evalkit.models.deployment import ModelDeployment
    from evalkit.models.routed import Deployment
    from evalkit.perturbations.augmenter import Augmenter
    from evalkit.runs.stored_answers import StoredAnswers
    from evalkit.scenarios.scenario import Scenario

MAX_REPEATED_SHOWN = 3


@dataclass(frozen=True, slots=True)
class PlanContext:
    """What plans are made from: options, models, data, and the trackers that will hear of the runs.

    Attributes:
        conf_entries: The entries of the options' conf files, or of a config of Nejumi.
        nejumi: What that config says; None without one.
        is_judged: Whether the runs have their judges, if they have any.
    """

    options: RunOptions
    models: ModelCatalog
    data: DataStore
    trackers: tuple[PluginCall, ...] = ()
    conf_entries: tuple[ConfEntry, ...] = ()
    nejumi: NejumiRuns | None = None
    is_judged: bool = True


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run spec with everything resolved.

    Attributes:
        entry: The run entry it came from.
        augmenter: Makes the perturbed copies of its instances, if it has any.
        digest: None where a data file without a pinned checksum is not local yet.
        identity: All that the digest covers.
        members: The deployments that answer: the members of a routed one, else the deployment itself.
        fixups: What was changed in the run spec because of its model.
        problem: Why its data is not available; such a run ends at once, without touching the others.
        note: What the user should know of how its model is asked.
        read_early: What the scenario read while it was made, before it was asked for instances.
        judges: Who grades the answers.
        stored: The answers, where they are those of a stored run.
    """

    entry: str
    run_spec: RunSpec
    deployment: Deployment
    members: tuple[ModelDeployment, ...]
    scenario: Scenario
    augmenter: Augmenter
    digest: RunDigest | None
    identity: Mapping[str, Any]
    fixups: tuple[AppliedFixUp, ...] = ()
    problem: str = ""
    note: str = ""
    read_early: tuple[str, ...] = ()
    judges: tuple[PlannedJudge, ...] = ()
    stored: StoredAnswers | None = None

    @property
    def name(self) -> str:
        """The run name."""
        return self.run_spec.name

    def files(self) -> tuple[DataFile, ...]:
        """The data files it needs: the scenario's, then the perturbations' word lists."""
        return (*self.scenario.files(), *self.augmenter.files())

    @property
    def judging(self) -> tuple[ModelDeployment, ...]:
        """Everybody who judges, each once."""
        judging = (deployment for planned in self.judges for deployment in planned.deployments)
        return tuple({each.name: each for each in judging}.values())

    @property
    def asked(self) -> tuple[ModelDeployment, ...]:
        """Everybody who is sent a request: those who answer, then those who judge, each once."""
        return tuple({each.name: each for each in (*self.members, *self.judging)}.values())


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs to do, in order, and what the user should know about them.

    Attributes:
        bad_entries: Wrong entries that `skip_bad_entries` left out; they are among the notes too.
    """

    runs: tuple[PlannedRun, ...]
    notes: tuple[str, ...] = ()
    bad_entries: tuple[BadEntry, ...] = ()


def open_plan_context(
    options: RunOptions, on_download: Callable[[str, int, int | None], None] | None = None
) -> PlanContext:
    """Load plugins and model files, and choose the sandbox of this context (`contextvars`).

    Args:
        options: What the user asks for.
        on_download: Called during downloads: URL, bytes received, bytes expected (None if unknown).

    Raises:
        PluginError: A plugin that was named does not load.
        ConfigError: A model file or a conf file is wrong.
        EntryError: A tracker is unknown, or an argument of it is wrong.
    """
    from evalkit.data import DataStore
    from evalkit.data.download import Downloader
    from evalkit.models.catalog import ModelCatalog

    choose(options.sandbox)
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
    trackers = tuple(parse_plugin_call("tracker", text) for text in options.tracker_calls())
    if options.nejumi_config:
        models = ModelCatalog.load(options.deployment_files())
        nejumi = _read_nejumi(options, models)
        return PlanContext(options, models, data, trackers, nejumi.entries, nejumi)
    confs = [read_conf_file(path) for path in options.conf_paths]
    models = ModelCatalog.load(options.deployment_files(), confs)
    return PlanContext(options, models, data, trackers, tuple(e for conf in confs for e in conf.entries))


def _read_nejumi(options: RunOptions, models: ModelCatalog) -> NejumiRuns:
    """What a config of Nejumi asks for; its deployments are registered."""
    from evalkit.interchange.nejumi.reading import read_nejumi

    nejumi = read_nejumi(
        options.nejumi_config,
        options.conf_paths,
        models,
        options.mirror(),
        skip_bad=options.skip_bad_entries,
    )
    nejumi.add_to(models)
    return nejumi


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
    entries += context.conf_entries
    if not entries:
        raise UsageError("nothing to run: give --run-entries, --conf-paths or --nejumi-config")
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
    notes = [*context.models.notes, *left_out(expansion.skipped)]
    if context.nejumi is not None:
        notes += [*context.nejumi.notes, *(f"left out: {each}" for each in context.nejumi.left_out)]
    notes += dict.fromkeys(note for expanded in expansion.run_specs for note in expanded.notes)
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
                others = {each.entry.description for each in expansion.run_specs} - {entry.description}
                more = f"; {TO_SKIP}" if others and not options.skip_bad_entries else ""
                raise EntryError(f"{error}{more}", entry.description, whole, entry.source) from None
    kept, more_notes = _with_distinct_names(runs)
    notes += likely_typos(kept, context.models)
    moved = context.models.moved
    asked = [member.name for run in kept for member in run.members]
    notes += dict.fromkeys(moved[name] for name in asked if name in moved)
    notes += dict.fromkeys(run.note for run in kept if run.note)
    notes += [f"left out a wrong entry: {entry}" for entry in first_of(list(dict.fromkeys(bad)))]
    return Plan(tuple(kept), (*notes, *changed_for_models(kept), *more_notes), tuple(dict.fromkeys(bad)))


def plan_run(entry: str, run_spec: RunSpec, context: PlanContext, *, fetch: bool = False) -> PlannedRun:
    """Resolve and check one run spec.

    Raises:
        UsageError: It names a plugin, argument or deployment that does not exist.
    """
    from evalkit.perturbations.augmenter import Augmenter

    run_spec = run_spec if context.is_judged else run_spec.with_judges()
    spec = run_spec.scenario_spec
    scenario_class = SCENARIOS.get(spec.name)
    args = bind_arguments("scenario", spec.name, scenario_class, spec.args)
    with watched_reads(scenario_class.__module__) as reads:
        scenario: Scenario = scenario_class(**args)
        scenario_files = tuple(scenario.files())
    adapter = _checked_adapter(run_spec)
    missing = _missing_here(run_spec, is_plan=not fetch)
    name = run_spec.adapter_spec.model_deployment
    members, note = _prepared(context.models.members(name), context, fetch=fetch)
    deployment = context.models.routed(name) or members[0]
    _refuse_several_tokenizers(adapter, deployment, members)
    judges, judge_problem = judges_of(run_spec, context, fetch=fetch)
    judging = [deployment for planned in judges for deployment in planned.deployments]
    _refuse_unpriced((*members, *judging), context.options)
    augmenter = Augmenter.of(run_spec.data_augmenter_spec)
    files = (*scenario_files, *augmenter.files())
    data_digest, problem = _data_digest(files, context, fetch=fetch)
    covered = identity(
        run_spec,
        deployment_identity=_identity_of(deployment, members),
        data_digest=data_digest,
        versions={
            "scenario": scenario.version,
            "adapter": adapter.version,
            **augmenter.versions(),
        },
        judges=[planned.identity for planned in judges],
    )
    # A run without data files has nothing to wait for.
    known = (data_digest is not None or not files) and not judge_problem
    return PlannedRun(
        entry=entry,
        run_spec=run_spec,
        deployment=deployment,
        members=members,
        scenario=scenario,
        augmenter=augmenter,
        digest=run_digest(covered) if known else None,
        identity=covered,
        problem=problem or judge_problem,
        note="; ".join(
            filter(None, (note, missing, *_missing_variables((*members, *judging), is_plan=not fetch)))
        ),
        judges=judges,
        read_early=(*read_at_import(scenario_class.__module__), *reads.files),
    )


def judges_of(
    run_spec: RunSpec, context: PlanContext, *, fetch: bool
) -> tuple[tuple[PlannedJudge, ...], str]:
    """The judges of a run spec, and why the data of one of them is not available, or nothing.

    Raises:
        UsageError: A judge, who plays it, or a template of the user's is unknown or wrong.
    """
    judges, problem = plan_judges(
        run_spec,
        lambda judge: _prepared_judge(judge, context, fetch=fetch),
        lambda judge: _identity_of(judge, (judge,)),
        lambda files: _data_digest(files, context, fetch=fetch),
    )
    return judges, refuse_wrong_files(judges, run_spec.adapter_spec, context.data) or problem


def _checked_adapter(run_spec: RunSpec) -> Adapter:
    """The run's adapter, whose requests its metrics can score, made with arguments that they have.

    Raises:
        UsageError: Adapter spec or metric specs ask for what is impossible.
    """
    from evalkit.scoring.compatibility import refuse_unfitting

    method = run_spec.adapter_spec.method
    adapter_class: Any = ADAPTERS.get(method)
    adapter: Adapter = adapter_class(run_spec.adapter_spec)
    for metric_spec in run_spec.metric_specs:
        skip = ("gold", "prediction", "adapter_spec")
        bind_arguments("metric", metric_spec.name, METRICS.get(metric_spec.name), metric_spec.args, skip)
    refuse_unfitting(type(adapter), method, run_spec.metric_specs)
    return adapter


def _missing_here(run_spec: RunSpec, *, is_plan: bool) -> str:
    """What the metrics miss on this machine, in words; a plan only notes it, it may be for another machine.

    Raises:
        UsageError: Something is missing, and the run would start here.
    """
    from evalkit.scoring.compatibility import refuse_machine

    try:
        refuse_machine(run_spec.metric_specs)
    except UsageError as error:
        if not is_plan:
            raise
        return f"{run_spec.name} can't run on this machine: {error}"
    return ""


def _prepared(
    members: Sequence[ModelDeployment], context: PlanContext, *, fetch: bool
) -> tuple[tuple[ModelDeployment, ...], str]:
    """Deployments with what their models' files say, and what to tell the user of their tokenizers."""
    from evalkit.clients.factory import with_model_facts

    prepared, notes = [], []
    for member in members:
        known = with_model_facts(member, fetch=fetch and not context.options.offline)
        if context.options.no_window:
            known = known.without_window()
        known, note = _with_usable_tokenizer(known)
        prepared.append(known)
        notes.append(note)
    return tuple(prepared), "; ".join(filter(None, dict.fromkeys(notes)))


def _prepared_judge(name: str, context: PlanContext, *, fetch: bool) -> tuple[ModelDeployment, str]:
    """A deployment that judges, as `_prepared` gives it.

    Raises:
        UsageError: It is not known, or routed: who judges would depend on the answer.
    """
    if context.models.routed(name) is not None:
        raise UsageError(f"'{name}' is a routed deployment; name the members as a jury: judge=a|b")
    prepared, note = _prepared(context.models.members(name), context, fetch=fetch)
    return prepared[0], note


def _identity_of(deployment: Deployment, members: Sequence[ModelDeployment]) -> dict[str, Any]:
    """Everything about who answers that can change an answer.

    Raises:
        UsageError: A client, a router, or an argument of theirs is unknown or wrong.
    """
    from evalkit.clients.factory import identity_of
    from evalkit.models.routed import RoutedDeployment
    from evalkit.routers.router import routed_identity

    identities = [identity_of(member) for member in members]
    return (
        routed_identity(deployment, identities) if isinstance(deployment, RoutedDeployment) else identities[0]
    )


def _refuse_several_tokenizers(
    adapter: Adapter, deployment: Deployment, members: Sequence[ModelDeployment]
) -> None:
    """Nothing, unless each text is cut and scored in tokens of one model, and there are several.

    Raises:
        UsageError: The members have several tokenizers.
    """
    names = dict.fromkeys(member.tokenizer_name for member in members)
    if len(names) > 1 and "prompt_logprobs" in (adapter.gives or ()):
        found = ", ".join(f"{member.name}: {member.tokenizer_name}" for member in members)
        raise UsageError(
            f"{adapter.spec.method} counts in tokens of one tokenizer, and the members of "
            f"'{deployment.name}' have several ({found}); use members that share one"
        )


def _refuse_unpriced(members: Sequence[ModelDeployment], options: RunOptions) -> None:
    """Nothing, if a budget in USD can be kept with these deployments.

    Raises:
        UsageError: One that may cost money has no prices.
    """
    from evalkit.clients.factory import costs_nothing

    if options.budget_usd is None:
        return
    for member in members:
        if member.prices is None and costs_nothing(member) is False:
            raise UsageError(
                f"{member.name} has no prices, so a budget in USD can't be kept; add prices or drop it"
            )


def _missing_variables(members: Sequence[ModelDeployment], *, is_plan: bool) -> Iterator[str]:
    """Which headers can't be sent from this machine, in words; `run` refuses that, a plan only notes it."""
    from evalkit.clients.credentials import missing_header

    for member in members if is_plan else ():
        if missing := missing_header(member.client_spec.args.get("headers_from_env")):
            yield f"'{member.name}' can't be used on this machine: {missing}"


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


def _with_distinct_names(runs: list[PlannedRun]) -> tuple[list[PlannedRun], list[str]]:
    """Equal digests once, in the groups of all; one name with two digests reported with what differs."""
    kept: list[PlannedRun] = []
    groups: dict[int, tuple[str, ...]] = {}
    by_digest: dict[str, PlannedRun] = {}
    by_name: dict[str, PlannedRun] = {}
    notes, repeated = [], []
    for run in runs:
        # Where data is missing there is no digest yet, but what is known of two runs can be compared.
        key = run_digest(run.identity).full
        first = by_digest.setdefault(key, run)
        if first is not run:
            groups[id(first)] = (*groups.get(id(first), first.run_spec.groups), *run.run_spec.groups)
            repeated.append(f"{run.entry} is the same run as {first.entry}; it runs once")
            continue
        first = by_name.setdefault(run.name, run)
        if first is not run:
            fields = ", ".join(differing_fields(first.identity, run.identity))
            notes.append(
                f"two runs are named {run.name}, and evalkit keeps each in its own directory; they differ "
                f"in {fields}"
            )
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
