"""Fenced blocks of a text: between lines of three or more backticks or tildes."""

from __future__ import annotations

import re

_OPENING = re.compile(r"[ \t]*(?P<fence>`{3,}|~{3,})[^`\n]*$")


def without_fenced_blocks(text: str) -> str:
    """The text without its fenced blocks; one that never closes stays."""
    kept: list[str] = []
    inside: list[str] = []
    fence = ""
    for line in text.splitlines(keepends=True):
        if fence:
            inside.append(line)
            bare = line.strip()
            if bare.startswith(fence) and not bare.strip(fence[0]):
                inside, fence = [], ""
        elif opening := _OPENING.match(line.rstrip("\r\n")):
            inside, fence = [line], opening["fence"]
        else:
            kept.append(line)
    return "".join(kept + inside)
