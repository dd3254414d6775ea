"""How much room a text takes, without a font: usual sans-serif letters, rather too wide than too narrow."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from evalkit.reports.plots.scene import Anchor, Box, Point

LINE_HEIGHT = 1.3
_ASCENT, _DESCENT = 0.9, 0.25
_NARROW = frozenset("ijlI.,:;'|!()[]{}tfr ")
_WIDE = frozenset("mwMW%@")
# May not begin a line.
_CLINGS = frozenset("、。，．・：；？！ー）」』】〕〉》”’ゃゅょっぁぃぅぇぉャュョッァィゥェォ々゛゜%")
_PIECE = re.compile(r"[^\s_/\-:,]*[_/\-:,]*\s*")


def text_width(text: str, size: float) -> float:
    """The width of a line of text in letters of this size."""
    return size * sum(map(_em, text))


def wrapped(text: str, width: float, size: float) -> tuple[str, ...]:
    """The text in lines of at most this width, as far as its letters allow; nothing is left out.

    Lines break at blanks, behind `_ / - : ,` and between Japanese characters; a longer word breaks anywhere.
    """
    lines: list[str] = []
    line = ""
    for piece in _pieces(text):
        if not line or text_width((line + piece).rstrip(), size) <= width:
            line += piece
        else:
            lines.append(line.rstrip())
            line = piece
        while text_width(line.rstrip(), size) > width and len(line.rstrip()) > 1:
            cut = _fitting(line, width, size)
            if cut >= len(line.rstrip()):
                break
            lines.append(line[:cut])
            line = line[cut:]
    return (*lines, line.rstrip()) if line.rstrip() or not lines else tuple(lines)


def balanced(text: str, width: float, size: float) -> tuple[str, ...]:
    """As `wrapped`, in as few lines, but all about equally long."""
    lines = wrapped(text, width, size)
    narrower = width
    while len(lines) > 1 and (narrower := narrower - size / 2) > 0:
        tried = wrapped(text, narrower, size)
        if len(tried) > len(lines):
            break
        lines = tried
    return lines


def text_box(place: Point, text: str, size: float, anchor: Anchor) -> Box:
    """The room of a line of text whose baseline is at `place`."""
    width = text_width(text, size)
    left = place[0] - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
    return Box(left, place[1] - _ASCENT * size, left + width, place[1] + _DESCENT * size)


def is_japanese(text: str) -> bool:
    """Whether it has kana, so that Han characters in it are to have their Japanese forms."""
    return any("\u3040" <= character <= "\u30ff" for character in text)


def has_han(text: str) -> bool:
    """Whether it has Han characters."""
    return any("\u4e00" <= character <= "\u9fff" for character in text)


def _em(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WFA" and not character.isascii():
        return 1.0
    if character in _NARROW:
        return 0.36
    if character in _WIDE:
        return 0.95
    return 0.7 if character.isupper() else 0.59


def _pieces(text: str) -> Iterator[str]:
    """What may not be broken: words with the marks behind them, and single wide characters."""
    for match in _PIECE.finditer(text):
        word = ""
        for character in match[0]:
            is_wide = not character.isascii() and unicodedata.east_asian_width(character) in "WF"
            if word and character not in _CLINGS and (is_wide or _is_wide(word[-1])):
                yield word
                word = ""
            word += character
        if word:
            yield word


def _is_wide(character: str) -> bool:
    return not character.isascii() and unicodedata.east_asian_width(character) in "WF"


def _fitting(line: str, width: float, size: float) -> int:
    """How many characters fit; at least one."""
    used = 0.0
    for position, character in enumerate(line):
        used += size * _em(character)
        if used > width and position:
            return position
    return len(line)
