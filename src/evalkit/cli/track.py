"""`evalkit track`: report runs that ended before to trackers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def track_command(
    paths: Annotated[list[Path], typer.Argument(help="Runs, suites or output paths.")],
    trackers: Annotated[
        list[str],
        typer.Option("--tracker", "--trackers", help="A tracker, such as jsonl:path=events.jsonl."),
    ],
    plugins: Annotated[
        list[str] | None, typer.Option("--plugin", "--plugins", help="Plugins to load first.")
    ] = None,
) -> None:
    """Report finished runs to trackers, from what their directories hold; sends no request.

    Ends with 1 where a run has not ended or is damaged; the others are reported.
    """
    from evalkit.cli.output import echo_note
    from evalkit.errors import StoreError
    from evalkit.plugins import load_plugins
    from evalkit.results.run_directory import find_runs
    from evalkit.specs.plugin_call import parse_plugin_call
    from evalkit.trackers.stored_events import stored_events
    from evalkit.trackers.tracking import open_trackers

    load_plugins(plugins or ())
    calls = [parse_plugin_call("tracker", text) for text in trackers]
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
