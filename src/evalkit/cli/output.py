"""How results are printed: JSON for programs, tables for people."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import IO, Any

from evalkit.cli import console
from evalkit.cli.text_table import ELLIPSIS, TableColumn, TextTable
from evalkit.redaction import CONTROLS, without_controls

_WIDEST_COLUMN = 60
_BOLD, _DIM, _PLAIN = "\033[1m", "\033[2m", "\033[0m"
_LINE_AT_THE_MARGIN, _SET_IN = re.compile(r"\n(?=\S)"), "\n  "
_SEE_ALL = "use a wider terminal, a pipe or --json to see all"


def echo(text: str = "", *, err: bool = False, style: str = "") -> None:
    """Print a line; what a terminal would obey is written out.

    Args:
        text: The line.
        err: To standard error.
        style: `bold` or `dim`, on a terminal.
    """
    if err:
        # In a file that takes both, lines stay in order.
        sys.stdout.flush()
    stream = sys.stderr if err else sys.stdout
    text = without_controls(text, lines=True)
    if style and stream.isatty():
        text = f"{_BOLD if style == 'bold' else _DIM}{text}{_PLAIN}"
    stream.write(text + "\n")


def print_json(value: Any, *, indent: bool = False) -> None:
    """Print a value as JSON, on one line unless `indent`; in plain letters where the stream has no others.

    What a terminal obeys is escaped too, which to JSON is the same.
    """
    from evalkit.codec import encode

    text = encode(value, indent=indent, newline=True, default=str).decode()
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except (LookupError, UnicodeEncodeError):
        text = re.sub(r"[^\x00-\x7f]", _json_escape, text)
    # The line breaks of the layout stay; those in texts are escaped already.
    sys.stdout.write(CONTROLS.sub(lambda found: found[0] if found[0] == "\n" else _json_escape(found), text))


def text_table(columns: Sequence[TableColumn], rows: Iterable[Sequence[str]]) -> TextTable:
    """A table for the width and the characters of standard output."""
    spelled = (tuple(map(printable, row)) for row in rows)
    titled = (
        TableColumn(console.spelled(column.title), column.is_label, column.dropped) for column in columns
    )
    return TextTable(tuple(titled), tuple(spelled), console.width(), console.spelled(ELLIPSIS))


def print_table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], *, num_labels: int = 1, dropped: Sequence[str] = ()
) -> None:
    """Print a table that fits the terminal.

    Args:
        titles: The headings.
        rows: The cells.
        num_labels: How many columns from the left are names; the others are numbers.
        dropped: Titles of columns that are left out, in this order, where there is no room; a note says so.
    """
    order = {title: number for number, title in enumerate(dropped, 1)}
    columns = [
        TableColumn(title, position < num_labels, order.get(title, 0))
        for position, title in enumerate(titles)
    ]
    table, missing = text_table(columns, rows).fitted()
    print_parts(table)
    if missing:
        echo_note(f"no room in {table.width} columns for: {', '.join(missing)}; {_SEE_ALL}")


def print_parts(table: TextTable) -> None:
    """Print a table, the parts of one that is too wide one below the other."""
    for number, part in enumerate(table.parts()):
        if number:
            echo()
        for line in part.heading:
            echo(line, style="bold")
        for line in (part.rule, *part.rows):
            echo(console.spelled(line))


def print_columns(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns, one line each, cut to the width of a terminal; quick for hundreds of rows."""
    width = console.width() or sys.maxsize
    rows = [[console.spelled(cell) for cell in row] for row in rows]
    mark = console.spelled(ELLIPSIS)
    widths = [min(_WIDEST_COLUMN, max(map(len, column))) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(each) for cell, each in zip(row, widths, strict=True))
        line = "  ".join(cells).rstrip()
        echo(line if len(line) <= width else line[: max(0, width - len(mark))] + mark)


def echo_folded(text: str, *, err: bool = False) -> None:
    """Print a text in lines that fit, folded between words."""
    width = console.width()
    if width is not None:
        text = textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
    echo(text, err=err)


def echo_note(message: str) -> None:
    """Print a remark to standard error; on a terminal folded between words."""
    show = echo_folded if sys.stderr.isatty() else echo
    show(remark("note", message), err=True)


def remark(kind: str, message: object) -> str:
    """`note: …` or `error: …`; its further lines are set in, so that none can pass for another remark."""
    return f"{kind}: {_LINE_AT_THE_MARGIN.sub(_SET_IN, str(message))}"


def echo_raw(text: str) -> None:
    """Print a text that has its own line breaks."""
    sys.stdout.write(without_controls(text, lines=True))


def printable(cell: str, stream: IO[str] | None = None) -> str:
    """A cell as it will be written; a line break or an escape sequence in a name would break the table."""
    text = console.spelled(cell, stream)
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _json_escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))
