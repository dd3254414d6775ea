"""Configs of Nejumi on the command line: which entries they become, and which model's file is meant."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evalkit.cli.output import echo, echo_note
from evalkit.errors import UsageError
from evalkit.runs.options import RunOptions

if TYPE_CHECKING:
    from evalkit.results.run_result import RunResult
    from evalkit.runs.plan import PlanContext

ToConf = Annotated[
    Path | None,
    typer.Option("--to-conf", help="Also write what --nejumi-config becomes as a conf file."),
]
Select = Annotated[
    bool, typer.Option("--select", "-s", help="Choose the model's file of --nejumi-config from a list.")
]


def with_model_file(options: RunOptions, *, select: bool, to_conf: Path | None) -> RunOptions:
    """The options, with the file of a model that the user chooses from a list if `select` asks for it.

    Raises:
        UsageError: There is no config of Nejumi, nothing to choose from, or nobody at the terminal.
    """
    if not options.nejumi_config:
        for name in ("--select (-s)",) * select + ("--to-conf",) * (to_conf is not None):
            raise UsageError(f"{name} goes with --nejumi-config")
        return options
    if not select:
        return options
    from evalkit.interchange.nejumi.reading import model_files

    if options.conf_paths:
        raise UsageError("-c names the model's file, and -s chooses one; leave one out")
    first = options.nejumi_config[0]
    folder = first if first.is_dir() else first.parent
    files = model_files(folder)
    if not files:
        raise UsageError(f"{folder} has no file of a model")
    return options.model_copy(update={"conf_paths": (_chosen(files, folder),)})


def _chosen(files: list[Path], folder: Path) -> Path:
    """The file whose number the user types; `-c` is the way without a terminal."""
    if not sys.stdin.isatty():
        raise UsageError("-s asks at a terminal, and standard input is none; name the model's file with -c")
    echo(f"Models in {folder}:", err=True)
    for number, path in enumerate(files, start=1):
        echo(f"{number:4}  {path.stem}", err=True)
    chosen: int = typer.prompt("Number", type=int, err=True)
    if not 1 <= chosen <= len(files):
        raise UsageError(f"there is no model {chosen}; the list has {len(files)}")
    return files[chosen - 1]


def show_entries(context: PlanContext, to_conf: Path | None, *, quiet: bool) -> None:
    """Print the run entries that a config of Nejumi becomes, and write them to a conf file if asked to.

    Raises:
        ConfigError: The conf file can't be written.
    """
    runs = context.nejumi
    if runs is None:
        return
    from evalkit.interchange.nejumi.nejumi_runs import lines_of, write_conf

    if not quiet:
        names = " and ".join(map(str, runs.sources))
        echo(f"{names}: {len(runs.entries)} run entries of the leaderboard '{runs.leaderboard}'", err=True)
        for entry in runs.entries:
            echo(f"  {lines_of(entry)}", err=True)
    if to_conf is not None:
        write_conf(runs, context.models, to_conf)
        echo(f"wrote {to_conf}", err=True)


def show_row(context: PlanContext, results: Sequence[RunResult]) -> None:
    """Print the row that the runs of a config of Nejumi have in its leaderboard, with all columns."""
    from evalkit.results.run_directory import RunDirectory

    runs = context.nejumi
    directories = [RunDirectory(result.path) for result in results if result.path is not None]
    if runs is None or not runs.has_row or not directories:
        return
    from evalkit.cli.board_table import print_board
    from evalkit.cli.stored_runs import from_sound_runs
    from evalkit.leaderboards.tree_file import Options, load_leaderboard
    from evalkit.reports.boards.board import make_board

    tree = load_leaderboard(runs.leaderboard, Options(runs.parameters))
    try:
        board, _ = from_sound_runs(directories, lambda stored: make_board(tree, stored, by_suite=False))
    except UsageError as error:  # no run has a number
        echo_note(f"no row of the leaderboard '{runs.leaderboard}': {error}")
        return
    if board is None:
        return
    names = {model.name: model.display_name for model in runs.models if model.display_name}
    rows = tuple(replace(row, model=names.get(row.model, row.model)) for row in board.rows)
    echo()
    print_board(replace(board, rows=rows))
    for note in board.notes:
        echo_note(note)
