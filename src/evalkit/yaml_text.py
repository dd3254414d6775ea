"""YAML of files that people and other programs wrote, with limits to what it can mean.

An alias (`*a`) costs two characters and may mean the whole rest of a file, so that nine lines fill a memory;
and the fast parser dies, with the process, of some ten thousand brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.bounded_reads import CONFIG_BYTES, limit_bytes, read_bytes
from evalkit.errors import ConfigError

if TYPE_CHECKING:
    import yaml

MAX_DEPTH = 100
# Values in a file, those behind an alias counted each time it is written.
MAX_VALUES = 500_000
MAX_FILE_BYTES = CONFIG_BYTES
# Of a whole number, however it is written: none of 64 bits has more, and no setting means one that has.
MAX_DIGITS = 66
_WHOLE_NUMBER = "tag:yaml.org,2002:int"
# The parser takes this many levels in any thread; a text that can't have more needs no look beforehand.
_HARMLESS_DEPTH = 2_000
_BLOCK_STARTS = re.compile(r"^[ \-?:]*", re.MULTILINE)


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """The text of a file that a user wrote.

    Raises:
        ConfigError: It can't be read, is not text, or is longer than any such file.
    """
    try:
        return read_bytes(path, limit_bytes(MAX_FILE_BYTES), may_be_pipe=True).decode(encoding)
    except FileNotFoundError:
        raise ConfigError(f"{path}: can't be read: no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: can't be read: {error}") from None


def compose(loader: type[yaml.SafeLoader], text: str) -> tuple[yaml.SafeLoader, yaml.Node | None]:
    """The tree of a text, and the loader that makes values of its nodes; the caller disposes of it.

    Aliases are in it, not what they mean: walk it with `check_values` before values are made.

    Raises:
        yaml.MarkedYAMLError: The text is not YAML, or is nested too deeply; says where.
        yaml.YAMLError: The text holds characters that YAML does not have.
    """
    import yaml

    brackets = text.count("[") + text.count("{")
    if brackets + max(len(start[0]) for start in _BLOCK_STARTS.finditer(text)) > _HARMLESS_DEPTH:
        _check_events(yaml.parse(text, Loader=loader))
    reader = loader(text)
    try:
        return reader, reader.get_single_node()
    except BaseException:
        reader.dispose()
        raise


def check_values(node: Any, depth: int = 1, num_before: int = 0) -> int:
    """Count the values at and below a node, those behind an alias each time it is written.

    Raises:
        yaml.MarkedYAMLError: They are more than `MAX_VALUES`, or in more than `MAX_DEPTH` levels.
    """
    num = num_before + 1
    check_place(node, depth, num)
    pairs = node.value if node.id == "mapping" else [(each,) for each in node.value if node.id == "sequence"]
    for pair in pairs:
        for each in pair:
            num = check_values(each, depth + 1, num)
    return num


def check_place(node: Any, depth: int, num_values: int) -> None:
    """Refuse a node that is nested too deeply, comes after too many values, or is a number without end.

    Raises:
        yaml.MarkedYAMLError: It is, or does.
    """
    import yaml

    problem = ""
    if depth > MAX_DEPTH:
        problem = "nested too deeply, or an alias (*) means what it is part of"
    elif num_values > MAX_VALUES:
        problem = f"more than {MAX_VALUES} values, with those behind aliases (*)"
    elif node.tag == _WHOLE_NUMBER and node.id == "scalar" and len(node.value) > MAX_DIGITS:
        problem = f"a whole number of more than {MAX_DIGITS} digits"
    if problem:
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _check_events(events: Iterable[Any]) -> None:
    import yaml

    depth = 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=_mark(event))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _mark(event: Any) -> Any:
    """Where an event stands; the two parsers have marks of two types."""
    return event.start_mark
