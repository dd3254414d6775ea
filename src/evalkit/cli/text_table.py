"""Tables of text that fit a width: labels are shortened in the middle, numbers are never cut.

Where a table is too wide, its headings are folded first, then its labels shortened (to `MIN_LABEL` at least),
then columns are left out in the order that they say, and what is still too wide follows below, as further
parts with the same labels.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

MIN_LABEL = 24
ELLIPSIS = "…"
_GAP = "  "
_MARKED = re.compile(r"[^_/:,=-]+[_/:,=-]*|[_/:,=-]+")


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of a table.

    Attributes:
        is_label: Names, aligned left, which may be shortened; else numbers, aligned right, which may not.
        dropped: Left out in this order where the table is too wide: 1 first; 0 never.
    """

    title: str
    is_label: bool = False
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """Lines of a table: the heading, a rule, and the rows."""

    heading: tuple[str, ...]
    rule: str
    rows: tuple[str, ...]


@dataclass(frozen=True)
class TextTable:
    """A table and the room for it.

    Attributes:
        width: Columns of the terminal; None for any width.
        ellipsis: What marks the place where a label was shortened.
    """

    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[str, ...], ...]
    width: int | None = None
    ellipsis: str = ELLIPSIS

    @property
    def fits(self) -> bool:
        """Whether all columns fit side by side, headings folded and labels shortened."""
        return self.width is None or sum(self._least) + len(_GAP) * (len(self.columns) - 1) <= self.width

    def parts(self) -> Iterator[Part]:
        """The table, in several parts if its columns do not fit side by side.

        A part has all labels and at least one column of numbers, even if that is too wide.
        """
        labels = [p for p, column in enumerate(self.columns) if column.is_label]
        part = list(labels)
        for position in (p for p, column in enumerate(self.columns) if not column.is_label):
            if len(part) > len(labels) and not self.only([*part, position]).fits:
                yield self.only(part)._drawn()
                part = list(labels)
            part.append(position)
        yield self.only(part)._drawn()

    def fitted(self) -> tuple[TextTable, tuple[str, ...]]:
        """The table without the columns that have to go for it to fit, and the titles of these."""
        kept = list(range(len(self.columns)))
        droppable = [p for p in kept if self.columns[p].dropped]
        for position in sorted(droppable, key=lambda p: self.columns[p].dropped):
            if self.only(kept).fits:
                break
            kept.remove(position)
        dropped = tuple(column.title for p, column in enumerate(self.columns) if p not in kept)
        return self.only(kept), dropped

    def only(self, positions: Sequence[int]) -> TextTable:
        """The table with these columns only, in their order."""
        kept = sorted(positions)
        rows = tuple(tuple(row[p] for p in kept) for row in self.rows)
        return replace(self, columns=tuple(self.columns[p] for p in kept), rows=rows)

    @cached_property
    def _longest(self) -> list[int]:
        cells = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.columns)
        return [max(map(cell_width, column), default=0) for column in cells]

    @cached_property
    def _least(self) -> list[int]:
        return [
            min(MIN_LABEL, max(longest, cell_width(column.title)))
            if column.is_label
            else max(longest, _folded_width(column.title))
            for column, longest in zip(self.columns, self._longest, strict=True)
        ]

    def _widths(self) -> list[int]:
        """The width of each column: room left over goes to the labels first, then to the headings."""
        wanted = [
            max(longest, cell_width(column.title))
            for column, longest in zip(self.columns, self._longest, strict=True)
        ]
        if self.width is None:
            return wanted
        widths = list(self._least)
        spare = self.width - sum(widths) - len(_GAP) * (len(widths) - 1)
        growing = [p for p, column in enumerate(self.columns) if column.is_label]
        growing += [p for p, column in enumerate(self.columns) if not column.is_label]
        while spare > 0 and (growing := [p for p in growing if widths[p] < wanted[p]]):
            labels = [p for p in growing if self.columns[p].is_label]
            for position in (labels or growing)[:spare]:
                widths[position] += 1
                spare -= 1
        return widths

    def _drawn(self) -> Part:
        widths = self._widths()
        titles = [_fold(column.title, width) for column, width in zip(self.columns, widths, strict=True)]
        height = max(map(len, titles))
        heading = zip(*([""] * (height - len(title)) + title for title in titles), strict=True)
        columns = [list(column) for column in zip(*self.rows, strict=True)]
        for position, cells in enumerate(columns):
            if self.columns[position].is_label:
                columns[position] = shorten_apart(cells, widths[position], self.ellipsis)
        return Part(
            tuple(self._line(line, widths) for line in heading),
            "─" * (sum(widths) + len(_GAP) * (len(widths) - 1)),
            tuple(self._line(row, widths) for row in zip(*columns, strict=True)),
        )

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        padded = []
        for cell, width, column in zip(cells, widths, self.columns, strict=True):
            blanks = " " * (width - cell_width(cell))
            padded.append(cell + blanks if column.is_label else blanks + cell)
        return _GAP.join(padded).rstrip()


def cell_width(text: str) -> int:
    """How many columns of a terminal a text takes: a Japanese character two, an accent by itself none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def shorten(text: str, width: int, ellipsis: str = ELLIPSIS, head: int | None = None) -> str:
    """The text in `width` columns; where it is longer, its middle is left out, behind `head` columns."""
    if cell_width(text) <= width:
        return text
    room = max(0, width - cell_width(ellipsis))
    start = _taken(text, room - room // 2 if head is None else head)
    end = _taken(text[::-1], room - cell_width(start))[::-1]
    return f"{start}{ellipsis}{end}"


def shorten_apart(texts: Sequence[str], width: int, ellipsis: str = ELLIPSIS) -> list[str]:
    """The texts in `width` columns each; texts that differ do so still, where there is a way."""
    whole = list(dict.fromkeys(texts))
    if all(cell_width(text) <= width for text in whole):
        return list(texts)
    room = max(0, width - cell_width(ellipsis))
    cuts = sorted(range(room + 1), key=lambda head: abs(2 * head - room))
    best = max(cuts, key=lambda head: len({shorten(text, width, ellipsis, head) for text in whole}))
    short = {text: shorten(text, width, ellipsis, best) for text in whole}
    for name, count in Counter(short.values()).items():
        alike = [text for text in whole if count > 1 and short[text] == name]
        common = _num_common(alike)
        for text in alike:
            # What tells them apart is in the middle: show from where they part.
            start = _taken(text, room // 3)
            short[text] = f"{start}{ellipsis}{shorten(text[common:], room - cell_width(start), ellipsis)}"
    return [short[text] for text in texts]


def _num_common(texts: Sequence[str]) -> int:
    """How many characters all texts begin with."""
    columns = enumerate(zip(*texts, strict=False))
    return next((place for place, found in columns if len(set(found)) > 1), min(map(len, texts), default=0))


def _taken(text: str, width: int) -> str:
    """As much of the beginning as fits into `width` columns."""
    used = 0
    for position, character in enumerate(text):
        used += cell_width(character)
        if used > width:
            return text[:position]
    return text


def _folded_width(title: str) -> int:
    return max((cell_width(piece) for _, piece in _pieces(title)), default=0)


def _pieces(title: str) -> Iterator[tuple[str, str]]:
    """Where a heading may be folded: at blanks, but not behind `±`, and in brackets (a metric) behind marks.

    Each piece comes with what joins it to the one before.
    """
    for word in re.findall(r"(?:± )?\S+", title):
        glue = " "
        for piece in _MARKED.findall(word) if word.startswith("(") else (word,):
            yield glue, piece
            glue = ""


def _fold(title: str, width: int) -> list[str]:
    """A heading in lines of `width` columns; a piece that is longer has its own line."""
    lines: list[str] = []
    for glue, piece in _pieces(title):
        if lines and cell_width(lines[-1] + glue + piece) <= width:
            lines[-1] += glue + piece
        else:
            lines.append(piece)
    return lines or [""]
