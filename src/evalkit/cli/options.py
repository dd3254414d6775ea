"""`RunOptions` as flags: the one schema gives `run` and `plan` their command-line options."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from evalkit.cli.output import echo_note
from evalkit.runs.options import RunOptions, read_options

# HELM's spellings and the short ones, besides the name of the option itself.
ALIASES: dict[str, tuple[str, ...]] = {
    "run_entries": ("-r",),
    "conf_paths": ("-c", "--conf-file"),
    "models_to_run": (),
    "max_eval_instances": ("-m",),
    "num_train_trials": ("-t",),
    "num_threads": ("-n",),
    "output_path": ("-o",),
    "dry_run": ("-d",),
    "plugins": ("--plugin",),
    "trackers": ("--tracker",),
}
SandboxOption = Annotated[
    str | None, typer.Option("--sandbox", help=RunOptions.model_fields["sandbox"].description)
]
# Flags that take several values after one mention, as HELM's do: `-r ENTRY ENTRY`.
MANY_VALUED = tuple(
    name for name, field in RunOptions.model_fields.items() if typing.get_origin(field.annotation) is tuple
)


def takes_run_options(command: Callable[..., Any], but: Collection[str] = ()) -> Callable[..., Any]:
    """Give a command the flags of `RunOptions` and `--config`; it is called with `options=RunOptions`.

    Args:
        command: The command.
        but: Options that change nothing in it: it has no such flags, and a note names those of a file.
    """
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "options"]
    config = inspect.Parameter(
        "config",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            Path | None, typer.Option("--config", help="YAML file with any of these options.")
        ],
    )
    flags = [_flag(name) for name in RunOptions.model_fields if name not in but]

    @functools.wraps(command)
    def wrapped(**given: Any) -> Any:
        rest = {p.name: given.pop(p.name) for p in own}
        path = given.pop("config")
        chosen = {name: value for name, value in given.items() if value not in (None, [], ())}
        options = read_options(path, chosen)
        if unused := [
            name for name in RunOptions.model_fields if name in options.model_fields_set & set(but)
        ]:
            echo_note(f"{path}: {inspect.unwrap(command).__name__.removesuffix('_command')} does not use "
                      f"{', '.join(unused)}")  # fmt: skip
        return command(options=options, **rest)

    wrapped.__signature__ = inspect.Signature([*flags, config, *own])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in [*flags, config, *own]}
    return wrapped


# The commands that take run options, and nothing else.
_WITHOUT_ARGUMENTS = ("run", "plan", "validate", "check-engines")
# Flags of several values of other commands without arguments.
_MANY_VALUED_OF: dict[tuple[str, ...], frozenset[str]] = {
    ("data", "build", "jaster"): frozenset({"--dataset"})
}


def spread_values(arguments: Sequence[str]) -> list[str]:
    """`-r A B` as `-r A -r B`, for the flags that take several values.

    Only where all values belong to flags: `score --plugin P PATH` gives one plugin and a path.
    """
    many = _MANY_VALUED_OF.get(tuple(arguments[:3]), frozenset[str]())
    if arguments and arguments[0] in _WITHOUT_ARGUMENTS:
        many = frozenset(f"--{name.replace('_', '-')}" for name in MANY_VALUED)
        many |= {alias for name in MANY_VALUED for alias in ALIASES.get(name, ())}
    if not many:
        return list(arguments)
    spread: list[str] = []
    flag = ""
    fresh = False
    for argument in arguments:
        if argument.startswith("-") and argument != "-":
            flag, fresh = (argument, True) if argument in many else ("", False)
            spread.append(argument)
        elif flag and not fresh:
            spread += [flag, argument]
        else:
            spread.append(argument)
            fresh = False
    return spread


def _flag(name: str) -> inspect.Parameter:
    field = RunOptions.model_fields[name]
    annotation: Any = field.annotation
    spelled = f"--{name.replace('_', '-')}"
    if typing.get_origin(annotation) is tuple:
        annotation = list[typing.get_args(annotation)[0]]  # type: ignore[misc]
        flags: tuple[str, ...] = (spelled, *ALIASES.get(name, ()))
    else:
        if isinstance(annotation, types.UnionType):
            annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
        flags = (spelled, *ALIASES.get(name, ()))
    default = "" if field.default in (None, (), False) else f" Default: {field.default}."
    option = typer.Option(*flags, help=f"{field.description}{default}", show_default=False)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[annotation | None, option],
    )
