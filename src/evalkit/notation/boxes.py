r"""Answers in a box: `\boxed{…}`, `\boxed 5`, `\fbox{…}`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_PIECE = re.compile(r"\\(?P<command>boxed|fbox)(?![A-Za-z])\s*(?P<brace>\{)?|\\.|[{}]", re.DOTALL)
# What the box holds where a text only speaks of the box.
_PLACEHOLDER = re.compile(
    r"(?:[\s.…_?]|\\(?:[lcd]?dots|quad|[ ,;!]))*|\s*(?:\\text\{)?(?:(?:your|the) )?(?:final )?answer\}?\s*",
    re.IGNORECASE,
)
_FORMULAS = ((r"\(", r"\)"), (r"\[", r"\]"))
_LONGEST_FORMULA = 200
_BRACED_COMMAND = r"\boxed"


@dataclass(frozen=True, slots=True)
class _Box:
    """Where a box begins, and what it holds from `inside` to `end`; an unbraced one has no `end`."""

    command: str
    start: int
    inside: int
    end: int | None


def boxed_answer(text: str) -> str | None:
    r"""What the last box of a text holds; "" if all boxes are empty, None if there is none.

    The last `\boxed` counts, without one the last `\fbox`. Braces may be nested; without braces the box holds
    what follows up to the end of the formula, or the next word. A box that is empty, holds dots, or never
    closes does not hide an earlier one.
    """
    box = last_box(text)
    return None if box is None else box[1]


def last_box(text: str) -> tuple[int, str] | None:
    """Where the box that `boxed_answer` reads begins, and what it holds; None if there is none."""
    boxes = _boxes(text)
    for command in ("boxed", "fbox"):
        for box in reversed([box for box in boxes if box.command == command]):
            content = _content(text, box)
            if content is not None and not _PLACEHOLDER.fullmatch(content):
                return box.start, content
    return next(((box.start, "") for box in reversed(boxes) if box.end is not None), None)


def last_boxed(text: str) -> str | None:
    r"""What the last `\boxed{…}` holds, by HELM's rule; None without one, or if its braces don't close.

    HELM reads neither `\boxed 5` nor `\fbox{5}`, and only the last `\boxed` counts, whatever it holds.
    """
    start = text.rfind(_BRACED_COMMAND)
    if start < 0:
        return None
    depth = 0
    for position in range(start, len(text)):
        if text[position] == "{":
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if depth == 0:
                inside = text[start + len(_BRACED_COMMAND) : position + 1]
                return inside[1:-1] if inside.startswith("{") else None
    return None


def _boxes(text: str) -> Sequence[_Box]:
    """All boxes in order of their beginning; those whose brace never closes are left out."""
    found: list[_Box] = []
    opened: list[tuple[str | None, int, int]] = []
    for piece in _PIECE.finditer(text):
        if piece["command"] and not piece["brace"]:
            found.append(_Box(piece["command"], piece.start(), piece.end(), None))
        elif piece["command"] or piece[0] == "{":
            opened.append((piece["command"], piece.start(), piece.end()))
        elif piece[0] == "}" and opened:
            command, start, inside = opened.pop()
            if command:
                found.append(_Box(command, start, inside, piece.start()))
    return sorted(found, key=lambda box: box.start)


def _content(text: str, box: _Box) -> str | None:
    return _unbraced(text, box) if box.end is None else _without_dollars(text[box.inside : box.end])


def _unbraced(text: str, box: _Box) -> str | None:
    """What a box without braces holds: in a formula all that is left of it, elsewhere a word with a digit."""
    paragraph = text.rfind("\n\n", 0, box.start) + 1
    before = text[paragraph : box.start].replace(r"\$", "")
    ends = [end for begin, end in _FORMULAS if before.rfind(begin) > before.rfind(end)]
    if before.count("$") % 2:
        ends.append("$")
    for mark in ends:
        if (end := text.find(mark, box.inside, box.inside + _LONGEST_FORMULA)) >= 0:
            return text[box.inside : end].strip() or None
    words = text[box.inside : box.inside + _LONGEST_FORMULA].split(None, 1)
    word = words[0].rstrip(".,;:!?)$") if words else ""
    return word if word.startswith("\\") or any(map(str.isdigit, word)) else None


def _without_dollars(content: str) -> str:
    bare = content.strip()
    return bare[1:-1] if len(bare) > 1 and bare[0] == bare[-1] == "$" else content
