"""Tokenizers that only transformers can make, from older files than tokenizer.json."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.models.tokenizers.missing import MissingTokenizerError, require_library
from evalkit.tokenization import Tokenizer

_IN_USE = threading.Lock()


class SlowTokenizer(Tokenizer):
    """A tokenizer made by transformers; importing that takes seconds.

    Args:
        folder: The model's files.
        name: What it is called in messages.

    Raises:
        MissingTokenizerError: transformers is not installed.
    """

    def __init__(self, folder: Path, name: str) -> None:
        try:
            require_library("transformers", name)
        except MissingTokenizerError:
            raise MissingTokenizerError(
                f"{folder} has no tokenizer.json, and only transformers reads its other files; "
                "run: pip install 'evalkit[hf]'"
            ) from None
        self._folder, self._name = folder, name

    @cached_property
    def _backend(self) -> Any:
        from transformers import AutoTokenizer

        with _IN_USE:
            try:
                return AutoTokenizer.from_pretrained(str(self._folder), local_files_only=True)
            except (OSError, ValueError, ImportError, TypeError, AttributeError) as error:
                raise UsageError(f"transformers can't make the tokenizer {self._name}: {error}") from None

    @property
    def prefix_token(self) -> str:  # type: ignore[override]
        """The start token, or the end token where there is no other."""
        return self._backend.bos_token or self._backend.eos_token or ""

    def encode(self, text: str) -> list[int]:
        """The ids of the tokens."""
        return self.encode_many((text,))[0]

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of the tokens of each text."""
        backend = self._backend
        with _IN_USE:  # these tokenizers keep settings between calls, so threads take turns
            ids: list[list[int]] = backend(
                list(texts), add_special_tokens=False, truncation=False, padding=False, verbose=False
            )["input_ids"]
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of the ids."""
        text: str = self._backend.decode(list(tokens), clean_up_tokenization_spaces=False)
        return text

    def count_many(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has."""
        return [len(ids) for ids in self.encode_many(texts)]
