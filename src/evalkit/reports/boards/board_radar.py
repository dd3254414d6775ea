"""Columns of a filled leaderboard as a radar chart."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.errors import UnknownNameError, UsageError
from evalkit.leaderboards.resolved import Leaderboard
from evalkit.leaderboards.tree import RadarSpec
from evalkit.reports.boards.board import Board, BoardColumn, BoardRow
from evalkit.reports.cell import Interval
from evalkit.reports.plots.radar import Radar, Series
from evalkit.reports.plots.series_style import MOST_SERIES

_MOST_NAMED = 6
_Value = tuple[float | None, Interval | None]


def radar_spec(leaderboard: Leaderboard, wanted: Sequence[str]) -> RadarSpec:
    """What a radar chart is to show.

    Args:
        leaderboard: The tree.
        wanted: The name of one of its charts, or names of columns; by default its first chart, or where it
            has none the parts of its first node.

    Raises:
        UsageError: There is no such chart or column, or no chart and no node with three parts.
    """
    charts = {spec.name: spec for spec in leaderboard.radars}
    if len(wanted) == 1 and wanted[0] in charts:
        return charts[wanted[0]]
    for name in wanted:
        if name not in leaderboard.nodes:
            raise UnknownNameError("chart or column", name, [*charts, *leaderboard.nodes])
    axes = list(wanted)
    if not wanted:
        if charts:
            return next(iter(charts.values()))
        first = next(iter(leaderboard.nodes.values()))
        axes = [share.name for share in first.parts]
    if len(axes) < 3:
        raise UsageError(
            f"a radar chart needs three columns or more, and this one has {len(axes)}; name each with --axes"
        )
    return RadarSpec(name="axes", title=leaderboard.title, axes=tuple(axes))


def radar_of(board: Board, spec: RadarSpec) -> Radar:
    """The chart of the first rows of a board, which has the columns of all levels."""
    positions = {column.name: number for number, column in enumerate(board.columns)}
    columns = [board.columns[positions[axis]] for axis in spec.axes]
    rows = board.rows[:MOST_SERIES]
    series = []
    for row in rows:
        found = [_value(row, positions[column.name], column, spec) for column in columns]
        values, intervals = (tuple(part) for part in zip(*found, strict=True))
        series.append(Series(row.model, values, intervals))
    low, high = spec.range
    return Radar(
        spec.title or board.title,
        tuple(_axis_name(column) for column in columns),
        tuple(series),
        low,
        high,
        tuple(_notes(board, rows, columns, [positions[c.name] for c in columns], series, spec)),
    )


def _axis_name(column: BoardColumn) -> str:
    return f"{column.name} (less is better, turned round)" if column.less_is_better else column.name


def _value(row: BoardRow, position: int, column: BoardColumn, spec: RadarSpec) -> _Value:
    estimate = row.cells[position].estimate
    if estimate is None:
        return None, None
    if not column.less_is_better:
        return estimate.value, estimate.ci95
    low, high = spec.range
    turned = None if estimate.ci95 is None else tuple(low + high - limit for limit in estimate.ci95[::-1])
    return low + high - estimate.value, None if turned is None else (turned[0], turned[1])


def _notes(
    board: Board,
    rows: Sequence[BoardRow],
    columns: Sequence[BoardColumn],
    positions: Sequence[int],
    series: Sequence[Series],
    spec: RadarSpec,
) -> list[str]:
    notes = ["Bars: 95% intervals. The area of a line means nothing."]
    partial = [
        f"{row.model}, {column.name} ({row.cells[position].num_present}/{row.cells[position].num_leaves})"
        for row in rows
        for column, position in zip(columns, positions, strict=True)
        if row.cells[position].status == "partial"
    ]
    if partial:
        notes.append(f"Over some of their leaves only: {_named(partial)}.")
    low, high = spec.range
    outside = [
        f"{one.label}, {column.name} ({value:.3g})"
        for one in series
        for column, value in zip(columns, one.values, strict=True)
        if value is not None and not low <= value <= high
    ]
    if outside:
        notes.append(f"Outside of {low:g} to {high:g}, and drawn at its end: {_named(outside)}.")
    if len(board.rows) > len(rows):
        notes.append(f"The first {len(rows)} of {len(board.rows)} models.")
    return notes


def _named(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return "; ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
