"""How results are printed: JSON for programs, tables for people."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer

_WIDEST_COLUMN = 60


def print_json(value: Any, *, indent: bool = False) -> None:
    """Print a value as JSON, on one line unless `indent`."""
    from evalkit.codec import encode

    sys.stdout.write(encode(value, indent=indent, newline=True, default=str).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], numeric_from: int = 2) -> None:
    """Print a table; columns from `numeric_from` on are aligned right. Plain text without a terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(columns):
        right = position >= numeric_from
        table.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=right)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    if not console.is_terminal:
        console.width = 200
    console.print(table)


def print_columns(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns, one line each, cut to the width of a terminal; quick for hundreds of rows."""
    import shutil

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    widths = [min(_WIDEST_COLUMN, max(map(len, column))) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(each) for cell, each in zip(row, widths, strict=True))
        line = "  ".join(cells).rstrip()
        sys.stdout.write((line if len(line) <= width else line[: width - 1] + "…") + "\n")


def echo_note(message: str) -> None:
    """Print a remark to standard error."""
    typer.echo(f"note: {message}", err=True)
