"""One registry per kind of plugin, all of them alike.

A plugin is registered by a decorator (`@scenario("name")`) that returns it unchanged. Nothing is imported to
know the built-in names: they come from the generated catalogue (`catalog.json`), and a name's module is
imported when the name is first used. Two plugins of one name are an error that names both places.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from evalkit.errors import PluginError, UnknownNameError

# Module names of plugins loaded from files start so.
PLUGIN_FILE_PREFIX = "evalkit_plugin_"

T = TypeVar("T", bound=Callable[..., Any])

# What an adapter gives to be scored, and what a metric can score: one generated answer per question; one that
# names one of several lettered options; the log-probabilities of each reference, in requests of their own;
# one generated answer per reference; the log-probabilities of the question's text; a vector.
Output = Literal[
    "generated_text",
    "option_letter",
    "reference_logprobs",
    "reference_answers",
    "prompt_logprobs",
    "embedding",
]


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """What is known of a metric besides its code.

    Attributes:
        full_marks: What a function gives a perfect prediction; None: it depends on the text.
        needs: Modules of the extra `metrics` that it imports when it scores.
    """

    full_marks: float | None = 1.0
    needs: tuple[str, ...] = ()


_NO_FACTS = MetricFacts()


@dataclass(slots=True)
class Registry:
    """The plugins of one kind.

    Attributes:
        kind: What they are, in words, for messages.
        builtin: Module of each built-in name, filled from the catalogue; imported on first use.
        broken: Plugin sources that failed to load, with the reason, for "unknown name" messages.
        facts: What a plugin was registered with, besides itself.
    """

    kind: str
    targets: dict[str, Callable[..., Any]] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    builtin: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    facts: dict[str, MetricFacts] = field(default_factory=dict)

    def register(self, name: str, target: Callable[..., Any], facts: MetricFacts = _NO_FACTS) -> None:
        """Add a plugin; what was known of an earlier one of the same name and place is forgotten.

        Raises:
            PluginError: The name is malformed, or taken by a plugin defined elsewhere.
        """
        if not re.fullmatch(r"[A-Za-z0-9_][\w.\-/]*", name):
            raise PluginError(
                f"'{name}' can't be the name of a {self.kind}: letters, digits and _ - . / only"
            )
        origin = origin_of(target)
        taken = self.origins.get(name) or self.builtin.get(name)
        if taken is not None and not _same_place(taken, origin, target):
            raise PluginError(
                f"two plugins register the {self.kind} '{name}': {taken} and {origin}; rename one"
            )
        self.targets[name] = target
        self.origins[name] = origin
        self.facts[name] = facts

    def get(self, name: str) -> Callable[..., Any]:
        """The plugin of this name, its module imported if need be.

        Raises:
            UnknownNameError: No plugin has this name.
        """
        if name not in self.targets and name in self.builtin:
            importlib.import_module(self.builtin[name])
        if name not in self.targets:
            hints = [f"(plugin {source} did not load: {why})" for source, why in self.broken.items()]
            raise UnknownNameError(self.kind, name, self.names(), " ".join(hints))
        return self.targets[name]

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted({*self.targets, *self.builtin})

    def __contains__(self, name: object) -> bool:
        return name in self.targets or name in self.builtin

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())


RUN_SPECS = Registry("run spec")
SCENARIOS = Registry("scenario")
ADAPTERS = Registry("adapter")
METRICS = Registry("metric")
JUDGES = Registry("judge")
CLIENTS = Registry("client")
EXPANDERS = Registry("run expander")
PERTURBATIONS = Registry("perturbation")
TOKENIZERS = Registry("tokenizer")
TRACKERS = Registry("tracker")
ROUTERS = Registry("router")
LEADERBOARDS = Registry("leaderboard")

REGISTRIES: dict[str, Registry] = {
    "run_spec": RUN_SPECS,
    "scenario": SCENARIOS,
    "adapter": ADAPTERS,
    "metric": METRICS,
    "judge": JUDGES,
    "client": CLIENTS,
    "expander": EXPANDERS,
    "perturbation": PERTURBATIONS,
    "tokenizer": TOKENIZERS,
    "tracker": TRACKERS,
    "router": ROUTERS,
    "leaderboard": LEADERBOARDS,
}


def _decorator(registry: Registry, name: str) -> Callable[[T], T]:
    def register(target: T) -> T:
        registry.register(name, target)
        return target

    return register


def run_spec_function(name: str) -> Callable[[T], T]:
    """Register a function that returns a `RunSpec`; its parameters are what a run entry may set.

    Raises:
        PluginError: A parameter has the name of a run expander: an entry could not tell them apart.
    """

    def register(target: T) -> T:
        for parameter in inspect.signature(target).parameters:
            if parameter in EXPANDERS:
                raise _ambiguous(parameter, name, origin_of(target))
        RUN_SPECS.register(name, target)
        return target

    return register


def scenario(name: str) -> Callable[[T], T]:
    """Register a `Scenario` class."""
    return _decorator(SCENARIOS, name)


def adapter(name: str) -> Callable[[T], T]:
    """Register an `Adapter` class under its method name."""
    return _decorator(ADAPTERS, name)


def metric(name: str, *, full_marks: float | None = 1.0, needs: tuple[str, ...] = ()) -> Callable[[T], T]:
    """Register a metric: a function `(gold, prediction) -> float`, or a `Metric` class.

    Args:
        name: The name that run specs use.
        full_marks: What a function gives a perfect prediction; `evalkit validate` checks it. None: that
            depends on the text.
        needs: Modules of the extra `metrics` that it imports; `plan` refuses a missing one.

    Raises:
        PluginError: It is a class, and a method of it takes other arguments than evalkit gives it.
    """

    def register(target: T) -> T:
        _check_methods("metric", name, target, _METRIC_METHODS)
        METRICS.register(name, target, MetricFacts(full_marks, needs))
        return target

    return register


def metric_facts(name: str) -> MetricFacts:
    """What the metric of this name was registered with; its module is imported if need be.

    Raises:
        UnknownNameError: No metric has this name.
    """
    METRICS.get(name)
    return METRICS.facts[name]


def judge(name: str) -> Callable[[T], T]:
    """Register a `Judge` class.

    Raises:
        PluginError: A method of it takes other arguments than evalkit gives it.
    """

    def register(target: T) -> T:
        _check_methods("judge", name, target, _JUDGE_METHODS)
        JUDGES.register(name, target)
        return target

    return register


def client(name: str) -> Callable[[T], T]:
    """Register a `Client` class; its parameters are what a deployment may set."""
    return _decorator(CLIENTS, name)


def run_expander(name: str) -> Callable[[T], T]:
    """Register a function `(run_spec, value) -> run specs` that a run entry calls as `name=value`.

    Raises:
        PluginError: A registered run-spec function has a parameter of this name.
    """

    def register(target: T) -> T:
        for run_spec, function in RUN_SPECS.targets.items():
            if name in inspect.signature(function).parameters:
                raise _ambiguous(name, run_spec, origin_of(target))
        EXPANDERS.register(name, target)
        return target

    return register


def perturbation(name: str) -> Callable[[T], T]:
    """Register a `Perturbation` class; its parameters are what a perturbation spec may set."""
    return _decorator(PERTURBATIONS, name)


def tokenizer(name: str) -> Callable[[T], T]:
    """Register a `Tokenizer` class, or a function that makes one.

    With a required parameter it is a source of tokenizers: under the name `mine`, it is given what stands
    after the first part of `mine/of/this`.
    """
    return _decorator(TOKENIZERS, name)


def tracker(name: str) -> Callable[[T], T]:
    """Register a `Tracker` class; its parameters are what `--tracker name:key=value` may set."""
    return _decorator(TRACKERS, name)


def router(name: str) -> Callable[[T], T]:
    """Register a `Router` class; its parameters but `members` are what a routed deployment may set."""
    return _decorator(ROUTERS, name)


def leaderboard(name: str) -> Callable[[T], T]:
    """Register a function without parameters that returns a `LeaderboardTree`, for `evalkit leaderboard`."""
    return _decorator(LEADERBOARDS, name)


# What evalkit calls methods of plugins with, all by position.
_JUDGE_METHODS: Mapping[str, tuple[str, ...]] = {
    "files": (),
    "load": ("data",),
    "questions": ("unit",),
    "verdict": ("unit", "reply"),
    "combine": ("verdicts",),
    "run_level_row": ("instance", "scores"),
    "run_level_scores": ("rows",),
}
_METRIC_METHODS: Mapping[str, tuple[str, ...]] = {
    "check": ("instance",),
    "score": ("unit",),
    "detail": ("unit",),
    "run_level_row": ("unit",),
    "run_level_scores": ("rows",),
}


def _check_methods(
    kind: str, name: str, target: Callable[..., Any], methods: Mapping[str, tuple[str, ...]]
) -> None:
    """Nothing, if the methods of a class can be called as evalkit calls them.

    Raises:
        PluginError: One takes other arguments.
    """
    for method, given in methods.items() if isinstance(target, type) else ():
        function = inspect.getattr_static(target, method, None)
        if not inspect.isfunction(function):
            continue
        try:
            inspect.signature(function).bind("self", *given)
        except TypeError:
            has = ", ".join(inspect.signature(function).parameters)
            wants = ", ".join(("self", *given))
            raise PluginError(
                f"{kind} '{name}' ({origin_of(target)}): evalkit calls {method}({wants}), and it is "
                f"defined as {method}({has})"
            ) from None


def _ambiguous(parameter: str, run_spec: str, origin: str) -> PluginError:
    return PluginError(
        f"'{parameter}' is a run expander and a parameter of the run spec '{run_spec}' ({origin}); rename one"
    )


@contextmanager
def isolated_registries() -> Iterator[None]:
    """Undo on leaving what plugins registered inside; for tests. evalkit's own modules stay registered."""
    saved = {kind: replace(registry) for kind, registry in REGISTRIES.items()}
    modules = set(sys.modules)
    for registry in REGISTRIES.values():
        registry.targets, registry.origins = dict(registry.targets), dict(registry.origins)
        registry.broken, registry.facts = dict(registry.broken), dict(registry.facts)
    try:
        yield
    finally:
        for kind, registry in REGISTRIES.items():
            own = {n: t for n, t in registry.targets.items() if t.__module__.startswith("evalkit.")}
            registry.origins = {**saved[kind].origins, **{n: registry.origins[n] for n in own}}
            registry.targets = {**saved[kind].targets, **own}
            registry.facts = {**saved[kind].facts, **{n: registry.facts[n] for n in own}}
            registry.broken = saved[kind].broken
        # A plugin file counts as loaded while its module is there.
        for name in set(sys.modules) - modules:
            if name.startswith(PLUGIN_FILE_PREFIX):
                del sys.modules[name]


def origin_of(target: Callable[..., Any]) -> str:
    """Where a plugin is defined: `package.module:line` for packages, `path.py:line` for files."""
    name = target.__module__
    try:
        line = _line_of(target)
        if name.startswith(PLUGIN_FILE_PREFIX) or name == "__main__":
            name = inspect.getsourcefile(target) or name
    except (OSError, TypeError):
        return f"{name}:{target.__qualname__}"
    return f"{name}:{line}"


def _line_of(target: Callable[..., Any]) -> int:
    """The line where a function or class begins, decorators included.

    What `inspect.getsourcelines` gives, which also looks for the end and takes milliseconds.

    Raises:
        OSError: There is no source.
        TypeError: It is neither a function nor a class of Python.
    """
    if inspect.getsourcefile(target) is None:
        raise OSError("there is no source")
    code = getattr(inspect.unwrap(target), "__code__", None)
    return code.co_firstlineno if code is not None else inspect.findsource(target)[1] + 1


def _same_place(taken: str, origin: str, target: Callable[..., Any]) -> bool:
    """A module that is imported again (a notebook, a reload) may register its names again."""
    return taken.split(":")[0] in (origin.split(":")[0], target.__module__)
