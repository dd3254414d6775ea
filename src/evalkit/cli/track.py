"""`evalkit track`: report runs that ended before to trackers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def track_command(
    paths: Annotated[list[Path], typer.Argument(help="Runs, suites or output paths.")],
    trackers: Annotated[
        list[str] | None,
        typer.Option("--tracker", "--trackers", help="A tracker, such as jsonl:path=events.jsonl."),
    ] = None,
    wandb: Annotated[
        str | None, typer.Option("--wandb", help="A W&B project, written entity/project or project.")
    ] = None,
    plugins: Annotated[
        list[str] | None, typer.Option("--plugin", "--plugins", help="Plugins to load first.")
    ] = None,
) -> None:
    """Report finished runs to trackers, from what their directories hold; sends no request.

    Ends with 1 where a run has not ended or is damaged; the others are reported.
    """
    from evalkit.cli.output import echo_note
    from evalkit.errors import StoreError, UsageError
    from evalkit.plugins import load_plugins
    from evalkit.results.run_directory import find_runs
    from evalkit.runs.options import wandb_call
    from evalkit.specs.plugin_call import parse_plugin_call
    from evalkit.trackers.stored_events import stored_events
    from evalkit.trackers.tracking import open_trackers

    load_plugins(plugins or ())
    texts = [*(trackers or ()), *([wandb_call(wandb)] if wandb else [])]
    if not texts:
        raise UsageError("name a tracker: --tracker jsonl:path=events.jsonl, or --wandb entity/project")
    calls = [parse_plugin_call("tracker", text) for text in texts]
    directories = list(dict.fromkeys(run for path in paths for run in find_runs(path)))
    num_left = 0
    with open_trackers(calls) as track:
        for directory in directories:
            try:
                events = list(stored_events(directory.path))
            except StoreError as error:
                num_left += 1
                echo_note(str(error))
                continue
            for event, at in events:
                track(event, at)
    if num_left:
        raise typer.Exit(1)
