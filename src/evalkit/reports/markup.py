"""A leaderboard, or any rows, as Markdown, LaTeX, CSV or plain data."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from evalkit.redaction import without_controls
from evalkit.reports.cell import Cell
from evalkit.reports.grid import Column
from evalkit.reports.leaderboard import Leaderboard

Format = Literal["table", "markdown", "csv", "json", "latex"]
FORMATS: tuple[Format, ...] = ("table", "markdown", "csv", "json", "latex")

BEST, NOISE = "*", "≈"
LEGEND = (
    f"{BEST} best of its column; {NOISE} its difference to the best may be chance (95%); "
    "in brackets the 95% interval"
)
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "≈": r"$\approx$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
_NO_NUMBER = "–"
_FORMULA_STARTS = ("=", "+", "-", "@")


def column_title(column: Column) -> str:
    """The heading of a column: group, metric, and which way is better if it is not up."""
    name = f"{column.name} ({column.metric})" if column.metric else column.name
    return f"{name} ↓" if column.lower_is_better else name


def name_title(column: Column) -> str:
    """The heading of a column without its metric."""
    return f"{column.name} ↓" if column.lower_is_better else column.name


def number_text(cell: Cell) -> str:
    """The number of a cell: `0.712`."""
    return _number(cell.value)


def interval_text(cell: Cell) -> str:
    """Its interval: `[0.694, 0.730]`; empty where there is none."""
    if cell.estimate.ci95 is None:
        return ""
    low, high = cell.estimate.ci95
    return f"[{_number(low)}, {_number(high)}]"


def cell_text(cell: Cell | None) -> str:
    """A cell on one line: `0.712 [0.694, 0.730] ≈`."""
    if cell is None:
        return _NO_NUMBER
    mark = BEST if cell.is_best else NOISE if cell.within_noise else ""
    return " ".join(part for part in (number_text(cell), interval_text(cell), mark) if part)


def text_rows(board: Leaderboard) -> Iterator[tuple[str, ...]]:
    """The rows of a leaderboard as texts, the model first."""
    for row in board.rows:
        yield (row.model, *(cell_text(cell) for cell in row.cells))


def titles(board: Leaderboard) -> tuple[str, ...]:
    """The headings that belong to `text_rows`."""
    return ("model", *(column_title(column) for column in board.columns))


def leaderboard_markdown(board: Leaderboard) -> str:
    """The leaderboard in Markdown, best numbers bold, with its legend and notes."""
    rows = []
    for row in board.rows:
        cells = [cell_text(cell) for cell in row.cells]
        for position, cell in enumerate(row.cells):
            if cell is not None and cell.is_best:
                number, _, rest = cells[position].removesuffix(f" {BEST}").partition(" ")
                cells[position] = f"**{number}** {rest}".rstrip()
        rows.append((row.model, *cells))
    legend = LEGEND.replace(f"{BEST} best of its column", "bold: best of its column")
    notes = "".join(f"- {without_markup(note)}\n" for note in board.notes)
    return f"{markdown(titles(board), rows)}\n{legend}.\n" + (f"\n{notes}" if notes else "")


def leaderboard_latex(board: Leaderboard) -> str:
    """The leaderboard as a LaTeX tabular, best numbers bold, with legend and notes; it needs no package."""
    rows = []
    for row in board.rows:
        texts = [escaped_latex(row.model)]
        for cell in row.cells:
            text = escaped_latex(cell_text(cell).removesuffix(f" {BEST}"))
            texts.append(rf"\textbf{{{text}}}" if cell is not None and cell.is_best else text)
        rows.append(texts)
    legend = LEGEND.replace(f"{BEST} best of its column", "bold: best of its column")
    return tabular_with_remarks(list(map(escaped_latex, titles(board))), rows, (legend, *board.notes))


def tabular_with_remarks(
    columns: Sequence[str], rows: Iterable[Sequence[str]], remarks: Iterable[str]
) -> str:
    """A LaTeX tabular of escaped texts, with remarks in small letters below."""
    lines = "".join(f"\\par {escaped_latex(line)}.\n" for line in remarks)
    return f"{_tabular(columns, rows, num_left=1)}{{\\footnotesize\n{lines}\\par}}\n"


def leaderboard_records(board: Leaderboard) -> list[dict[str, Any]]:
    """The leaderboard as one flat record per cell that has a number; for CSV and JSON."""
    return [
        {
            "model": row.model,
            "column": column.name,
            "metric": column.metric,
            "lower_is_better": column.lower_is_better,
            "value": cell.value,
            "ci95_low": cell.estimate.ci95[0] if cell.estimate.ci95 else None,
            "ci95_high": cell.estimate.ci95[1] if cell.estimate.ci95 else None,
            "is_best": cell.is_best,
            "within_noise": cell.within_noise,
            "num_runs": cell.num_runs,
            "num_runs_left_out": cell.num_left_out,
            "setting": cell.setting,
            "n": cell.n,
            "n_failed": cell.n_failed,
            "n_total": cell.n_total,
        }
        for row in board.rows
        for column, cell in zip(board.columns, row.cells, strict=True)
        if cell is not None
    ]


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]], num_left: int = 1) -> str:
    """A Markdown table; the first `num_left` columns are names, what follows are numbers, aligned right."""
    rule = ["---" if position < num_left else "---:" for position in range(len(columns))]
    lines = [list(map(without_markup, columns)), rule]
    lines += [[*map(without_markup, row[:num_left]), *row[num_left:]] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(columns: Sequence[str], rows: Iterable[Sequence[str]], num_left: int = 1) -> str:
    """A LaTeX tabular; columns from `num_left` on are aligned right."""
    return _tabular(
        [escaped_latex(column) for column in columns],
        [[escaped_latex(cell) for cell in row] for row in rows],
        num_left,
    )


def comma_separated(records: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Records as CSV with a heading; None is an empty field.

    Names come from elsewhere, and spreadsheets run a text that begins with `=`, `+`, `-` or `@` as a formula:
    it gets a `'` in front. Numbers have none.

    Args:
        records: All with the same fields.
        columns: The fields; by default those of the first record.
    """
    out = io.StringIO()
    fields = list(records[0]) if records else list(columns)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(_cell_of_csv, fields))
    writer.writerows([_cell_of_csv(record[name]) for name in fields] for record in records)
    return out.getvalue()


def _cell_of_csv(value: Any) -> Any:
    """On one line; a text that a spreadsheet would run as a formula, as a text."""
    if not isinstance(value, str):
        return value
    text = without_controls(value)
    return f"'{text}" if unicodedata.normalize("NFKC", text.lstrip())[:1] in _FORMULA_STARTS else text


def _tabular(columns: Sequence[str], rows: Iterable[Sequence[str]], num_left: int) -> str:
    layout = "l" * num_left + "r" * (len(columns) - num_left)
    lines = [rf"\begin{{tabular}}{{{layout}}}", r"\hline", " & ".join(columns) + r" \\", r"\hline"]
    lines += [" & ".join(row) + r" \\" for row in rows]
    return "\n".join([*lines, r"\hline", r"\end{tabular}"]) + "\n"


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:,.1f}"


def escaped_latex(text: str) -> str:
    """A text in which LaTeX sees no commands."""
    text = without_controls(text)
    return "".join(_LATEX.get(character, character) for character in text).replace("↓", r"$\downarrow$")


def without_markup(text: str) -> str:
    """A text in which Markdown sees no marks.

    Names come from elsewhere: a pipe would end the cell, a star or underscore would set it in italics.
    """
    text = without_controls(text)
    for character in "\\|*_<`":
        text = text.replace(character, f"\\{character}")
    return text.replace("](", "]\\(")  # else a link
