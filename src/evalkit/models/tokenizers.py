"""Tokenizers that need no library, and an estimate for when none is at hand."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from evalkit.errors import UnknownNameError

if TYPE_CHECKING:
    from evalkit.adapters.window import Tokenizer

_WIDE = re.compile(
    r"[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef]|[\U0001f000-\U0003ffff]"
)
_NARROW = re.compile(r"[\x00-\x7f]")


class CharacterTokenizer:
    """One token per character: HELM's `simple/tokenizer1`."""

    prefix_token = "<s>"

    def encode(self, text: str) -> list[str | int]:
        """The characters."""
        return list(text)

    def decode(self, tokens: Sequence[str | int]) -> str:
        """The characters joined."""
        return "".join(str(token) for token in tokens)

    def count(self, text: str) -> int:
        """How many characters."""
        return len(text)


class ByteTokenizer:
    """One token per byte of UTF-8: an upper bound for every byte-level tokenizer."""

    prefix_token = ""

    def encode(self, text: str) -> list[str | int]:
        """The bytes, 0 to 255 each."""
        return list(text.encode("utf-8", "surrogatepass"))

    def decode(self, tokens: Sequence[str | int]) -> str:
        """The text; bytes of a character that was cut in two are dropped."""
        return bytes(int(token) for token in tokens).decode("utf-8", "ignore")

    def count(self, text: str) -> int:
        """How many bytes."""
        return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


_TOKENIZERS: Mapping[str, Callable[[], Tokenizer]] = {
    "simple/tokenizer1": CharacterTokenizer,
    "bytes": ByteTokenizer,
}


def tokenizer(name: str) -> Tokenizer:
    """The tokenizer of this name.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in _TOKENIZERS:
        raise UnknownNameError("tokenizer", name, _TOKENIZERS)
    return _TOKENIZERS[name]()


def is_tokenizer(name: str | None) -> bool:
    """Whether there is a tokenizer of this name."""
    return name in _TOKENIZERS


def estimate_tokens(text: str) -> int:
    """About how many tokens a current tokenizer makes of `text`: good for budgets, not for bills.

    Four ASCII characters count as one token, a CJK character or an emoji as one, any other as half of one.
    """
    if text.isascii():
        return math.ceil(len(text) / 4)
    wide, narrow = len(_WIDE.findall(text)), len(_NARROW.findall(text))
    return math.ceil(narrow / 4 + wide + (len(text) - wide - narrow) / 2)
