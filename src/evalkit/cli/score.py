"""`evalkit score`: recompute the metrics of stored runs from their journals; sends nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evalkit.cli.options import SandboxOption


def score_command(
    paths: Annotated[list[Path], typer.Argument(help="Runs, suites or output paths.")],
    plugins: Annotated[
        list[str] | None, typer.Option("--plugin", "--plugins", help="Plugins that the runs' metrics need.")
    ] = None,
    allow_fewer: Annotated[
        bool, typer.Option("--allow-fewer", help="Replace numbers even if fewer answers are left.")
    ] = False,
    sandbox: SandboxOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Rows as JSON.")] = False,
) -> None:
    """Recompute the metrics of stored runs from their stored answers, without any request.

    Ends with 1 where answers are damaged or missing: the run is then partial, and `evalkit run` asks again.
    It also ends with 1 where a metric fails to give a score; once none fails, the run is complete.
    """
    from evalkit.cli.output import echo_note, print_json
    from evalkit.cli.table import print_rows
    from evalkit.errors import UnknownNameError, UsageError
    from evalkit.execution.lock import RunLock
    from evalkit.plugins import load_plugins
    from evalkit.results.copies import count_once
    from evalkit.results.run_directory import find_runs
    from evalkit.results.scores import score_run
    from evalkit.results.summary import summary_rows
    from evalkit.sandbox.choice import choose

    choose(sandbox)
    load_plugins(plugins or ())
    directories = [run for path in paths for run in find_runs(path)]
    is_sound = True
    for directory in directories:
        with RunLock(directory.lock_path):
            try:
                problems = score_run(directory, allow_fewer=allow_fewer).problems
            except UnknownNameError as error:
                message = (
                    f"{directory.path.name}: {error}; if a plugin defines it, name the plugin with --plugin"
                )
                raise UsageError(message) from None
        for problem in problems:
            is_sound = False
            echo_note(f"{directory.path.name}: {problem}")
    counted = count_once(directories)
    rows = summary_rows(counted.runs)
    if as_json:
        print_json(rows, indent=True)
    else:
        print_rows(rows)
    for note in counted.notes:
        echo_note(note)
    if not is_sound:
        raise typer.Exit(1)
