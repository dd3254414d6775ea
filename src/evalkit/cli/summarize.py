"""`evalkit summarize`: the numbers of stored runs as a table, or run groups by model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from evalkit.reports.grid import Question
    from evalkit.reports.leaderboard import Leaderboard
    from evalkit.results.run_directory import RunDirectory

_Paths = Annotated[
    list[Path] | None, typer.Argument(help="Runs, suites or output paths (default: benchmark_output).")
]
_Suite = Annotated[str | None, typer.Option("--suite", help="Only this suite of the output path.")]
_OutputPath = Annotated[Path, typer.Option("--output-path", "-o", help="Where results were written.")]
_Groups = Annotated[
    bool, typer.Option("--groups", help="Run groups by model: means, win rates, intervals, noise.")
]
_Group = Annotated[
    list[str] | None, typer.Option("--group", help="Only this run group, also a finer one; repeatable.")
]
_Metric = Annotated[
    str | None, typer.Option("--metric", help="With --groups: this metric instead of each group's own.")
]
_AllRuns = Annotated[
    bool, typer.Option("--all-runs", help="With --groups: one row per setting, each named by its setting.")
]
_BySplit = Annotated[bool, typer.Option("--by-split", help="Also the numbers per split.")]
_Usage = Annotated[bool, typer.Option("--usage", help="Also token counts and latencies.")]
_Efficiency = Annotated[
    bool, typer.Option("--efficiency", help="Show time, throughput and memory instead of scores.")
]
_Format = Annotated[str, typer.Option("--format", "-f", help="table, markdown, csv, json or latex.")]
_AsJson = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
_AsCsv = Annotated[bool, typer.Option("--csv", help="The same as --format csv.")]


def summarize_command(  # noqa: PLR0913 - one argument per flag
    paths: _Paths = None,
    suite: _Suite = None,
    output_path: _OutputPath = Path("benchmark_output"),
    groups: _Groups = False,
    group: _Group = None,
    metric: _Metric = None,
    all_runs: _AllRuns = False,
    by_split: _BySplit = False,
    usage: _Usage = False,
    efficiency: _Efficiency = False,
    output_format: _Format = "table",
    as_json: _AsJson = False,
    as_csv: _AsCsv = False,
) -> None:
    """Show the numbers of stored runs: mean, standard error, interval, how many were scored.

    Leaves out damaged runs, says how to repair them, and ends with 1. A run whose folder was copied into the
    suite counts once.
    """
    from evalkit.cli.output import echo_note
    from evalkit.cli.stored_runs import counted_runs
    from evalkit.errors import UsageError
    from evalkit.reports.grid import Question

    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other")
    chosen = checked_format("json" if as_json else "csv" if as_csv else output_format)
    by_group = groups or bool(group)
    _check_flags(by_group, metric=metric, all_runs=all_runs, efficiency=efficiency, others=by_split or usage)
    counted = counted_runs(paths or (), () if suite is None else (suite,), output_path)
    directories = counted.runs
    if efficiency:
        num_shown = _show_efficiency(directories, chosen)
    elif by_group:
        num_shown = _show_groups(directories, Question(tuple(group or ()), metric, all_runs), chosen)
    else:
        num_shown = _show_runs(directories, chosen, by_split=by_split, usage=usage)
    for note in counted.notes:
        echo_note(note)
    if num_shown < len(directories):
        raise typer.Exit(1)


def _check_flags(
    by_group: bool, *, metric: str | None, all_runs: bool, efficiency: bool, others: bool
) -> None:
    """Refuse flags that exclude each other, and flags that change nothing without another."""
    from evalkit.errors import UsageError

    if metric and not by_group:
        raise UsageError("--metric chooses what --groups shows; give both")
    if all_runs and not by_group:
        raise UsageError("--all-runs adds rows to what --groups shows; give both")
    if efficiency and (by_group or others):
        raise UsageError(
            "--efficiency shows another table; leave out --groups, --group, --by-split and --usage"
        )


def checked_format(name: str) -> str:
    """The name of a format that tables can have.

    Raises:
        UnknownNameError: It is not one.
    """
    from evalkit.errors import UnknownNameError
    from evalkit.reports.markup import FORMATS

    if name not in FORMATS:
        raise UnknownNameError("format", name, FORMATS, f"(there are {', '.join(FORMATS)})")
    return name


def _show_groups(directories: Sequence[RunDirectory], question: Question, chosen: str) -> int:
    from evalkit.cli.leaderboard_table import print_leaderboard
    from evalkit.cli.output import echo_note, echo_raw, print_json
    from evalkit.cli.stored_runs import from_sound_runs
    from evalkit.reports import markup
    from evalkit.reports.leaderboard import make_leaderboard
    from evalkit.results.stored_run import StoredRun

    def board_of(runs: Sequence[StoredRun]) -> Leaderboard:
        return make_leaderboard(runs, question.groups, question.metric, all_runs=question.all_runs)

    board, num_runs = from_sound_runs(directories, board_of)
    if board is None:
        return 0
    if chosen == "json":
        print_json({"rows": markup.leaderboard_records(board), "notes": list(board.notes)}, indent=True)
    elif chosen == "csv":
        echo_raw(markup.comma_separated(markup.leaderboard_records(board)))
    elif chosen == "markdown":
        echo_raw(markup.leaderboard_markdown(board))
    elif chosen == "latex":
        echo_raw(markup.leaderboard_latex(board))
    else:
        print_leaderboard(board)
    if chosen in ("table", "csv", "latex"):
        for note in board.notes:
            echo_note(note)
    return num_runs


def _show_runs(directories: Sequence[RunDirectory], chosen: str, *, by_split: bool, usage: bool) -> int:
    from evalkit.cli.output import echo_note, echo_raw, print_json
    from evalkit.cli.stored_runs import sound
    from evalkit.cli.table import COLUMNS, print_rows, shown_rows, without_answer
    from evalkit.reports import markup
    from evalkit.results.summary import found_lines, summary_rows

    found = sound(directories, lambda each: summary_rows([each], by_split=by_split, usage=usage))
    rows = [row for rows in found for row in rows]
    if chosen == "json":
        print_json(rows, indent=True)
    elif chosen == "csv":
        echo_raw(markup.comma_separated(rows, ("run", "metric")))
    elif chosen == "markdown":
        echo_raw(markup.markdown(COLUMNS, shown_rows(rows), num_left=2))
    elif chosen == "latex":
        echo_raw(markup.latex(COLUMNS, shown_rows(rows), num_left=2))
    else:
        print_rows(rows)
    if chosen in ("table", "markdown", "latex"):
        for line in without_answer(rows):
            echo_note(line)
        for line in _unfinished(rows):
            echo_note(f"{line}; its numbers cover only what was answered and scored")
        for line in found_lines(directories) if usage else ():
            echo_note(f"{line}; latency_s leaves them out")
    return len(found)


def _show_efficiency(directories: Sequence[RunDirectory], chosen: str) -> int:
    from evalkit.cli.output import echo_note, echo_raw, print_json, print_table
    from evalkit.cli.stored_runs import sound
    from evalkit.reports import markup
    from evalkit.reports.efficiency import efficiency_rows, has_numbers, shown_rows
    from evalkit.results.summary import found_lines

    rows = [row for rows in sound(directories, lambda each: efficiency_rows([each])) for row in rows]
    if chosen == "json":
        print_json(rows, indent=True)
    elif chosen == "csv":
        echo_raw(markup.comma_separated(rows, ("run",)))
    elif known := [row for row in rows if has_numbers(row)]:
        columns, texts = shown_rows(known)
        if chosen == "markdown":
            echo_raw(markup.markdown(columns, texts))
        elif chosen == "latex":
            echo_raw(markup.latex(columns, texts))
        else:
            print_table(columns, texts)
    for row in rows:
        if not has_numbers(row):
            why = "answers from earlier runs have none" if row["num_found"] else "baselines report none"
            echo_note(f"{row['run']} has no efficiency numbers; {why}")
    for line in found_lines(directories):
        echo_note(f"{line}; these numbers leave them out")
    for line in _unfinished([row for row in rows if has_numbers(row)]):
        echo_note(f"{line}; its numbers cover only the answered requests")
    return len(rows)


def _unfinished(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({f"{row['run']} is {row['status']}" for row in rows if row["status"] != "complete"})
