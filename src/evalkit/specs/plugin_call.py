"""A plugin and its arguments as one text, in the grammar of run entries: `jsonl:path=events.jsonl`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evalkit.errors import UnknownNameError, nearest_names
from evalkit.parameters import Parameter, ValueProblem, check_count, parameters_of, parse_value
from evalkit.registry import REGISTRIES
from evalkit.specs.entry import Arg, RunEntry, Span, parse_run_entry


@dataclass(frozen=True, slots=True)
class PluginCall:
    """A plugin that was found, and checked arguments for it.

    Attributes:
        name: The name under which it is registered.
        target: The plugin.
        args: Its arguments.
    """

    name: str
    target: Callable[..., Any]
    args: Mapping[str, Any]

    def make(self) -> Any:
        """What the plugin makes of the arguments.

        Raises:
            Exception: Whatever the plugin raises.
        """
        return self.target(**self.args)


def parse_plugin_call(kind: str, text: str) -> PluginCall:
    """Look up a plugin and check its arguments.

    Args:
        kind: Of plugin, as in `REGISTRIES`.
        text: `name`, or `name:key=value,…`.

    Raises:
        EntryError: There is no plugin of this name, or an argument is unknown, missing, or of the wrong type.
    """
    registry = REGISTRIES[kind]
    entry = parse_run_entry(text)
    check_form(entry, f"this names no {registry.kind}")
    try:
        target = registry.get(entry.name)
    except UnknownNameError as error:
        raise entry.error(str(error), entry.name_span) from None
    parameters = {p.name: p for p in parameters_of(target)}
    args = {}
    for arg in entry.args:
        if arg.key not in parameters:
            nearest = nearest_names(arg.key, parameters)
            hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
            problem = f"{registry.kind} '{entry.name}' has no parameter '{arg.key}'{hint}"
            raise entry.error(problem, arg.key_span)
        args[arg.key] = value_of(entry, arg, parameters[arg.key])
    if missing := [p.name for p in parameters.values() if p.required and p.name not in args]:
        raise entry.error(f"{registry.kind} '{entry.name}' needs {' and '.join(missing)}", entry.name_span)
    return PluginCall(entry.name, target, args)


def check_form(entry: RunEntry, no_name: str) -> None:
    """Refuse what HELM's grammar accepts and no user means.

    Args:
        entry: What was written.
        no_name: What to say where it has no name.

    Raises:
        EntryError: A name is missing, a key has blanks or comes twice.
    """
    if not entry.name:
        raise entry.error(f"{no_name}; write name:key=value,…")
    for arg in entry.args:
        if not arg.key:
            raise entry.error("this argument has no name; write key=value", arg.span)
        if any(char.isspace() for char in arg.key):
            raise entry.error(f"blanks in the key '{arg.key}'; write none around ',' and '='", arg.key_span)
    check_once(entry, [(arg.key, arg.key, arg.span) for arg in entry.args])


def check_once(entry: RunEntry, things: Iterable[tuple[object, str, Span]]) -> None:
    """Refuse a thing that comes twice, perhaps under two names.

    Raises:
        EntryError: One does.
    """
    first: dict[object, str] = {}
    for thing, name, span in things:
        if thing in first:
            same = "is given twice" if first[thing] == name else f"says the same as '{first[thing]}'"
            raise entry.error(f"'{name}' {same}; leave one out", span)
        first[thing] = name


def value_of(entry: RunEntry, arg: Arg, parameter: Parameter) -> Any:
    """The value of an argument, read by the annotation of its parameter.

    Raises:
        EntryError: It is not such a value.
    """
    try:
        value = parse_value(arg.raw, parameter.type)
        check_count(arg.key, value)
        return value
    except ValueProblem as problem:
        raise entry.error(f"{arg.key}: {problem}", arg.value_span) from None
