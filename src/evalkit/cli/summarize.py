"""`evalkit summarize`: the numbers of stored runs as a table, JSON or CSV."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def summarize_command(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Runs, suites or output paths (default: benchmark_output).")
    ] = None,
    suite: Annotated[str | None, typer.Option("--suite", help="Only this suite of the output path.")] = None,
    output_path: Annotated[
        Path, typer.Option("--output-path", "-o", help="Where results were written.")
    ] = Path("benchmark_output"),
    by_split: Annotated[bool, typer.Option("--by-split", help="Also the numbers per split.")] = False,
    usage: Annotated[bool, typer.Option("--usage", help="Also token counts and latencies.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Rows as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Rows as CSV.")] = False,
) -> None:
    """Show the numbers of stored runs: mean, standard error, interval, how many were scored."""
    from evalkit.cli.output import print_json
    from evalkit.errors import UsageError
    from evalkit.results.run_directory import find_runs
    from evalkit.results.summary import summary_rows

    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other")
    if paths is None:
        paths = [output_path / "runs" / suite if suite else output_path]
    directories = [run for path in paths for run in find_runs(path)]
    rows = summary_rows(directories, by_split=by_split, usage=usage)
    if as_json:
        print_json(rows, indent=True)
    elif as_csv:
        import csv

        fields = list(rows[0]) if rows else ["run", "metric"]
        writer = csv.DictWriter(sys.stdout, fieldnames=fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        from evalkit.cli.table import print_rows

        print_rows(rows)
        unfinished = sorted(
            {f"{row['run']} is {row['status']}" for row in rows if row["status"] != "complete"}
        )
        for line in unfinished:
            typer.echo(f"note: {line}; its numbers are over what was answered", err=True)
