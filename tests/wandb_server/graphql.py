"""Reads and executes GraphQL documents, as far as the W&B SDK uses the language.

A document is executed, whatever its operation is called: the SDK writes a field in several ways. What the
schema does not have is an error, so that a test never passes because of an answer that was left empty.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(
    r"""[\s,]+|\#[^\n]*
    |(?P<text>"(?:[^"\\\n]|\\.)*")
    |(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<mark>\.\.\.|[{}()\[\]:=!$@|&])""",
    re.VERBOSE,
)
_CONSTANTS: Mapping[str, Any] = {"true": True, "false": False, "null": None}


class NotImplementedHere(Exception):
    """A query asks for what this server does not implement."""


class Refused(Exception):
    """A query asks for what the server must not do; the message is the answer."""


@dataclass(frozen=True)
class Variable:
    """A `$name` in a document."""

    name: str


@dataclass(frozen=True)
class Directive:
    """An `@include` or `@skip`."""

    name: str
    condition: Any


@dataclass(frozen=True)
class Field:
    """A field with what it asks for; a fragment has a type instead of a name.

    Attributes:
        kind: "field", "fragment" (a named one) or "inline".
        name: Of the field or fragment, or the type of an inline fragment.
    """

    kind: str
    name: str
    alias: str
    arguments: Mapping[str, Any]
    directives: Sequence[Directive]
    fields: Sequence[Field]


@dataclass(frozen=True)
class Document:
    """One operation and the fragments that it uses.

    Attributes:
        kind: "query" or "mutation".
        defaults: Of the variables.
        fragments: Type and fields by name.
    """

    kind: str
    name: str
    defaults: Mapping[str, Any]
    fields: Sequence[Field]
    fragments: Mapping[str, tuple[str, Sequence[Field]]]


class Plain:
    """An object of the schema whose fields are these."""

    def __init__(self, typename: str, /, **fields: Any) -> None:
        self.typename = typename
        self.__dict__.update(fields)


def parse(text: str) -> Document:
    """A document with one operation.

    Raises:
        NotImplementedHere: It is not GraphQL, or more than this reads.
    """
    return _Parser(text).document()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise NotImplementedHere(f"can't read {text[at : at + 40]!r}")
            at = match.end()
            if match.lastgroup:
                self._tokens.append(match[0])
        self._at = 0

    def document(self) -> Document:
        operations: list[tuple[str, str, dict[str, Any], list[Field]]] = []
        fragments = {}
        while self._at < len(self._tokens):
            if self._take("fragment"):
                name = self._next()
                self._expect("on")
                fragments[name] = (self._next(), self._fields())
                continue
            kind = self._next() if self._peek() != "{" else "query"
            if kind not in ("query", "mutation"):
                raise NotImplementedHere(f"operation {kind!r}")
            name = self._next() if self._peek() not in ("{", "(") else ""
            operations.append((kind, name, self._variables(), self._fields()))
        if len(operations) != 1:
            raise NotImplementedHere(f"{len(operations)} operations in one document")
        return Document(*operations[0], fragments)

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise NotImplementedHere("the document ends too early")
        self._at += 1
        return token

    def _take(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._at += 1
        return True

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise NotImplementedHere(f"{self._peek()!r} where {token!r} belongs")

    def _variables(self) -> dict[str, Any]:
        defaults: dict[str, Any] = {}
        if not self._take("("):
            return defaults
        while not self._take(")"):
            self._expect("$")
            name = self._next()
            self._expect(":")
            while self._peek() not in ("=", "$", ")"):
                self._next()
            if self._take("="):
                defaults[name] = self._value()
        return defaults

    def _value(self) -> Any:
        token = self._next()
        if token == "$":
            return Variable(self._next())
        if token == "[":
            items = []
            while not self._take("]"):
                items.append(self._value())
            return items
        if token == "{":
            plain = {}
            while not self._take("}"):
                name = self._next()
                self._expect(":")
                plain[name] = self._value()
            return plain
        if token in _CONSTANTS:
            return _CONSTANTS[token]
        if token[0] == '"' or token[0] in "-0123456789":
            return json.loads(token)
        return token  # of an enumeration

    def _arguments(self) -> dict[str, Any]:
        arguments = {}
        if self._take("("):
            while not self._take(")"):
                name = self._next()
                self._expect(":")
                arguments[name] = self._value()
        return arguments

    def _directives(self) -> list[Directive]:
        directives = []
        while self._take("@"):
            name = self._next()
            if name not in ("include", "skip"):
                raise NotImplementedHere(f"directive @{name}")
            directives.append(Directive(name, self._arguments()["if"]))
        return directives

    def _fields(self) -> list[Field]:
        fields = []
        self._expect("{")
        while not self._take("}"):
            fields.append(self._field())
        return fields

    def _field(self) -> Field:
        if self._take("..."):
            if self._take("on"):
                return Field("inline", self._next(), "", {}, self._directives(), self._fields())
            if self._peek() in ("{", "@"):
                return Field("inline", "", "", {}, self._directives(), self._fields())
            return Field("fragment", self._next(), "", {}, self._directives(), [])
        alias = name = self._next()
        if self._take(":"):
            name = self._next()
        arguments, directives = self._arguments(), self._directives()
        return Field(
            "field", name, alias, arguments, directives, self._fields() if self._peek() == "{" else []
        )


def execute(document: Document, variables: Mapping[str, Any], root: object) -> dict[str, Any]:
    """The answer's `data`: a field is an attribute of the object, or a method that takes its arguments.

    Raises:
        NotImplementedHere: An object has no such field, or the field no such argument.
        Refused: A method refuses.
    """
    return _Execution(document, variables).answer(document.fields, root)


class _Execution:
    def __init__(self, document: Document, variables: Mapping[str, Any]) -> None:
        self._fragments = document.fragments
        self._variables = {**document.defaults, **variables}

    def answer(self, fields: Sequence[Field], node: Any) -> dict[str, Any]:
        answered: dict[str, Any] = {}
        for field in fields:
            if not all(self._holds(directive) for directive in field.directives):
                continue
            if field.kind == "field":
                _merge(answered, {field.alias: self._complete(field, self._resolved(field, node))})
                continue
            condition, inner = field.name, field.fields
            if field.kind == "fragment":
                condition, inner = self._fragments[field.name]
            if condition in ("", node.typename, *getattr(node, "interfaces", ())):
                _merge(answered, self.answer(inner, node))
        return answered

    def _holds(self, directive: Directive) -> bool:
        return bool(self._known(directive.condition)) == (directive.name == "include")

    def _complete(self, field: Field, value: Any) -> Any:
        if not field.fields or value is None:
            if field.fields or not hasattr(value, "typename"):
                return value
            raise NotImplementedHere(f"{field.name} is an object, and no field of it is asked for")
        if isinstance(value, list):
            return [None if item is None else self.answer(field.fields, item) for item in value]
        if not hasattr(value, "typename"):
            raise NotImplementedHere(f"{field.name} has no fields")
        return self.answer(field.fields, value)

    def _resolved(self, field: Field, node: Any) -> Any:
        if field.name == "__typename":
            return node.typename
        where = f"{node.typename}.{field.name}"
        if field.name.startswith("_") or field.name in ("typename", "interfaces"):
            raise NotImplementedHere(where)
        try:
            found = getattr(node, field.name)
        except AttributeError:
            raise NotImplementedHere(where) from None
        arguments = self._object(field.arguments)
        if not callable(found):
            if arguments:
                raise NotImplementedHere(f"{where} with {sorted(arguments)}")
            return found
        if node.typename == "Mutation":
            # The SDK's core sends every field that there is; null is as good as absent.
            arguments = {name: value for name, value in arguments["input"].items() if value is not None}
        try:
            inspect.signature(found).bind(**arguments)
        except TypeError as error:
            raise NotImplementedHere(f"{where}: {error}") from None
        return found(**arguments)

    def _object(self, plain: Mapping[str, Any]) -> dict[str, Any]:
        """What is named here, without variables that were not sent: these are not null, they are absent."""
        return {name: self._known(value) for name, value in plain.items() if not self._is_absent(value)}

    def _is_absent(self, value: Any) -> bool:
        return isinstance(value, Variable) and value.name not in self._variables

    def _known(self, value: Any) -> Any:
        if isinstance(value, Variable):
            return self._variables.get(value.name)
        if isinstance(value, dict):
            return self._object(value)
        if isinstance(value, list):
            return [self._known(item) for item in value]
        return value


def _merge(answered: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add fields; an object that is asked for twice has the fields of both."""
    for name, value in more.items():
        before = answered.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            _merge(before, value)
        else:
            answered[name] = value
