"""Tokenizers that need no library and no file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from evalkit.registry import tokenizer
from evalkit.tokenization import Tokenizer


@tokenizer("simple/tokenizer1")
class CharacterTokenizer(Tokenizer):
    """One token per character: that of HELM's offline test model."""

    prefix_token = "<s>"
    stand_in: ClassVar[bool] = True

    def encode(self, text: str) -> list[str]:
        """The characters."""
        return list(text)

    def decode(self, tokens: Sequence[str | int]) -> str:
        """The characters joined."""
        return "".join(str(token) for token in tokens)

    def count(self, text: str) -> int:
        """How many characters."""
        return len(text)


@tokenizer("bytes")
class ByteTokenizer(Tokenizer):
    """One token per byte of UTF-8: no byte-level tokenizer makes more, so what fits by it fits by any."""

    stand_in: ClassVar[bool] = True

    def encode(self, text: str) -> list[int]:
        """The bytes, 0 to 255 each."""
        return list(text.encode("utf-8", "surrogatepass"))

    def decode(self, tokens: Sequence[str | int]) -> str:
        """The text; bytes of a character that was cut in two are dropped."""
        return bytes(int(token) for token in tokens).decode("utf-8", "ignore")

    def count(self, text: str) -> int:
        """How many bytes."""
        return num_bytes(text)


def num_bytes(text: str) -> int:
    """The length of a text in UTF-8, lone surrogates included."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def without_surrogates(text: str) -> str:
    """The text as UTF-8 can hold it: surrogates joined or replaced, so that it is no longer in bytes."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
