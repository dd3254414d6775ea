"""Tokenizers: plugins by name, one module per source, and an estimate for when none is at hand.

Importing this imports no library: a tokenizer's own is imported, and its files read, when it is first used.
"""

from __future__ import annotations

from evalkit.models.tokenizers import folder, openai, plain
from evalkit.models.tokenizers.estimate import estimate_tokens
from evalkit.models.tokenizers.lookup import counting_tokenizer, is_tokenizer, tokenizer, usable
from evalkit.models.tokenizers.missing import MissingTokenizerError

__all__ = [
    "MissingTokenizerError",
    "counting_tokenizer",
    "estimate_tokens",
    "folder",
    "is_tokenizer",
    "openai",
    "plain",
    "tokenizer",
    "usable",
]
