"""How many tokens a tokenizer can make of a text at most, read off the way it works.

Every token encodes at least one character, or one byte, of what reaches the tokenizer's model. So the
bytes of a text are a limit to its tokens, wherever the steps before the model make no text longer, or by a
known factor. Where a step is not known to do so, there is no limit, and tokens must be counted.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalkit.models.tokenizers.plain import num_bytes

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

_BLANK = "\u2581"
"""Replaces a blank in tokenizers of SentencePiece's kind; three bytes, but one token where it is known."""

# By how much a text that is not ASCII may grow in UTF-8 (Unicode Standard Annex 15); ASCII stays as it is.
_FACTORS = {"NFC": 3.0, "NFD": 3.0, "NFKC": 11.0, "NFKD": 11.0, "Strip": 1.0, "StripAccents": 1.0}
# Other scripts may grow in them, ASCII does not.
_ASCII_ONLY = ("Lowercase", "BertNormalizer")
_SPLITTING = (
    "BertPreTokenizer",
    "Digits",
    "Punctuation",
    "Split",
    "UnicodeScripts",
    "Whitespace",
    "WhitespaceSplit",
)


@dataclass(frozen=True, slots=True)
class Growth:
    """A limit to the tokens of a text.

    Attributes:
        ascii: Tokens per byte of a text that is all ASCII, at most.
        other: Tokens per byte of any other text, at most.
        extra: Tokens beyond that, whatever the text.
    """

    ascii: float
    other: float
    extra: int = 0

    def most_tokens(self, text: str) -> float:
        """A number of tokens that the text does not exceed; infinite where there is no limit."""
        per_byte = self.ascii if text.isascii() else self.other
        return math.inf if per_byte == math.inf else per_byte * num_bytes(text) + self.extra


NO_LIMIT = Growth(math.inf, math.inf)


def growth_of(backend: Backend) -> Growth:
    """The limit for a tokenizer, or `NO_LIMIT` where one of its steps is not known to have one."""
    steps = [*_steps(backend.normalizer, "normalizers"), *_steps(backend.pre_tokenizer, "pretokenizers")]
    other, extra, has_blanks = 1.0, 0, False
    for step in steps:
        kind = step["type"]
        if kind in _ASCII_ONLY:
            other = math.inf
        elif kind in _FACTORS:
            other *= _FACTORS[kind]
        elif kind == "ByteLevel":
            extra += bool(step.get("add_prefix_space"))
        elif kind == "Metaspace" and step.get("replacement") == _BLANK:
            has_blanks = True
            extra += step.get("prepend_scheme", "always") != "never"
        elif kind == "Prepend" and step.get("prepend") == _BLANK:
            has_blanks = True
            extra += 1
        elif kind == "Replace" and (step.get("pattern"), step.get("content")) == ({"String": " "}, _BLANK):
            has_blanks = True
        elif kind not in _SPLITTING:
            return NO_LIMIT
    as_bytes = any(step["type"] == "ByteLevel" for step in steps)
    if has_blanks and (as_bytes or backend.token_to_id(_BLANK) is None):
        return NO_LIMIT
    if as_bytes and getattr(backend.model, "byte_fallback", False):
        return NO_LIMIT
    # What is added comes again after each special token in a text, which makes up for it by its own length.
    shortest = min((len(token.content) for token in backend.get_added_tokens_decoder().values()), default=2)
    if extra > 1 or (extra and shortest < 2):
        return NO_LIMIT
    return Growth(1.0, other, extra)


def _steps(component: Any, parts: str) -> list[dict[str, Any]]:
    """A normalizer or pre-tokenizer as a flat list of its steps."""
    if component is None:
        return []
    return _flat(json.loads(component.__getstate__()), parts)


def _flat(state: dict[str, Any], parts: str) -> list[dict[str, Any]]:
    if state["type"] != "Sequence":
        return [state]
    return [step for part in state[parts] for step in _flat(part, parts)]
