"""Texts that an entry gives for a run spec: written in it, or read from a file."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from evalkit.errors import UsageError

_LONGEST_IN_NAME = 40


def text_given(name: str, given: str) -> str:
    """The text of an argument, read from a file where it begins with @.

    Args:
        name: The argument, for the message.
        given: What the entry has for it.

    Raises:
        UsageError: The file can't be read.
    """
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{name}: can't read {given[1:]}: {error}") from None


def in_name(value: object) -> str:
    """A value as a run name has it: as it is if that is short and plain, else the start of its checksum."""
    text = str(value)
    plain = re.sub(r"[^\w.@-]", "_", text)
    if text == plain and len(plain) <= _LONGEST_IN_NAME:
        return plain
    return hashlib.sha256(text.encode()).hexdigest()[:8]
