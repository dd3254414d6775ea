"""Lists that a config has as texts of Python; Nejumi evaluates them, evalkit reads literals."""

from __future__ import annotations

import ast
from typing import Any

_LONGEST = 10_000


def listed(text: str | int | list[Any] | None) -> list[Any] | None:
    """A list that a config has as YAML, or as the text of one in Python (`[2]`, `('指示', '応答')`).

    It is read as a literal; nothing is evaluated.

    Raises:
        ValueError: It is neither.
    """
    if text is None or isinstance(text, list):
        return text
    if isinstance(text, int):
        return [text]
    if len(text) > _LONGEST:
        raise ValueError("it is too long")
    try:
        value = ast.literal_eval(text.strip() or "None")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ValueError("it is not a list") from None
    if value is None or isinstance(value, int):
        return None if value is None else [value]
    if not isinstance(value, list | tuple):
        raise ValueError("it is not a list")
    return list(value)
