"""`evalkit run`: do the runs, show progress, end with a table and an exit code."""

from __future__ import annotations

from typing import Annotated

import typer

from evalkit.cli.nejumi import Select, ToConf, show_entries, show_row, with_model_file
from evalkit.cli.options import takes_run_options
from evalkit.runs.options import RunOptions

GC_THRESHOLD = 20_000


@takes_run_options
def run_command(
    *,
    options: RunOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table's rows as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, only the table.")] = False,
    to_conf: ToConf = None,
    select: Select = False,
) -> None:
    """Evaluate models on run entries or conf files. The same command again resumes an interrupted run."""
    import asyncio
    import gc

    from evalkit.cli.plan import show_plan
    from evalkit.cli.progress import DownloadProgress, progress_for
    from evalkit.runs.plan import make_plan, open_plan_context

    options = with_model_file(options, select=select, to_conf=to_conf)
    context = open_plan_context(options, on_download=None if quiet else DownloadProgress())
    show_entries(context, to_conf, quiet=quiet)
    plan = make_plan(context, fetch=not options.dry_run)
    if options.dry_run:
        raise typer.Exit(show_plan(plan, context, as_json=as_json))

    from evalkit.cli.console import lost_output
    from evalkit.cli.output import echo_note
    from evalkit.cli.table import show_results
    from evalkit.runs.runner import exit_code, run_all
    from evalkit.trackers.tracking import tracking

    # A run makes few reference cycles, so collecting them less often is safe and saves 5 to 15 % of the CPU.
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    # The scores are printed before the trackers finish, which may take some seconds.
    with tracking(context.trackers, echo_note) as tracked:
        with progress_for(quiet=quiet) as observer:
            results = asyncio.run(run_all(plan, context, observer, *tracked))
        show_results(results, options.suite_path, as_json=as_json, bad_entries=plan.bad_entries)
        if not as_json:
            show_row(context, results)
    if why := lost_output():
        echo_note(f"can't write to standard output: {why}; the results are in {options.suite_path}")
    raise typer.Exit(max(exit_code(results), 1 if plan.bad_entries else 0))
