"""What turns text into a model's tokens and back."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar


class Tokenizer(ABC):
    """What turns text into a model's tokens and back: the base of all tokenizers.

    A subclass has `encode` and `decode`; the rest follows, and is overridden where a library does it at once
    or faster. Tokens that a model or a server adds by itself (a start token, the marks of a chat) are not
    part of a text and are never counted.

    Attributes:
        prefix_token: What a text begins with, so that its first token is scored too; may be empty.
        stand_in: Whether its counts are not those of any served model, and good for fitting only.
    """

    prefix_token: str = ""
    stand_in: ClassVar[bool] = False

    @abstractmethod
    def encode(self, text: str) -> list[Any]:
        """The tokens of `text`."""

    @abstractmethod
    def decode(self, tokens: Sequence[Any]) -> str:
        """The text of `tokens`."""

    def count(self, text: str) -> int:
        """How many tokens `text` has."""
        return len(self.encode(text))

    def encode_many(self, texts: Sequence[str]) -> list[list[Any]]:
        """The tokens of each text."""
        return [self.encode(text) for text in texts]

    def count_many(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has."""
        return [self.count(text) for text in texts]

    def most_tokens(self, text: str) -> float:
        """A number of tokens that `text` surely does not exceed, found without making them.

        Infinite where nothing is sure. It saves the work of counting for prompts that are far from filling
        the window, so a number that is too low would let through prompts that do not fit.
        """
        return math.inf
