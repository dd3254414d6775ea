"""Files of run entries: HELM's `.conf` files, and the same list as YAML.

    entries: [
      {description: "mmlu:subject=anatomy,model=text", priority: 2, groups: ["medicine"]}  # a comment
    ]

Next to the entries a file may describe the models that they name, under the keys of a deployment file.

Of HOCON, the format of `.conf` files, exactly what such lists need is read; the rest (substitutions,
includes, concatenation, merging) is refused with the place named, never half understood.
"""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from evalkit.errors import ConfigError, nearest_names
from evalkit.redaction import shown_name
from evalkit.yaml_text import compose, read_text

if TYPE_CHECKING:
    import yaml

Keys = tuple[str | int, ...]
_MAX_DEPTH = 20
_KEYS = ("description", "priority", "groups", "args")
MODEL_SECTIONS = ("models", "model_deployments", "routed_deployments")
"""Keys of a deployment file that a conf file may have too."""
_REFUSED = {
    "include": "other files are not included; name every file on the command line",
    "${": "substitutions (${...}) are not read; write the value itself",
    "+=": "'+=' is not read; write the whole list",
    '"""': 'text in """ is not read; write it on one line in double quotes',
}
_TOKEN = re.compile(
    r"""[ \t\r]+ | (?:\#|//)[^\n]*
    | (?P<refused>\$\{ | \+= | \"{3} | include(?=[ \t]*["(]|[ \t]+(?:file|url|classpath|required)\b))
    | (?P<string>"(?:[^"\\\n]|\\.)*")
    | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    | (?P<word>[A-Za-z_][\w.\-]*)
    | (?P<mark>[{}\[\]:=,\n])""",
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class ConfEntry:
    """A run entry with what a conf file says about it.

    Attributes:
        description: The run entry.
        priority: 1 (most important) to 5; None stays whatever priority is asked for.
        groups: Run groups added to those of the run spec.
        source: File and line; None for an entry from the command line.
        args: More arguments, whose texts may hold commas and line breaks.
    """

    description: str
    priority: int | None = None
    groups: tuple[str, ...] = ()
    source: str | None = None
    args: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ConfFile:
    """All that a conf file says.

    Attributes:
        source: Its name, for messages.
        entries: The run entries, in order.
        models: What it says of models and deployments, not checked yet.
        lines: The line of each key and list item of `models`, by its path.
    """

    source: str
    entries: tuple[ConfEntry, ...]
    models: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[Keys, int] = field(default_factory=dict)


def read_conf(path: Path) -> list[ConfEntry]:
    """The run entries of a file, in order; `.yaml` and `.yml` are read as YAML, all else as HOCON.

    Raises:
        ConfigError: The file can't be read or is wrong; the message starts with `file:line:column`.
    """
    return list(read_conf_file(path).entries)


def read_conf_file(path: Path) -> ConfFile:
    """All that a conf file says, read once (it may be a pipe).

    Raises:
        ConfigError: As `read_conf`.
    """
    text = read_text(path, "utf-8-sig")
    return _conf_file(text, str(path), is_yaml=path.suffix.casefold() in (".yaml", ".yml"))


def parse_conf(text: str, source: str, *, is_yaml: bool = False) -> list[ConfEntry]:
    """The run entries in the text of a conf file; `source` is its name for messages.

    Raises:
        ConfigError: The text is wrong; the message starts with `source:line:column`.
    """
    return list(_conf_file(text, source, is_yaml=is_yaml).entries)


def _conf_file(text: str, source: str, *, is_yaml: bool) -> ConfFile:
    page = _Page(text, source)
    root = _read_yaml(page) if is_yaml else _Hocon(page).root()
    fields = _fields(root, page, ("entries", *MODEL_SECTIONS))
    lines: dict[Keys, int] = {}
    models = {name: _plain(fields[name], (name,), lines, page) for name in MODEL_SECTIONS if name in fields}
    return ConfFile(source, tuple(_entries(fields, root, page)), models, lines)


@dataclass(frozen=True, slots=True)
class _Member:
    key: str
    offset: int
    node: _Node


@dataclass(frozen=True, slots=True)
class _Node:
    """A value and where it starts: a list of members for an object, a list of nodes for an array."""

    value: Any
    offset: int

    @property
    def is_object(self) -> bool:
        return isinstance(self.value, tuple)


class _Page:
    """The text of a file, for which offsets become `file:line:column`."""

    def __init__(self, text: str, source: str) -> None:
        self.text, self.source = text, source
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def line(self, offset: int) -> int:
        """The line of an offset, from 1."""
        return bisect.bisect_right(self._line_starts, offset)

    def fail(self, message: str, offset: int) -> NoReturn:
        """Raise a ConfigError that names the place."""
        line = self.line(offset)
        column = offset - self._line_starts[line - 1] + 1
        raise ConfigError(f"{self.source}:{line}:{column}: {message}")


# What the entries must look like, whichever way they are written.


def _entries(fields: Mapping[str, _Node], root: _Node, page: _Page) -> list[ConfEntry]:
    if "entries" not in fields:
        page.fail("there is no 'entries: [...]'", root.offset)
    listed = fields["entries"]
    if not isinstance(listed.value, list):
        page.fail("'entries' must be a list in [ ]", listed.offset)
    if not listed.value:
        page.fail("'entries' is empty", listed.offset)
    return [_entry(node, page) for node in listed.value]


def _entry(node: _Node, page: _Page) -> ConfEntry:
    fields = _fields(node, page, _KEYS)
    if "description" not in fields:
        page.fail("this entry has no 'description'", node.offset)
    priority = fields.get("priority")
    if priority is not None and type(priority.value) not in (int, type(None)):
        page.fail(f"'priority' must be a whole number, not {priority.value!r}", priority.offset)
    groups: tuple[str, ...] = ()
    if (given := fields.get("groups")) is not None and given.value is not None:
        if not isinstance(given.value, list):
            page.fail("'groups' must be a list of texts in [ ]", given.offset)
        groups = tuple(_text("each of 'groups'", group, page) for group in given.value)
    return ConfEntry(
        description=_text("'description'", fields["description"], page),
        priority=None if priority is None else priority.value,
        groups=groups,
        source=f"{page.source}:{page.line(node.offset)}",
        args=_args(fields["args"], page) if "args" in fields else (),
    )


def _args(node: _Node, page: _Page) -> tuple[tuple[str, str], ...]:
    """The arguments under `args`, as a run entry would write them."""
    if not node.is_object:
        page.fail("'args' must be an object with names and values", node.offset)
    args = []
    for name, value in _fields(node, page, [member.key for member in node.value]).items():
        if isinstance(value.value, tuple | list | None):
            page.fail(f"'{shown_name(name)}' must be a text, a number, true or false", value.offset)
        args.append((name, value.value if isinstance(value.value, str) else str(value.value).lower()))
    return tuple(args)


def _plain(
    node: _Node, at: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int], page: _Page
) -> Any:
    """A value as plain data; notes the line of everything in it."""
    lines[at] = page.line(node.offset)
    if node.is_object:
        fields = _fields(node, page, [member.key for member in node.value])
        plain = {key: _plain(value, (*at, key), lines, page) for key, value in fields.items()}
        for member in node.value:
            lines[*at, member.key] = page.line(member.offset)
        return plain
    if isinstance(node.value, list):
        return [_plain(item, (*at, index), lines, page) for index, item in enumerate(node.value)]
    return node.value


def _fields(node: _Node, page: _Page, known: Collection[str]) -> dict[str, _Node]:
    """The members of an object by key, all of them known and given once."""
    if not node.is_object:
        page.fail(f"expected an object with {', '.join(known)}", node.offset)
    fields: dict[str, _Node] = {}
    for member in node.value:
        if member.key not in known:
            nearest = nearest_names(member.key, known)
            right = f"did you mean '{nearest[0]}'?" if nearest else f"known: {', '.join(known)}"
            page.fail(f"unknown key '{shown_name(member.key)}'; {right}", member.offset)
        if member.key in fields:
            page.fail(f"'{shown_name(member.key)}' is given twice", member.offset)
        fields[member.key] = member.node
    return fields


def _text(what: str, node: _Node, page: _Page) -> str:
    if not isinstance(node.value, str):
        page.fail(f"{what} must be text", node.offset)
    return node.value


# HOCON


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    offset: int

    def __str__(self) -> str:
        if self.kind == "end":
            return "the end of the file"
        return "the end of the line" if self.text == "\n" else f"'{self.text}'"


class _Hocon:
    """A recursive-descent reader that always holds one token ahead."""

    def __init__(self, page: _Page) -> None:
        self.page = page
        self._tokens = self._tokenize()
        self._ahead = next(self._tokens)

    def root(self) -> _Node:
        """The whole file: an object, with or without its braces."""
        self._skip_lines()
        start = self._ahead.offset
        if self._ahead.text == "{":
            root = self._value(0)
            self._skip_lines()
        else:
            root = _Node(self._members("", 0), start)
        if self._ahead.kind != "end":
            self.page.fail(f"expected the end of the file, found {self._ahead}", self._ahead.offset)
        return root

    def _value(self, depth: int) -> _Node:
        token = self._next()
        if depth > _MAX_DEPTH:
            self.page.fail("nested too deeply", token.offset)
        if token.text == "{":
            node = _Node(self._members("}", depth + 1), token.offset)
            self._next()
            return node
        if token.text == "[":
            node = _Node(self._items(depth + 1), token.offset)
            self._next()
            return node
        return _Node(self._scalar(token), token.offset)

    def _members(self, closing: str, depth: int) -> tuple[_Member, ...]:
        members = []
        while not self._at_end_of_list(closing):
            key = self._next()
            if key.kind not in ("string", "word"):
                self.page.fail(f"expected a key, found {key}", key.offset)
            name = self._scalar(key) if key.kind == "string" else key.text
            # HOCON: `key { ... }` may leave the colon out.
            if self._ahead.text != "{":
                mark = self._next()
                if mark.text not in (":", "="):
                    self.page.fail(f"expected ':' after '{name}', found {mark}", mark.offset)
            self._skip_lines()
            members.append(_Member(name, key.offset, self._value(depth)))
            self._separator(closing)
        return tuple(members)

    def _items(self, depth: int) -> list[_Node]:
        items = []
        while not self._at_end_of_list("]"):
            items.append(self._value(depth))
            self._separator("]")
        return items

    def _scalar(self, token: _Token) -> Any:
        if token.kind == "string":
            try:
                return json.loads(token.text) if "\\" in token.text else token.text[1:-1]
            except ValueError:
                self.page.fail("this text has a wrong escape (\\)", token.offset)
        if token.kind == "number":
            try:
                return int(token.text) if token.text.lstrip("-").isdigit() else float(token.text)
            except ValueError:
                self.page.fail("this number has too many digits", token.offset)
        if token.kind == "word" and token.text in _WORDS:
            return _WORDS[token.text]
        if token.kind == "word":
            self.page.fail(f"text must stand in double quotes: {token}", token.offset)
        self.page.fail(f"expected a value, found {token}", token.offset)

    def _at_end_of_list(self, closing: str) -> bool:
        """Whether the list's end is next; blank lines are passed over."""
        self._skip_lines()
        if self._ahead.kind == "end" and closing:
            self.page.fail(f"expected '{closing}', found the end of the file", self._ahead.offset)
        return self._ahead.kind == "end" if not closing else self._ahead.text == closing

    def _separator(self, closing: str) -> None:
        """Pass the comma, line end or both after an element."""
        had_line_end = self._skip_lines()
        if self._ahead.text == ",":
            self._next()
        elif not (had_line_end or self._ahead.kind == "end" or self._ahead.text == closing):
            self.page.fail(f"expected a comma or a new line, found {self._ahead}", self._ahead.offset)

    def _skip_lines(self) -> bool:
        skipped = False
        while self._ahead.text == "\n":
            self._next()
            skipped = True
        return skipped

    def _next(self) -> _Token:
        token = self._ahead
        if token.kind != "end":
            self._ahead = next(self._tokens)
        return token

    def _tokenize(self) -> Iterator[_Token]:
        text, offset = self.page.text, 0
        while offset < len(text):
            match = _TOKEN.match(text, offset)
            if match is None:
                what = "this text has no closing quote" if text[offset] == '"' else "unexpected character"
                self.page.fail(f"{what}: {text[offset : offset + 20].splitlines()[0]!r}", offset)
            if match.lastgroup == "refused":
                self.page.fail(_REFUSED[match[0]], offset)
            if match.lastgroup is not None:
                yield _Token(match.lastgroup, match[0], offset)
            offset = match.end()
        yield _Token("end", "", len(text))


# YAML


def _read_yaml(page: _Page) -> _Node:
    import yaml

    try:
        loader, root = compose(yaml.SafeLoader, page.text)
        if root is None:
            page.fail("the file is empty", 0)
        return _yaml_node(loader, root, page, set())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        page.fail(error.problem or "this is not YAML", mark.index if mark else 0)
    except (yaml.YAMLError, ValueError) as error:
        page.fail(f"this is not YAML: {error}", 0)
    except RecursionError:
        page.fail("nested too deeply", 0)


def _yaml_node(loader: yaml.SafeLoader, node: yaml.Node, page: _Page, seen: set[int]) -> _Node:
    import yaml

    offset = node.start_mark.index
    if id(node) in seen:
        page.fail("anchors and aliases (& and *) are not read", offset)
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        members = []
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                page.fail("a key must be text", key.start_mark.index)
            members.append(_Member(key.value, key.start_mark.index, _yaml_node(loader, item, page, seen)))
        return _Node(tuple(members), offset)
    if isinstance(node, yaml.SequenceNode):
        return _Node([_yaml_node(loader, item, page, seen) for item in node.value], offset)
    return _Node(loader.construct_object(node), offset)
