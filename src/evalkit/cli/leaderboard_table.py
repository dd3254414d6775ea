"""The leaderboard on a terminal: in the layout that shows most of it in the room there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evalkit.cli.output import echo, echo_folded, echo_note, print_parts, text_table
from evalkit.cli.text_table import MIN_LABEL, TableColumn, TextTable, shorten_apart
from evalkit.reports.cell import Cell
from evalkit.reports.leaderboard import Leaderboard
from evalkit.reports.markup import BEST, NOISE, interval_text, name_title, number_text, titles

_SEE_ALL = "use a wider terminal, a pipe or --format markdown to see all"


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the table is laid out.

    Attributes:
        intervals: Next to the numbers, under them, or left out.
        is_transposed: One row per group, one column per model.
    """

    intervals: str
    is_transposed: bool = False

    def describe(self) -> str:
        """What is unusual about it; empty for the usual layout."""
        said = []
        if self.is_transposed:
            said.append("groups are rows")
        if self.intervals == "left out":
            said.append("95% intervals are left out")
        return " and ".join(said)


# The first that fits is taken.
_LAYOUTS = (
    _Layout("beside"),
    _Layout("under"),
    _Layout("left out"),
    _Layout("beside", is_transposed=True),
    _Layout("under", is_transposed=True),
    _Layout("left out", is_transposed=True),
)
_NO_NUMBER = "–"


def print_leaderboard(board: Leaderboard) -> None:
    """Print the leaderboard, its legend, and what there was no room for."""
    layout, table = _choose(board)
    print_parts(table)
    echo()
    where = "row" if layout.is_transposed else "column"
    echo(f"{BEST} best of its {where}; {NOISE} its difference to the best may be chance (95%)")
    if layout.is_transposed:
        echo_folded(_metrics(board))
    if layout.intervals != "left out":
        echo(f"in brackets the 95% interval{' of the number above' if layout.intervals == 'under' else ''}")
    said = [layout.describe()] if layout.describe() else []
    if not table.fits:
        said.append(f"the table is in {sum(1 for _ in table.parts())} parts")
    if said:
        echo_note(f"to fit into {table.width} columns, {' and '.join(said)}; {_SEE_ALL}")


def _choose(board: Leaderboard) -> tuple[_Layout, TextTable]:
    for layout in _LAYOUTS:
        for longest in (None, MIN_LABEL):
            table = _table(board, layout, longest)
            if table.fits:
                return layout, table
    # In parts: as few as can be.
    bare = (layout for layout in _LAYOUTS if layout.intervals == "left out")
    tables = [(layout, _table(board, layout, MIN_LABEL)) for layout in bare]
    return min(tables, key=lambda found: sum(1 for _ in found[1].parts()))


def _table(board: Leaderboard, layout: _Layout, longest: int | None) -> TextTable:
    """The table in a layout.

    Args:
        board: The numbers.
        layout: Where they go.
        longest: Shorten names in the heading that are longer than this.
    """
    label, *columns = titles(board)
    models = [row.model for row in board.rows]
    cells = [list(row.cells) for row in board.rows]
    if layout.is_transposed:
        label, columns, models = "group", models, [name_title(column) for column in board.columns]
        cells = [list(column) for column in zip(*cells, strict=True)]
    if longest is not None:
        columns = _short_names(columns, longest)
    heading = [TableColumn(label, is_label=True), *(TableColumn(title) for title in columns)]
    return text_table(heading, _rows(models, cells, layout.intervals))


def _metrics(board: Leaderboard) -> str:
    """The metric of each group: the most frequent one once."""
    metrics = [column.metric for column in board.columns if column.metric]
    usual = max(metrics, key=metrics.count)
    others = [f"{c.metric} ({c.name})" for c in board.columns if c.metric not in ("", usual)]
    return f"numbers are {', '.join([*others, f'else {usual}'])}" if others else f"numbers are {usual}"


def _short_names(titles_: Sequence[str], longest: int) -> list[str]:
    """The titles with their first word, a name, shortened; what follows it can be folded."""
    names = [title.partition(" (")[0] for title in titles_]
    return [
        short + title[len(name) :]
        for title, name, short in zip(titles_, names, shorten_apart(names, longest), strict=True)
    ]


def _rows(
    names: Sequence[str], cells: Sequence[Sequence[Cell | None]], intervals: str
) -> Iterator[tuple[str, ...]]:
    for name, row in zip(names, cells, strict=True):
        numbers = [_number(cell) for cell in row]
        limits = ["" if cell is None else interval_text(cell) for cell in row]
        if intervals == "beside":
            yield (name, *_beside(numbers, limits))
        else:
            yield (name, *numbers)
            if intervals == "under":
                yield ("", *limits)


def _number(cell: Cell | None) -> str:
    if cell is None:
        return f"{_NO_NUMBER}  "
    return f"{number_text(cell)} {BEST if cell.is_best else NOISE if cell.within_noise else ' '}"


def _beside(numbers: Sequence[str], limits: Sequence[str]) -> Iterator[str]:
    for number, interval in zip(numbers, limits, strict=True):
        yield f"{number[:-2]} {interval}{number[-2:]}" if interval else number
