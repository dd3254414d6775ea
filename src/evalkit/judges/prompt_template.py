"""What a judge reads: a template from a file, filled with questions and answers.

A template names its places in braces, `{question}`, `{answer}`. Only a name in braces is a place; any other
braces, such as those of JSON or of code, are text. What is filled in is never looked at again, so an answer
that holds `{question}`, or a single brace, is shown unchanged. `{{question}}` is the text `{question}`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import ConfigError, nearest_names
from evalkit.judges.judge import MAX_TOKENS, chat_request
from evalkit.request import Request
from evalkit.specs.digest import digest
from evalkit.yaml_text import check_values, compose, read_text

_PLACE = re.compile(r"\{(?P<literal>\{[A-Za-z_]\w*\})\}|\{(?P<name>[A-Za-z_]\w*)\}")
_PARTS = ("system", "user")


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """A system message, perhaps none, and a user message with places to fill.

    Attributes:
        user: The template of the user's message.
        system: That of the system message; "" for none.
    """

    user: str
    system: str = ""

    @property
    def placeholders(self) -> frozenset[str]:
        """The names of its places."""
        return frozenset(found["name"] for text in (self.system, self.user) for found in _places(text))

    @property
    def digest(self) -> str:
        """Of the content, wherever the file is: what belongs to the digest of the requests."""
        return digest({"system": self.system, "user": self.user})

    def checked(self, known: Collection[str], required: Collection[str], source: str) -> PromptTemplate:
        """The template, if it has the placeholders that it must, and no others.

        Args:
            known: What can be filled in.
            required: What must have a place.
            source: The file, for errors.

        Raises:
            ConfigError: A placeholder is unknown or missing; names the place and the remedy.
        """
        for part, text in (("system", self.system), ("user", self.user)):
            for found in _places(text):
                if (name := found["name"]) not in known:
                    line = text.count("\n", 0, found.start()) + 1
                    column = found.start() - text.rfind("\n", 0, found.start())
                    near = nearest_names(name, known, 1)
                    remedy = f"did you mean {{{near[0]}}}?" if near else f"known are {_braced(known)}."
                    raise ConfigError(
                        f"{source}, {part} message, line {line}, column {column}: "
                        f"unknown placeholder {{{name}}}; {remedy} For the text itself write {{{{{name}}}}}"
                    )
        if missing := [name for name in required if name not in self.placeholders]:
            raise ConfigError(
                f"{source}: the template lacks {_braced(missing)}; write it where the judge is to read it"
            )
        return self

    def request(
        self,
        values: Mapping[str, str],
        *,
        temperature: float = 0.0,
        max_tokens: int = MAX_TOKENS,
        response_schema: Mapping[str, Any] | None = None,
    ) -> Request:
        """A judge's request with the values in their places.

        Raises:
            KeyError: A placeholder has no value; `checked` refuses such templates beforehand.
        """
        user, system = filled(self.user, values), filled(self.system, values)
        return chat_request(
            user,
            system=system,
            temperature=temperature,
            max_tokens=max_tokens,
            response_schema=response_schema,
        )


def read_prompt_template(
    path: Path, known: Collection[str], required: Collection[str] = ()
) -> PromptTemplate:
    """The template in a file, checked.

    A `.yaml`, `.yml` or `.json` file holds `user` and perhaps `system`; any other is the user's message.
    The ends of lines count as line feeds, so that a file has one digest on every system.

    Raises:
        ConfigError: The file can't be read, or is not such a template; names the place and the remedy.
    """
    text = read_text(path, "utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    if path.suffix.lower() in (".yaml", ".yml", ".json"):
        template = _of_mapping(path, text)
    else:
        template = PromptTemplate(text)
    if not template.user.strip():
        raise ConfigError(f"{path}: the template's user message is empty")
    return template.checked(known, required, str(path))


def filled(template: str, values: Mapping[str, str]) -> str:
    """The template with its places filled, in one pass: what is filled in is not searched for places.

    Raises:
        KeyError: A placeholder has no value.
    """
    return _PLACE.sub(lambda found: found["literal"] or values[found["name"]], template)


def _places(text: str) -> Iterator[re.Match[str]]:
    return (found for found in _PLACE.finditer(text) if found["name"])


def _of_mapping(path: Path, text: str) -> PromptTemplate:
    import yaml

    try:
        loader, root = compose(yaml.SafeLoader, text)
        if root is not None:
            check_values(root)
        plain = None if root is None else loader.construct_document(root)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(plain, dict) or not isinstance(plain.get("user"), str):
        raise ConfigError(f"{path}: needs `user`, the text of the user's message, and perhaps `system`")
    for name, value in plain.items():
        if name not in _PARTS:
            raise ConfigError(f"{path}: unknown key '{name}'; a template has `system` and `user`")
        if not isinstance(value, str):
            raise ConfigError(f"{path}: `{name}` must be a text")
    return PromptTemplate(plain["user"], plain.get("system", ""))


def _braced(names: Collection[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))
