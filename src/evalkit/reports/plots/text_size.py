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
_HAN, _HIRAGANA, _KATAKANA = "[\u4e00-\u9fff]", "[\u3040-\u309f]", "[\u30a0-\u30fa\u30fc-\u30ff]"
_WORD = re.compile(
    f"(?:{_HAN}{{2}}的|{_HAN}{{2}}(?:{_HAN}(?!{_HAN}))?|{_HAN}|{_KATAKANA}+){_HIRAGANA}*|{_HIRAGANA}+"
    r"|[\x00-\x7f]+|."
)


def text_width(text: str, size: float) -> float:
    """The width of a line of text in letters of this size."""
    return size * sum(map(_em, text))


def wrapped(text: str, width: float, size: float) -> tuple[str, ...]:
    """The text in lines of at most this width, as far as its letters allow; nothing is left out.

    Lines break at blanks, behind `_ / - : ,` and between words of Japanese; a longer word breaks anywhere.
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
            while cut > 1 and line[cut] in _CLINGS:
                cut -= 1
            lines.append(line[:cut])
            line = line[cut:]
    return (*lines, line.rstrip()) if line.rstrip() or not lines else tuple(lines)


def balanced(text: str, width: float, size: float) -> tuple[str, ...]:
    """As `wrapped`, in as few lines, but all about equally long."""
    lines = wrapped(text, width, size)
    words = (text_width(piece.rstrip(), size) for piece in _pieces(text))
    longest = max((word for word in words if word <= width), default=0.0)
    narrower = width
    while len(lines) > 1 and (narrower := narrower - size / 2) >= max(longest, size / 2):
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
    """What may not be broken: words with the marks behind them; those of Japanese as far as letters tell.

    Katakana are one word. Han characters make words of two, and a third one at their end, or 的, belongs to
    them; so do the hiragana behind them.
    """
    for match in _PIECE.finditer(text):
        word = ""
        for part in _WORD.findall(match[0]):
            # A mark on its own belongs to the word before, blanks and Latin marks too.
            if word and (_is_wide(part[0]) or _is_wide(word[-1])) and part[0] not in _CLINGS:
                yield word
                word = ""
            word += part
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
