"""A filled leaderboard as Markdown, LaTeX, CSV or plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from evalkit.reports import markup
from evalkit.reports.boards.board import Board, BoardCell, BoardColumn, BoardRow
from evalkit.reports.cell import Cell

RANK, LEAVES, UNITS = "rank", "leaves", "n"
_NO_NUMBER = "–"


def legend(board: Board) -> list[str]:
    """What the marks of a table mean."""
    lines = [
        f"{markup.BEST} best of its column; {markup.NOISE} its difference to the best may be chance (95%); "
        "in brackets the 95% interval"
    ]
    cells = [cell for row in board.rows for cell in row.cells]
    if any(cell.missing for cell in cells):
        lines.append(
            f"(3/4) over 3 of its 4 leaves, the others are missing; {_NO_NUMBER} (3/4) no number, since "
            f"leaves are missing; {_NO_NUMBER} all are missing"
        )
    if board.rank_by is not None:
        how = (
            "all pairs of models are compared by questions, p-values adjusted by Holm's method"
            if board.rank_method == "comparison"
            else "the middle 95% of the ranks in 1,000 tables drawn anew within the intervals"
        )
        lines.append(
            f"{RANK}: by {board.rank_by}, among the models with most of its leaves; in brackets the ranks "
            f"that a model may have: {how}"
        )
    lines.append(f"{LEAVES}: of the whole leaderboard; {UNITS}: scored units behind them")
    return lines


def column_name(column: BoardColumn) -> str:
    """The heading of a column, with its direction if less is better."""
    return f"{column.name} ↓" if column.less_is_better else column.name


def number_parts(cell: BoardCell) -> tuple[str, str, str, str]:
    """Number, interval, mark and coverage of a cell, each empty where there is none."""
    coverage = f"({cell.num_present}/{cell.num_leaves})" if cell.missing and cell.num_present else ""
    if cell.estimate is None:
        return (_NO_NUMBER if cell.num_leaves else "", "", "", coverage)
    plain = Cell(cell.estimate)
    mark = markup.BEST if cell.is_best else markup.NOISE if cell.within_noise else ""
    return markup.number_text(plain), markup.interval_text(plain), mark, coverage


def rank_text(row: BoardRow) -> str:
    """The rank of a model and the ranks it may have: `2 [1–3]`."""
    if row.rank is None:
        return _NO_NUMBER
    return f"{row.rank} [{row.ranks}]" if row.ranks is not None else str(row.rank)


def leaves_text(row: BoardRow) -> str:
    """How many leaves a model has."""
    return f"{row.num_present}/{row.num_leaves}"


def units_text(row: BoardRow) -> str:
    """How many units were scored, and of how many if some were not."""
    return f"{row.n:,}" if row.n == row.n_total else f"{row.n:,} of {row.n_total:,}"


def titles(board: Board) -> tuple[str, ...]:
    """The headings of `text_rows`."""
    rank = (RANK,) if board.rank_by is not None else ()
    return ("model", *rank, *map(column_name, board.columns), LEAVES, UNITS)


def text_rows(board: Board) -> Iterator[tuple[str, ...]]:
    """The rows as texts, the model first."""
    for row in board.rows:
        rank = (rank_text(row),) if board.rank_by is not None else ()
        cells = (" ".join(filter(None, number_parts(cell))) for cell in row.cells)
        yield (row.model, *rank, *cells, leaves_text(row), units_text(row))


def board_markdown(board: Board) -> str:
    """The leaderboard in Markdown, with its legend and notes; best numbers bold."""
    rows = _with_bold(board, str, lambda number: f"**{number}**")
    remarks = [line.replace(f"{markup.BEST} best", "bold: best") for line in legend(board)]
    lines = "".join(f"- {markup.without_markup(line)}\n" for line in (*remarks, *board.notes))
    title = f"## {markup.without_markup(board.title)}\n\n" if board.title else ""
    about = f"{markup.without_markup(board.description)}\n\n" if board.description else ""
    return f"{title}{about}{markup.markdown(titles(board), rows)}\n{lines}"


def board_latex(board: Board) -> str:
    """The leaderboard as a LaTeX tabular with legend and notes; it needs no package but one for Japanese."""
    rows = _with_bold(board, markup.escaped_latex, lambda number: rf"\textbf{{{number}}}")
    named = ([markup.escaped_latex(model), *rest] for model, *rest in rows)
    remarks = [line.replace(f"{markup.BEST} best", "bold: best") for line in legend(board)]
    return markup.tabular_with_remarks(
        list(map(markup.escaped_latex, titles(board))), list(named), (*remarks, *board.notes)
    )


def _with_bold(board: Board, escape: Callable[[str], str], bold: Callable[[str], str]) -> Iterator[list[str]]:
    """The rows as texts, with bold numbers in place of marks of the best; the name of the model as it is."""
    for row in board.rows:
        texts = [row.model]
        if board.rank_by is not None:
            texts.append(escape(rank_text(row)))
        for cell in row.cells:
            number, interval, mark, coverage = map(escape, number_parts(cell))
            if cell.is_best:
                number, mark = bold(number), ""
            texts.append(" ".join(filter(None, (number, interval, mark, coverage))))
        yield [*texts, leaves_text(row), units_text(row)]


def board_data(board: Board) -> dict[str, Any]:
    """The leaderboard as plain data: a record for every cell, one for every model, and the notes."""
    return {
        "title": board.title,
        "description": board.description,
        "rank_by": board.rank_by,
        "rank_method": board.rank_method if board.rank_by is not None else None,
        "rows": cell_records(board),
        "models": [_model_record(row) for row in board.rows],
        "notes": list(board.notes),
    }


def cell_records(board: Board) -> list[dict[str, Any]]:
    """One flat record per model and column, also where there is no number."""
    return [
        {
            "model": row.model,
            "column": column.name,
            "level": column.level,
            "metric": column.metric,
            "less_is_better": column.less_is_better,
            "status": cell.status,
            "value": cell.estimate.value if cell.estimate else None,
            "ci95_low": cell.estimate.ci95[0] if cell.estimate and cell.estimate.ci95 else None,
            "ci95_high": cell.estimate.ci95[1] if cell.estimate and cell.estimate.ci95 else None,
            "is_best": cell.is_best,
            "within_noise": cell.within_noise,
            "num_leaves": cell.num_leaves,
            "num_leaves_present": cell.num_present,
            "missing": list(cell.missing),
            "why": cell.why,
            "num_runs": cell.num_runs,
            "num_runs_left_out": cell.num_left_out,
            "setting": cell.setting,
            "n": cell.n,
            "n_failed": cell.n_failed,
            "n_total": cell.n_total,
        }
        for row in board.rows
        for column, cell in zip(board.columns, row.cells, strict=True)
        if cell.num_leaves
    ]


def flat_records(board: Board) -> list[dict[str, Any]]:
    """The same with the names of missing leaves as one text, for CSV."""
    return [{**record, "missing": "; ".join(record["missing"])} for record in cell_records(board)]


def row_records(board: Board) -> list[dict[str, Any]]:
    """One wide record per model: its numbers under the names of their columns."""
    return [
        {
            "model_name": row.model,
            **{
                column.name: cell.estimate.value if cell.estimate else None
                for column, cell in zip(board.columns, row.cells, strict=True)
                if cell.num_leaves
            },
            **{name: value for name, value in _model_record(row).items() if name != "model_name"},
        }
        for row in board.rows
    ]


def _model_record(row: BoardRow) -> dict[str, Any]:
    return {
        "model_name": row.model,
        "rank": row.rank,
        "rank_best": row.ranks.best if row.ranks else None,
        "rank_worst": row.ranks.worst if row.ranks else None,
        "num_leaves": row.num_leaves,
        "num_leaves_present": row.num_present,
        "n": row.n,
        "n_failed": row.n_failed,
    }
