"""The parameters of a plugin, read from its signature, and values for them, read from text.

A plugin is a function or a class. Its annotations are its contract: `bool`, `int`, `float`, `str`,
`Literal[...]`, `X | None`, `list[X]` / `tuple[X, ...]` (written `a|b|c` in a run entry).
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Union, get_args, get_origin

from evalkit.errors import UsageError, nearest_names
from evalkit.redaction import shown_name

REQUIRED: Any = inspect.Parameter.empty
MAX_SHOWN = 12
MAX_COUNT = 20_000_000
"""Of instances, train trials, samples, outputs: as many units as are scored at once."""
MAX_INTEGER = 2**63 - 1
_COUNTS = frozenset({"max_eval_instances", "max_train_instances"})
# Parameters of run specs by which an entry says how many items are evaluated.
_HOW_MANY = frozenset({"items", "question_end", "testmode"})
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a plugin.

    Attributes:
        type: The annotation as a value, such as `int` or `Literal["a", "b"]`.
        default: The default value; `REQUIRED` where there is none.
        doc: Its line in the docstring's `Args:` section.
    """

    name: str
    type: Any
    default: Any
    doc: str = ""

    @property
    def required(self) -> bool:
        """Whether a value must be given."""
        return self.default is REQUIRED

    @property
    def type_name(self) -> str:
        """The type as a person would write it."""
        return type_name(self.type)


class ValueProblem(UsageError):
    """A text is not a value of the wanted type; says what is."""


def parameters_of(target: Callable[..., Any], skip: Sequence[str] = ()) -> list[Parameter]:
    """The keyword parameters of a function or class, in order, leaving out `skip` and `self`."""
    return list(_parameters_of(target, tuple(skip)))


# A file of entries asks for those of a few functions some thousand times.
@lru_cache(maxsize=1024)
def _parameters_of(target: Callable[..., Any], skip: tuple[str, ...]) -> tuple[Parameter, ...]:
    function = target.__init__ if inspect.isclass(target) else target
    if function is object.__init__:
        return ()
    hints = typing.get_type_hints(function)
    docs = _argument_docs(target)
    found = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in ("self", *skip) or parameter.kind in (
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        ):
            continue
        hint = hints.get(parameter.name, str)
        found.append(Parameter(parameter.name, hint, parameter.default, docs.get(parameter.name, "")))
    return tuple(found)


def parse_value(text: str, wanted: Any) -> Any:
    """Read `text` as a value of the annotation `wanted`.

    Raises:
        ValueProblem: The text is not such a value; the message says which texts are.
    """
    origin, args = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return _parse_union(text, args)
    if origin is Literal:
        for value in args:
            if text == str(value):
                return value
        nearest = nearest_names(text, [str(a) for a in args])
        hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
        shown = ", ".join(str(a) for a in args[:MAX_SHOWN])
        more = f", … ({len(args)} in all)" if len(args) > MAX_SHOWN else ""
        raise ValueProblem(f"'{text}' is not one of {shown}{more}{hint}")
    if origin in (list, tuple):
        item = args[0] if args else str
        values = [parse_value(part, item) for part in text.split("|")] if text else []
        return tuple(values) if origin is tuple else values
    return _parse_scalar(text, wanted)


def check_count(name: str, value: Any) -> None:
    """Refuse a number of things (`num_test`, `max_eval_instances`) that no machine makes.

    Raises:
        ValueProblem: It is one, and too large; says the range.
    """
    is_count = name.startswith("num_") or name in _COUNTS
    if is_count and type(value) is int and value > MAX_COUNT:
        raise ValueProblem(f"{value} is too large: at most {MAX_COUNT:,}")


def says_how_many(name: str, value: Any) -> bool:
    """Whether an argument of a run spec says how many items are evaluated, as `items=20` does."""
    return name in _HOW_MANY and (value == "all" or (isinstance(value, int) and value is not False))


def check_value(value: Any, wanted: Any) -> Any:
    """Check (and convert, where nothing is lost) a Python value against an annotation.

    Raises:
        ValueProblem: The value does not fit.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(wanted).validate_python(value)
    except ValidationError as error:
        raise ValueProblem(f"{value!r} is not {type_name(wanted)}: {error.errors()[0]['msg']}") from None


def bind_arguments(
    kind: str, name: str, target: Callable[..., Any], args: Mapping[str, Any], skip: Sequence[str] = ()
) -> dict[str, Any]:
    """The arguments checked against the signature of plugin `name`.

    Raises:
        UsageError: An argument is unknown, missing or of the wrong type.
    """
    known = {p.name: p for p in parameters_of(target, skip)}
    for given in args:
        if given not in known:
            nearest = nearest_names(given, known)
            hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
            # A key may stand in the place of the name of a client's argument, too.
            shown = shown_name(given) if kind == "client" else given
            raise UsageError(f"{kind} '{name}' has no parameter '{shown}'{hint}")
    missing = [p.name for p in known.values() if p.required and p.name not in args]
    if missing:
        raise UsageError(f"{kind} '{name}' needs {', '.join(missing)}")
    checked = {}
    for key, value in args.items():
        try:
            checked[key] = check_value(value, known[key].type)
            check_count(key, checked[key])
        except ValueProblem as problem:
            # A client's argument may hold a key, put there by mistake: it is never shown.
            message = f"'{key}' is not {known[key].type_name}" if kind == "client" else problem
            raise UsageError(f"{kind} '{name}': {message}") from None
    return checked


def type_name(wanted: Any) -> str:
    """An annotation as a person would write it: `int`, `a | b`, `list of int`."""
    origin, args = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return " | ".join(type_name(a) for a in args)
    if origin is Literal:
        return " | ".join(repr(a) for a in args)
    if origin in (list, tuple):
        return f"list of {type_name(args[0]) if args else 'str'}"
    if wanted is type(None):
        return "None"
    return getattr(wanted, "__name__", str(wanted))


def summary_of(target: Callable[..., Any]) -> str:
    """The first line of a plugin's docstring."""
    doc = inspect.getdoc(target) or ""
    return doc.strip().split("\n", 1)[0]


def _parse_union(text: str, args: Sequence[Any]) -> Any:
    if type(None) in args and text in ("", "none", "None", "null"):
        return None
    problems = []
    for option in args:
        if option is type(None):
            continue
        try:
            return parse_value(text, option)
        except ValueProblem as problem:
            problems.append(str(problem))
    raise ValueProblem("; ".join(problems))


def _parse_scalar(text: str, wanted: Any) -> Any:
    if wanted is bool:
        if text.casefold() in _TRUE:
            return True
        if text.casefold() in _FALSE:
            return False
        raise ValueProblem(f"'{text}' is not a bool; write true or false")
    if wanted is int or wanted is float:
        try:
            number = wanted(text)
        except ValueError:
            article = "an int" if wanted is int else "a float"
            raise ValueProblem(f"'{text}' is not {article}") from None
        if wanted is int and abs(number) > MAX_INTEGER:
            raise ValueProblem(f"{text} is not between -{MAX_INTEGER} and {MAX_INTEGER}")
        return number
    return text


def _argument_docs(target: Callable[..., Any]) -> dict[str, str]:
    """The `Args:` section of a Google-style docstring, name to text on one line."""
    doc = inspect.getdoc(target) or ""
    if inspect.isclass(target):
        doc += "\n" + (inspect.getdoc(target.__init__) or "")
    docs: dict[str, str] = {}
    for section in re.findall(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", doc, flags=re.MULTILINE):
        current = ""
        for line in section.splitlines():
            if start := re.match(r"^ {4}(\w+)(?: \([^)]*\))?: (.*)$", line):
                current = start[1]
                docs[current] = start[2].strip()
            elif current and line.strip():
                docs[current] += " " + line.strip()
    return docs
