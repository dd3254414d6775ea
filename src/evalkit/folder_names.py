"""From a name to the folder that has it: one rule for whoever writes runs and whoever looks for them.

A run's name may be anything (a benchmark, a plugin or another harness chose it): each character that can't be
part of a folder's name becomes `_`. A suite is the user's own word: one that names no folder is refused.
Folders whose name begins with a dot are evalkit's own (`.replaced`), and hold no runs for a reader.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from pathlib import Path

from evalkit.errors import UsageError

# File systems allow 255 bytes per name; leave room for `@<digest8>` and temporary suffixes.
_LONGEST_NAME_BYTES = 200
# Controls, and separators of lines and paragraphs.
_UNPRINTED = ("Cc", "Zl", "Zp")
# Marks that change the direction of what stands around them.
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def folder_of(name: str) -> str:
    """The folder of a run of this name: inside its suite, found by readers, of a length that fits.

    Two names may have one folder; their digests tell the runs apart.
    """
    spelled = "".join("_" if _is_unfit(character) else character for character in name)
    bare = spelled.lstrip(".")
    spelled = "_" * (len(spelled) - len(bare)) + bare or "_"
    return _shortened(spelled)


def earlier_folder_of(name: str) -> str | None:
    """The folder that earlier versions gave a run of this name, where it was another that readers find."""
    if "\0" in name or name.startswith(".") or not name:
        return None
    folder = _shortened(name.replace(os.path.sep, "_"))
    return folder if folder != folder_of(name) else None


def checked_suite(suite: str) -> str:
    """The name of a suite, as it is.

    Raises:
        UsageError: No folder below `runs/` can have it, or readers would pass over it.
    """
    if folder_of(suite) != suite:
        raise UsageError(
            f"{suite!r} can't be the name of a suite: it names a folder below 'runs', so it must not be "
            "empty, begin with a dot, hold slashes or control characters, or be longer than 200 bytes"
        )
    return suite


def is_hidden(path: Path) -> bool:
    """Whether readers pass over what lies at a path (relative to where they look)."""
    return any(part.startswith(".") for part in path.parts)


def _is_unfit(character: str) -> bool:
    return (
        character == os.path.sep
        or character in _DIRECTIONS
        or (not character.isprintable() and unicodedata.category(character) in _UNPRINTED)
    )


def _shortened(name: str) -> str:
    # A lone surrogate, which no file system takes, is spelled out.
    encoded = name.encode("utf-8", "backslashreplace")
    if len(encoded) <= _LONGEST_NAME_BYTES:
        return encoded.decode()
    start = encoded[:_LONGEST_NAME_BYTES].decode(errors="ignore")
    return f"{start}~{hashlib.sha256(encoded).hexdigest()[:8]}"
