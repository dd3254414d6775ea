"""What is said of a tokenizer that is known but not on this machine."""

from __future__ import annotations

import importlib.util

from evalkit.errors import UsageError


class MissingTokenizerError(UsageError):
    """The tokenizer is known, but its files or its library are not on this machine; says how to get them."""


def require_library(module: str, name: str) -> None:
    """See that a tokenizer's library is there, without importing it.

    Args:
        module: The library.
        name: The tokenizer that needs it.

    Raises:
        MissingTokenizerError: It is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise MissingTokenizerError(
            f"the tokenizer {name} needs {module}; run: pip install 'evalkit[tokenizers]'"
        )
