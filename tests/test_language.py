"""Plain English: phrases that must not come back, in documentation, help, docstrings, comments and messages.

The list has phrases that readers had to read twice, each with what to write in its place. The tests look at
every text that a user or a developer reads, and fail when they find too few texts.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from tests.test_docs import PAGES, ROOT, name_of, prose

# What a phrase looks like, and what to write in its place.
INSTEAD = {
    r"\b(?:is|are|was|were|be|been|being) told\b": "say who reports or passes it",
    r"\btold (?:of|once|twice|to those|to who)\b": "say who reports or passes it to whom",
    r"\bso many\b": "`this many`, `how many`, `most`, or the parameter's name",
    r"\bcan't be had\b": "`is missing` or `can't be read`",
    r"\bstands? for\b": "`means`, `represents`, `matches` or `replaces`",
    r"(?<!there )\b(?:is|are|was|were) no (?!(?:longer|more|better|different|less)\b)": "`is not a`",
    r"\bas (?:it|they) stands?\b": "`unchanged`",
    r"\bwhat (?:it|they|one) (?:is|are) asked\b": "name the request or the question",
    r"\ban? (?:\w+ )?\w+ of (?:its|their) own\b": "`its own …`",
    r"\bbeside\b": "`next to` or `besides`",
    r"\bthe \w+ that tells\b": "say what it shows",
    r"\b(?:does not|doesn't|to|it) bears?\b": "`handles` or `can take`",
    r"\bhand(?:s|ed|ing)? (?:it |them )?over\b": "`passes` or `submits`",
    r"\bof like (?:length|size|width)\b": "`similar`",
    r"\bwhat makes (?:it|them) good\b": "`what repairs it`",
    r"\bnobody (?:asked|is|serves|waits|measures|trusts|knows)\b": "say who does not do what",
    r"\bis asked (?:for )?as\b": "say what evalkit sends",
    r"\bthat tells any\b": "say which one reports it",
    r"\bbut no (?:Metric|Client|Scenario|Response)\b": "`but not a`",
    r"\bis of no use\b|\bno use in\b": "`useless`",
    r"\bkeeps? its promises\b": "say what it does",
    r"\b(?:one|which) of them must go\b": "`remove one of them`",
    r"\bin a like\b|\bin like manner\b": "`in the same way`",
    r"\bwhat has become of\b": "say what its state is",
    r"\b(?:workplace|workshop|vanguard|ledger|speller|backlog|complaints?)\b": "the field's own term",
}
PHRASES = [(re.compile(phrase, re.IGNORECASE), instead) for phrase, instead in INSTEAD.items()]

# Decisions and changes are dated and stay as they were written.
LIVING_PAGES = [page for page in PAGES if page.parent.name != "decisions" and page.name != "CHANGELOG.md"]
MODULES = sorted((ROOT / "src" / "evalkit").rglob("*.py"))
# Their strings are the prompts and data of benchmarks, in other people's words.
OF_BENCHMARKS = {"run_specs", "scenarios", "perturbations"}
FEWEST_WORDS_OF_A_MESSAGE = 3


class Text(NamedTuple):
    """A text, and where it is."""

    place: str
    text: str


def page_texts() -> Iterator[Text]:
    """Every page without code, fenced or not, and without the targets of links."""
    for page in LIVING_PAGES:
        yield Text(name_of(page), re.sub(r"`[^`\n]*`|(?<=\])\([^)\s]+\)", "``", prose(page)))


def help_texts() -> Iterator[Text]:
    """The help of every command and of every parameter."""
    from evalkit.cli.app import command as made

    waiting: list[tuple[str, click.Command]] = [("evalkit", made())]
    while waiting:
        name, command = waiting.pop()
        yield Text(name, command.help or "")
        for parameter in command.params:
            yield Text(f"{name} {parameter.name}", getattr(parameter, "help", None) or "")
        waiting += [(f"{name} {sub}", each) for sub, each in getattr(command, "commands", {}).items()]


def docstrings(tree: ast.Module) -> dict[int, ast.Constant]:
    """Strings that are statements: of modules, classes, functions and attributes, by identity."""
    statements = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    return {id(v): v for v in statements if isinstance(v, ast.Constant) and isinstance(v.value, str)}


def messages(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Strings of several words that are no docstrings; what is filled into an f-string is left out."""
    left_out = set(docstrings(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [v.value if isinstance(v, ast.Constant) else "{}" for v in node.values]
            left_out |= {id(value) for value in node.values}
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield node.lineno, node.value


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Comments, those on following lines as one text."""
    last, started, found = -1, 0, ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line = token.start[0]
            if line != last + 1 and found:
                yield started, found
            if line != last + 1:
                started, found = line, ""
            last, found = line, f"{found} {token.string.lstrip('# ')}"
    if found:
        yield started, found


def module_texts(path: Path) -> Iterator[tuple[str, Text]]:
    """The docstrings, comments and messages of a module, with which of these each is."""
    source = path.read_text(encoding="utf-8")
    name, tree = name_of(path), ast.parse(source)
    for node in docstrings(tree).values():
        yield "docstring", Text(f"{name}:{node.lineno}", str(node.value))
    for line, text in comments(source):
        yield "comment", Text(f"{name}:{line}", text)
    if not OF_BENCHMARKS & set(path.parts):
        for line, text in messages(tree):
            if len(text.split()) >= FEWEST_WORDS_OF_A_MESSAGE:
                yield "message", Text(f"{name}:{line}", text)


def wrong(text: Text) -> list[str]:
    """The phrases of the list in a text, each with what to write in its place."""
    plain = " ".join(text.text.split())
    found = [(match, instead) for phrase, instead in PHRASES for match in phrase.finditer(plain)]
    return [
        f"{text.place}: '…{plain[max(0, m.start() - 30) : m.end() + 30]}…': not '{m[0]}', write {instead}"
        for m, instead in found
    ]


def all_wrong(texts: Iterator[Text]) -> tuple[list[str], int]:
    found, number = [], 0
    for text in texts:
        number += bool(text.text)
        found += wrong(text)
    return found, number


@pytest.mark.parametrize(
    "sentence",
    [
        "The observer is told of progress.",
        "At most so many requests in flight.",
        "'gpt-9' is no registered model and is asked for as it stands",
        "Its files are no benchmark data.",
        "The name that it stands for.",
        "No model or API was asked that tells any.",
        "It runs on a thread of its own.",
        "Kept beside the run.",
        "It hands over\n    the requests.",
    ],
)
def test_the_check_finds_them(sentence: str) -> None:
    assert wrong(Text("here", sentence))


def test_plain_sentences_pass() -> None:
    for sentence in (
        "There is no such file.",
        "The run is no longer complete.",
        "`is not a registered model; evalkit uses the name as given`",
        "Its own thread. The model's own tokenizer. It stands on the right.",
        "There was no answer, and there are no others.",
    ):
        assert not wrong(Text("here", sentence))


def test_pages_are_plain() -> None:
    found, number = all_wrong(page_texts())
    assert not found, "\n".join(found)
    assert number > 20


def test_help_is_plain() -> None:
    found, number = all_wrong(help_texts())
    assert not found, "\n".join(found)
    assert number > 100


@pytest.mark.parametrize(("kind", "fewest"), [("docstring", 2000), ("comment", 600), ("message", 800)])
def test_source_is_plain(kind: str, fewest: int) -> None:
    found, number = all_wrong(text for path in MODULES for of, text in module_texts(path) if of == kind)
    assert not found, "\n".join(found)
    assert number > fewest
