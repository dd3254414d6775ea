"""The stored runs that a command is about: each once, damaged ones reported and left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from evalkit.results.copies import Counted
    from evalkit.results.run_directory import RunDirectory
    from evalkit.results.stored_run import StoredRun

_Run = TypeVar("_Run")
_Read = TypeVar("_Read")


def counted_runs(paths: Sequence[Path], suites: Sequence[str], output_path: Path) -> Counted:
    """The runs below some paths, or of some suites, each once.

    Args:
        paths: Runs, suites or output paths; without any, the suites of the output path, or all of it.
        suites: Names of suites; with paths, they say nothing.
        output_path: Where results were written.

    Raises:
        UsageError: A suite's name is malformed, or there is no run at a path.
    """
    from evalkit.folder_names import checked_suite
    from evalkit.results.copies import count_once
    from evalkit.results.run_directory import find_runs

    for suite in suites:
        checked_suite(suite)
    looked = list(paths) or [output_path / "runs" / suite for suite in suites] or [output_path]
    # A run that two of the paths hold is one run.
    found = list({run.path.resolve(): run for path in looked for run in find_runs(path)}.values())
    return count_once(found)


def sound(runs: Sequence[_Run], read: Callable[[_Run], _Read]) -> list[_Read]:
    """What is read of each run; damaged ones are reported, and left out."""
    from evalkit.cli.output import echo, remark
    from evalkit.errors import DamageError

    found = []
    for run in runs:
        try:
            found.append(read(run))
        except DamageError as error:
            echo(remark("error", f"left out a damaged run: {error}"), err=True)
    return found


def from_sound_runs(
    directories: Sequence[RunDirectory], make: Callable[[Sequence[StoredRun]], _Read]
) -> tuple[_Read | None, int]:
    """What is made of all sound runs, and how many they are; None without any."""
    from evalkit.errors import DamageError
    from evalkit.results.stored_run import StoredRun

    def checked(run: StoredRun) -> StoredRun:
        run.check("scores.jsonl", "instances.jsonl")
        return run

    runs = sound(directories, lambda directory: StoredRun.open(directory.path))
    if not runs:
        return None, 0
    try:
        return make(runs), len(runs)
    except DamageError:  # of a file that only some tables read
        runs = sound(runs, checked)
        return (make(runs), len(runs)) if runs else (None, 0)
