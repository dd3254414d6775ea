"""From run entries to run specs: look up, check, fan out, filter.

Every mistake in an entry is an `EntryError` that marks the place and names the nearest right name, found
before any data or model is loaded. Nothing vanishes silently: what filters leave out is listed with the
reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import Field, ValidationError

from evalkit.errors import (
    EntryError,
    EvalkitError,
    PluginError,
    UnknownNameError,
    UsageError,
    nearest_names,
    without_nearest_names,
)
from evalkit.parameters import parameters_of, says_how_many
from evalkit.plugins import described
from evalkit.registry import ADAPTERS, EXPANDERS, RUN_SPECS, SCENARIOS
from evalkit.specs.conf import ConfEntry
from evalkit.specs.entry import Arg, RunEntry, Span, parse_run_entry
from evalkit.specs.expanders import max_train_instances, suffixed
from evalkit.specs.fixups import AppliedFixUp, fix_up
from evalkit.specs.helm_names import NotPortedError, refuse_if_helms
from evalkit.specs.model_names import ModelNames
from evalkit.specs.plugin_call import check_form, check_once, value_of
from evalkit.specs.run_spec import RunSpec
from evalkit.specs.spec import Spec

MAX_WRONG_SHOWN = 20
"""How many wrong entries an error shows; it counts the rest."""
TO_SKIP = "--skip-bad-entries leaves such an entry out and runs the others"
"""What to do if only some entries are wrong."""
_MODEL, _DEPLOYMENT = "model", "model_deployment"


class ExpandOptions(Spec):
    """What the user asks of all entries together."""

    models_to_run: tuple[str, ...] = ()
    """Models (or deployments) to use for wildcards; runs of other models are left out."""
    groups_to_run: tuple[str, ...] = ()
    """Keep only runs that belong to one of these groups."""
    priority: int | None = None
    """Leave out entries of a larger priority number; entries without one stay."""
    max_eval_instances: int | None = Field(default=None, ge=1)
    """Most instances to evaluate, where neither entry nor benchmark sets a number."""
    num_train_trials: int | None = Field(default=None, ge=1)
    """Number of draws of few-shot examples, in place of the entry's; always 1 without examples."""
    skip_bad_entries: bool = False
    """Go on without the entries that are wrong, as long as any other gives a run."""


@dataclass(frozen=True, slots=True)
class ExpandedRun:
    """A run spec and the entry it came from.

    Attributes:
        fixups: What was changed in it because of its model.
        notes: What in the entry has no effect.
    """

    entry: ConfEntry
    run_spec: RunSpec
    fixups: tuple[AppliedFixUp, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BadEntry:
    """An entry that is wrong and was left out because the user said so.

    Attributes:
        message: What is wrong, and what would be right.
        source: File and line it came from; None for the command line.
    """

    entry: str
    message: str
    source: str | None = None

    def __str__(self) -> str:
        return f"{self.entry}{f' ({self.source})' if self.source else ''}: {self.message}"


@dataclass(frozen=True, slots=True)
class Expansion:
    """All run specs in the order of their entries, and the entries that gave none, each with the reason."""

    run_specs: list[ExpandedRun] = field(default_factory=list)
    skipped: list[tuple[ConfEntry, str]] = field(default_factory=list)
    bad: list[BadEntry] = field(default_factory=list)


def expand_entries(entries: Sequence[ConfEntry], models: ModelNames, options: ExpandOptions) -> Expansion:
    """The run specs that `entries` mean.

    Entries of a conf file that name a run spec of HELM that is not here yet are skipped with that reason.

    Wrong ones are left out too if `options.skip_bad_entries` says so.

    Raises:
        EntryError: One entry is wrong, or, on the command line, names such a run spec.
        UnknownNameError: A name in `options.models_to_run` is unknown.
        UsageError: Several entries are wrong (the first are listed), or nothing is left to run.
        PluginError: A run-spec function or an expander has an impossible signature.
    """
    for name in options.models_to_run:
        models.resolve(name)
    expansion = Expansion()
    errors: list[EntryError] = []
    for entry in entries:
        try:
            with nullcontext() if len(errors) < MAX_WRONG_SHOWN else without_nearest_names():
                run_specs, reason, notes = _expand_entry(entry, models, options)
        except NotPortedError as error:
            if entry.source is None:
                parsed = parse_run_entry(entry.description)
                errors.append(parsed.error(str(error), parsed.name_span))
            else:
                expansion.skipped.append((entry, str(error)))
            continue
        except EntryError as error:
            error.__context__ = None  # with their frames, many errors would fill the memory
            errors.append(error.with_traceback(None))
            continue
        for run_spec in run_specs:
            judged, more_notes = _with_named_judges(run_spec)
            finished = _finished(judged, entry, models, options)
            expansion.run_specs.append(replace(finished, notes=(*notes, *more_notes)))
        if not run_specs:
            expansion.skipped.append((entry, reason))
    if options.skip_bad_entries and expansion.run_specs:
        expansion.bad.extend(BadEntry(error.entry, error.message, error.source) for error in errors)
        return expansion
    more = f"; {TO_SKIP}" if expansion.run_specs else ""
    if len(errors) == 1:
        (wrong,) = errors
        raise EntryError(f"{wrong.message}{more}", wrong.entry, wrong.span, wrong.source)
    if errors:
        raise UsageError("\n".join([f"{len(errors):,} run entries are wrong{more}", *first_of(errors)]))
    if not expansion.run_specs:
        raise UsageError(_nothing_left(expansion.skipped))
    return expansion


def first_of(wrong: Sequence[object]) -> list[str]:
    """What is wrong with the first entries, and how many more there are."""
    shown = [str(each) for each in wrong[:MAX_WRONG_SHOWN]]
    more = len(wrong) - len(shown)
    return [*shown, f"… and {more:,} more"] if more else shown


def _expand_entry(
    entry: ConfEntry, models: ModelNames, options: ExpandOptions
) -> tuple[list[RunSpec], str, tuple[str, ...]]:
    """The run specs of one entry, where there are none, the reason, and what in it has no effect."""
    if entry.priority is not None and options.priority is not None and entry.priority > options.priority:
        return [], f"its priority {entry.priority} is greater than {options.priority}", ()
    call = _resolve(parse_run_entry(entry.description, entry.source).with_args(entry.args))
    run_specs = [
        run_spec
        for steps in _with_models(call, models, options.models_to_run)
        for run_spec in _fan_out(call, steps, models)
    ]
    limited, notes = _limited(run_specs, call, options)
    return *_filtered(limited, options), (*call.notes, *notes)


# Looking up and checking


@dataclass(frozen=True, slots=True)
class _Step:
    """An expander with the value an entry gives it."""

    name: str
    expander: Callable[..., Iterable[RunSpec]]
    value: Any
    takes_models: bool
    span: Span

    def apply(self, run_spec: RunSpec, models: ModelNames) -> Iterable[RunSpec]:
        extra = (models,) if self.takes_models else ()
        return self.expander(run_spec, self.value, *extra)


@dataclass(frozen=True, slots=True)
class _Call:
    """An entry in which every name and value has been checked.

    Attributes:
        number: Its argument that says how many items are evaluated, such as `items=20`; "" if none does.
        notes: Which of its arguments have no effect; they are none of the steps.
    """

    entry: RunEntry
    base: RunSpec
    steps: tuple[_Step, ...]
    number: str = ""
    notes: tuple[str, ...] = ()


def _resolve(entry: RunEntry) -> _Call:
    """Look up the run-spec function, sort its parameters from expanders, and check all values.

    Raises:
        EntryError: Something in the entry is wrong.
        NotPortedError: HELM has this run spec, evalkit not yet.
        PluginError: The run-spec function or an expander has an impossible signature.
    """
    check_form(entry, "the run entry names no run spec")
    if entry.name not in RUN_SPECS:
        refuse_if_helms(entry.name, RUN_SPECS.names())
    try:
        function = RUN_SPECS.get(entry.name)
    except UnknownNameError as error:
        raise entry.error(str(error), entry.name_span) from None
    parameters = {p.name: p for p in parameters_of(function)}
    steps, given = [], {}
    for arg in entry.args:
        if arg.key in EXPANDERS:
            steps.append(_step(entry, arg))
        elif arg.key in parameters:
            given[arg.key] = value_of(entry, arg, parameters[arg.key])
        else:
            raise _unknown_parameter(entry, arg, parameters)
    check_once(entry, [(step.expander, step.name, step.span) for step in steps])
    if missing := [p.name for p in parameters.values() if p.required and p.name not in given]:
        raise entry.error(f"run spec '{entry.name}' needs {' and '.join(missing)}", entry.name_span)
    numbers = (f"{name}={value}" for name, value in given.items() if says_how_many(name, value))
    return _without_examples(
        _Call(entry, _base(entry, function, given), tuple(steps), number=next(numbers, "").lower())
    )


def _without_examples(call: _Call) -> _Call:
    """The call without the number of few-shot examples, where its benchmark has none to show."""
    asked = [step for step in call.steps if step.expander is max_train_instances]
    if not asked or _has_examples(call.base):
        return call
    steps = tuple(step for step in call.steps if step not in asked)
    name = call.entry.name
    notes = tuple(
        f"{step.name}={step.value} has no effect: {name} has no few-shot examples"
        for step in asked
        if step.value not in (0, "zero")
    )
    return replace(call, steps=steps, notes=notes)


def _has_examples(run_spec: RunSpec) -> bool:
    """Whether prompts can show few-shot examples; where it isn't known, they can."""
    plugins = ((ADAPTERS, run_spec.adapter_spec.method), (SCENARIOS, run_spec.scenario_spec.name))
    known = (registry.get(name) for registry, name in plugins if name in registry)
    return all(getattr(plugin, "has_examples", True) for plugin in known)


def _unknown_parameter(entry: RunEntry, arg: Arg, parameters: Iterable[str]) -> EntryError:
    nearest = nearest_names(arg.key, [*parameters, *EXPANDERS])
    hint = f"; did you mean {' or '.join(repr(name) for name in nearest)}?" if nearest else ""
    return entry.error(f"run spec '{entry.name}' has no parameter '{arg.key}'{hint}", arg.key_span)


def _step(entry: RunEntry, arg: Arg) -> _Step:
    expander = EXPANDERS.get(arg.key)
    parameters = parameters_of(expander)
    if len(parameters) not in (2, 3):
        raise PluginError(f"run expander '{arg.key}' must take (run_spec, value[, models])")
    value = value_of(entry, arg, parameters[1])
    return _Step(arg.key, expander, value, len(parameters) == 3, arg.span)


def _base(entry: RunEntry, function: Callable[..., Any], given: dict[str, Any]) -> RunSpec:
    with _marking(entry, None):
        base = function(**given)
    if not isinstance(base, RunSpec):
        raise PluginError(f"run spec '{entry.name}' returned {type(base).__name__}, not a RunSpec")
    return base


@contextmanager
def _marking(entry: RunEntry, span: Span | None) -> Iterator[None]:
    """Turn an error about a value inside the block into one that marks it in the entry."""
    try:
        yield
    except (EntryError, PluginError, NotPortedError):
        raise
    except UsageError as error:
        raise entry.error(str(error), span) from None
    except ValidationError as error:
        problem = error.errors()[0]
        field_name = ".".join(map(str, problem["loc"]))
        message = f"{field_name} can't be {problem['input']!r}: {problem['msg']}"
        raise entry.error(message, span) from None
    except EvalkitError:
        raise
    except Exception as error:
        raise entry.error(f"'{entry.name}' made no run spec: {described(error)}", span) from error


# Fanning out


def _with_models(call: _Call, models: ModelNames, to_run: Sequence[str]) -> Iterator[tuple[_Step, ...]]:
    """The steps of a call, once for each model that the user asked for in place of a wildcard or of nothing.

    Raises:
        EntryError: No model is named anywhere.
    """
    asked = tuple(dict.fromkeys(to_run))
    position = next((i for i, step in enumerate(call.steps) if step.name == _MODEL), None)
    if position is not None:
        step = call.steps[position]
        if not asked or models.wildcard(step.value) is None:
            yield call.steps
            return
        for name in asked:
            yield (*call.steps[:position], replace(step, value=name), *call.steps[position + 1 :])
    elif any(step.name == _DEPLOYMENT for step in call.steps):
        yield call.steps
    elif asked:
        for name in asked:
            yield (*call.steps, _Step(_MODEL, EXPANDERS.get(_MODEL), name, True, call.entry.name_span))
    else:
        raise call.entry.error(
            "no model is named; add model=<name> to the entry, or give --models-to-run <name>"
        )


def _fan_out(call: _Call, steps: Sequence[_Step], models: ModelNames) -> list[RunSpec]:
    run_specs = [call.base]
    for step in steps:
        with _marking(call.entry, step.span):
            run_specs = [made for run_spec in run_specs for made in step.apply(run_spec, models)]
        if not run_specs:
            raise call.entry.error(f"'{step.name}' leaves nothing to run", step.span)
    return run_specs


# Filters and overrides


def _filtered(run_specs: list[RunSpec], options: ExpandOptions) -> tuple[list[RunSpec], str]:
    """The run specs the user wants; where there are none, the reason."""
    wanted_models, wanted_groups = set(options.models_to_run), set(options.groups_to_run)
    if wanted_models:
        found = dict.fromkeys(run_spec.adapter_spec.model for run_spec in run_specs)
        run_specs = [
            run_spec
            for run_spec in run_specs
            if {run_spec.adapter_spec.model, run_spec.adapter_spec.model_deployment} & wanted_models
        ]
        if not run_specs:
            return [], f"its model {', '.join(found)} is not among --models-to-run"
    if wanted_groups:
        found = dict.fromkeys(group for run_spec in run_specs for group in run_spec.groups)
        run_specs = [run_spec for run_spec in run_specs if wanted_groups.intersection(run_spec.groups)]
        if not run_specs:
            return [], f"its groups ({', '.join(found) or 'none'}) are not among --groups-to-run"
    return run_specs, ""


def _finished(run_spec: RunSpec, entry: ConfEntry, models: ModelNames, options: ExpandOptions) -> ExpandedRun:
    """The run spec as its model wants it, with the user's numbers and the entry's groups."""
    run_spec, fixups = fix_up(run_spec, models)
    run_spec = _with_numbers(run_spec, options)
    if entry.groups:
        run_spec = suffixed(run_spec, "groups", "-".join(sorted(entry.groups)), separator=",")
        run_spec = run_spec.model_copy(update={"groups": (*run_spec.groups, *entry.groups)})
    # The name must be fit for a directory.
    return ExpandedRun(entry, run_spec.named(run_spec.name.replace("/", "_")), fixups)


def _with_named_judges(run_spec: RunSpec) -> tuple[RunSpec, tuple[str, ...]]:
    """The run spec without the optional judges that nobody plays, and what to say of them."""
    kept = [spec for spec in run_spec.judge_specs if spec.deployments or not spec.is_optional]
    notes: tuple[str, ...] = ()
    if len(kept) < len(run_spec.judge_specs):
        benchmark = run_spec.name.partition(":")[0]
        notes = (f"{benchmark}: no judge is named, so its answers are not judged; add judge=<deployment>",)
    named = (spec.model_copy(update={"is_optional": False}) for spec in kept)
    return (run_spec.with_judges(*named) if run_spec.judge_specs else run_spec), notes


def _limited(
    run_specs: list[RunSpec], call: _Call, options: ExpandOptions
) -> tuple[list[RunSpec], tuple[str, ...]]:
    """The run specs with the user's most instances, where neither entry nor benchmark sets a number."""
    most = options.max_eval_instances
    if most is None:
        return run_specs, ()
    if call.number:
        # Without the benchmark's name, so that many entries have one note.
        return run_specs, (f"-m {most} has no effect where an entry says {call.number}",)
    limited = [
        run_spec.with_adapter(max_eval_instances=most)
        if run_spec.adapter_spec.max_eval_instances is None
        else run_spec
        for run_spec in run_specs
    ]
    return limited, ()


def _with_numbers(run_spec: RunSpec, options: ExpandOptions) -> RunSpec:
    """The run spec with the user's number of draws of examples."""
    adapter = run_spec.adapter_spec
    changes: dict[str, int] = {}
    if adapter.max_train_instances == 0:
        # Without examples to draw, every trial would ask the same.
        changes["num_train_trials"] = 1
    elif options.num_train_trials is not None:
        changes["num_train_trials"] = options.num_train_trials
    return run_spec.with_adapter(**changes) if changes else run_spec


def _nothing_left(skipped: Sequence[tuple[ConfEntry, str]]) -> str:
    if not skipped:
        return "no run entries were given"
    by_reason: dict[str, list[str]] = {}
    for entry, reason in skipped:
        by_reason.setdefault(reason, []).append(entry.description)
    lines = [
        f"  {entries[0]}{f' and {len(entries) - 1} more' if len(entries) > 1 else ''}: {reason}"
        for reason, entries in by_reason.items()
    ]
    more = [f"  … and {len(lines) - 5} more reasons"] if len(lines) > 5 else []
    return "\n".join(["nothing is left to run", *lines[:5], *more])
