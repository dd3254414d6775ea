"""Sentences and words of Japanese texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from evalkit.scoring.optional_packages import require_module

# The segmenter never cuts inside these two pairs of brackets.
_BRACKETED = re.compile(r"「[^「」\n]*」|\([^()\n]*\)")
_ENDS = frozenset("。!?")
_NORMALISED = str.maketrans("！？｡（）｢｣", "!?。()「」")


class Word(NamedTuple):
    """A word as it is written, and whether it is a noun."""

    surface: str
    is_noun: bool


def sentences(text: str) -> list[str]:
    """The sentences of a text as `ja_sentence_segmenter` cuts them for M-IFEval, which makes `!` of `！`.

    A line end ends a sentence, unless the line ends in `の`; and so does every `。`, `!` or `?` that is not
    between `「` and `」` or between brackets.
    """
    found: list[str] = []
    for line in _joined(text.translate(_NORMALISED).split("\n")):
        protected = {at for match in _BRACKETED.finditer(line) for at in range(*match.span())}
        start = 0
        for at, character in enumerate(line):
            if character in _ENDS and at not in protected:
                found.append(line[start : at + 1])
                start = at + 1
        if start < len(line):
            found.append(line[start:])
    return [sentence for sentence in found if sentence.strip()]


def words(text: str) -> list[Word]:
    """The words of a text by `janome`, whose dictionary is MeCab's IPA dictionary.

    Raises:
        UsageError: `janome` is not installed.
    """
    tokens = _tokenizer().tokenize(text)
    return [Word(token.surface, token.part_of_speech.startswith("名詞")) for token in tokens]


def _joined(lines: list[str]) -> Iterator[str]:
    """The lines that are not empty, one that ends in `の` together with the next."""
    pending = ""
    for line in lines:
        if not line:
            continue
        pending += line
        if len(line) > 1 and line.endswith("の"):
            continue
        yield pending
        pending = ""
    if pending:
        yield pending


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    require_module("janome", "telling Japanese words apart", "japanese")
    from janome.tokenizer import Tokenizer

    return Tokenizer()
