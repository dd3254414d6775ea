"""Words as perturbations exchange them: lists, letter case, and patterns over thousands of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from evalkit.errors import DataError


def match_case(source: str, target: str) -> str:
    """`target` in the case of `source`: all small, all capitals, or with a capital first letter."""
    if all(letter.islower() for letter in source):
        return target.lower()
    if all(letter.isupper() for letter in source):
        return target.upper()
    if source[:1].isupper():
        return target.capitalize()
    return target


def alternation(phrases: Iterable[str]) -> str:
    """A regular expression that matches what `first|second|…` does, without trying each in turn.

    Alternatives that begin alike are tried as one, so that thousands of phrases cost no more than a few. Of
    several that match, the one that stands first in `phrases` is still the one that does.
    """
    return f"(?:{_branches(list(phrases))})"


def _branches(phrases: Sequence[str]) -> str:
    branches: list[str] = []
    by_first: dict[str, list[str]] = {}
    for phrase in phrases:
        if phrase:
            by_first.setdefault(phrase[0], []).append(phrase[1:])
        else:
            # A phrase ends here: what the list has before it stays before it, and what follows, after.
            branches += [*_grouped(by_first), ""]
            by_first = {}
    return "|".join([*branches, *_grouped(by_first)])


def _grouped(by_first: dict[str, list[str]]) -> list[str]:
    return [
        re.escape(first) + (_branches(rests) if len(rests) == 1 else alternation(rests))
        for first, rests in by_first.items()
    ]


def read_substitutes(path: Path) -> dict[str, list[str]]:
    """A word list: JSON that maps each word to what can stand in its place.

    Raises:
        DataError: The file does not hold such JSON.
    """
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}); the file may be truncated") from None
    if not isinstance(found, dict) or not found:
        raise DataError(f"{path}: a JSON object of words is expected")
    for word, substitutes in found.items():
        texts = isinstance(substitutes, list) and all(isinstance(s, str) for s in substitutes)
        if not texts or not substitutes:
            raise DataError(f"{path}: '{word}' has no list of words to replace it")
    return found
