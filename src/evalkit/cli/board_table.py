"""A filled leaderboard on a terminal: in the layout that shows most of it in the room there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evalkit.cli.output import echo, echo_folded, echo_note, print_parts, text_table
from evalkit.cli.text_table import MIN_LABEL, TableColumn, TextTable, shorten_apart
from evalkit.reports.boards.board import Board, BoardCell
from evalkit.reports.boards.board_markup import (
    LEAVES,
    RANK,
    UNITS,
    column_name,
    leaves_text,
    legend,
    number_parts,
    rank_text,
    units_text,
)

_SEE_ALL = "use a wider terminal, a pipe or --format markdown to see all"
_INDENT = "  "


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the table is laid out.

    Attributes:
        models_are_rows: Else the parts of the tree are, set in by their level.
        intervals: Next to the numbers, under them, or left out.
    """

    models_are_rows: bool
    intervals: str

    def describe(self) -> str:
        """What is left out; empty for nothing."""
        return "95% intervals are left out" if self.intervals == "left out" else ""


_WAYS = ("beside", "under", "left out")
# With more columns, the parts of the tree are rows if they can be.
_MOST_COLUMNS = 12


def print_board(board: Board) -> None:
    """Print the leaderboard, its legend, and what there was no room for."""
    layout, table = _choose(board)
    if board.title:
        echo(board.title, style="bold")
    if board.description:
        echo_folded(board.description)
    print_parts(table)
    echo()
    for line in legend(board):
        if layout.intervals == "left out":
            line = line.replace("; in brackets the 95% interval", "")
        elif layout.intervals == "under":
            line = line.replace("the 95% interval", "the 95% interval of the number above")
        echo_folded(line)
    said = [layout.describe()] if layout.describe() else []
    if not table.fits:
        said.append(f"the table is in {sum(1 for _ in table.parts())} parts")
    if said:
        echo_note(f"to fit into {table.width} columns, {' and '.join(said)}; {_SEE_ALL}")


def _layouts(board: Board) -> list[_Layout]:
    """The layouts, of which the first that fits is taken."""
    first = len(board.columns) <= _MOST_COLUMNS
    return [_Layout(models_are_rows, way) for way in _WAYS for models_are_rows in (first, not first)]


def _choose(board: Board) -> tuple[_Layout, TextTable]:
    for layout in _layouts(board):
        for longest in (None, MIN_LABEL):
            table = _table(board, layout, longest)
            if table.fits:
                return layout, table
    # In parts: as few as can be.
    bare = [layout for layout in _layouts(board) if layout.intervals == "left out"]
    tables = [(layout, _table(board, layout, MIN_LABEL)) for layout in bare]
    return min(tables, key=lambda found: sum(1 for _ in found[1].parts()))


def _table(board: Board, layout: _Layout, longest: int | None) -> TextTable:
    """The table in a layout.

    Args:
        board: The numbers.
        layout: Where they go.
        longest: Shorten names in the heading that are longer than this.
    """
    make = _models_as_rows if layout.models_are_rows else _parts_as_rows
    label, names, rows = make(board, layout.intervals)
    if longest is not None:
        names = shorten_apart(names, longest)
    heading = [TableColumn(label, is_label=True), *(TableColumn(name) for name in names)]
    return text_table(heading, rows)


def _models_as_rows(board: Board, intervals: str) -> tuple[str, list[str], Iterator[tuple[str, ...]]]:
    ranked = board.rank_by is not None
    names = [*([RANK] if ranked else []), *map(column_name, board.columns), LEAVES, UNITS]

    def rows() -> Iterator[tuple[str, ...]]:
        for row in board.rows:
            rank = [rank_text(row)] if ranked else []
            rest = [leaves_text(row), units_text(row)]
            yield (row.model, *rank, *_numbers(row.cells, intervals), *rest)
            if intervals == "under":
                yield ("", *[""] * len(rank), *_limits(row.cells), "", "")

    return "model", names, rows()


def _parts_as_rows(board: Board, intervals: str) -> tuple[str, list[str], Iterator[tuple[str, ...]]]:
    def rows() -> Iterator[tuple[str, ...]]:
        if board.rank_by is not None:
            yield (RANK, *map(rank_text, board.rows))
        for position, column in enumerate(board.columns):
            cells = [row.cells[position] for row in board.rows]
            yield (f"{_INDENT * (column.level - 1)}{column_name(column)}", *_numbers(cells, intervals))
            if intervals == "under":
                yield ("", *_limits(cells))
        yield (LEAVES, *map(leaves_text, board.rows))
        yield (UNITS, *map(units_text, board.rows))

    return "part", [row.model for row in board.rows], rows()


def _numbers(cells: Sequence[BoardCell], intervals: str) -> Iterator[str]:
    for cell in cells:
        number, interval, mark, coverage = number_parts(cell)
        shown = interval if intervals == "beside" else ""
        # Marks have their own place, so that numbers stand below each other.
        yield " ".join(filter(None, (number, coverage, shown))) + f" {mark or ' '}"


def _limits(cells: Sequence[BoardCell]) -> Iterator[str]:
    for cell in cells:
        yield number_parts(cell)[1]
