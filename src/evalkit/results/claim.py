"""Gives a run its directory: its own from an earlier start, or a new one that never overwrites another."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from evalkit.engine.lock import RunLock
from evalkit.errors import StoreError
from evalkit.results.ledger import Subject
from evalkit.results.run_directory import (
    RunDirectory,
    adopt_answers,
    choose_directory,
    folder_name,
    is_marked_name,
    set_aside,
)
from evalkit.specs.digest import RunDigest


def name_runs(runs: Iterable[tuple[str, RunDigest | None]], suite_path: Path) -> list[str]:
    """What each run is called from its beginning to its end: as the directory that it will have.

    Args:
        runs: Names and digests, in the order in which they are started.
        suite_path: The folder of the suite.
    """
    names: list[str] = []
    for name, digest in runs:
        try:
            names.append(folder_name(suite_path, name, digest, names))
        except StoreError:
            # Which of its namesakes is damaged is said when the run is started.
            names.append(folder_name(suite_path, name, None))
    return names


def claim_directory(subject: Subject, path: Path, *, fresh: bool) -> tuple[RunDirectory, list[str]]:
    """The directory of a run, made if need be, and what the user should know about it.

    Args:
        subject: The run.
        path: Where it is to be, with the name that `name_runs` gave it.
        fresh: Move an earlier start of this very run out of the way.

    Raises:
        StoreError: `fresh` was asked for a run that another process is working on, or another process has
            taken the directory.
    """
    name = subject.run_spec.name
    is_marked = is_marked_name(path.name, subject.digest)
    choice = choose_directory(path.parent, name, subject.digest, subject.identity, is_marked=is_marked)
    directory, notes = choice.directory, []
    if directory.path != path:
        raise StoreError(f"another process has just started a run named {path.name}; start this one again")
    if choice.differs and not choice.exists:
        fields = ", ".join(choice.differs)
        notes.append(f"a different run is named {name}; kept apart as {directory.path.name}: {fields}")
    if fresh and choice.exists:
        with RunLock(directory.lock_path):
            notes.append(f"set aside as {set_aside(directory)}")
    directory.path.mkdir(parents=True, exist_ok=True)
    if choice.reuse is not None and not fresh:
        adopt_answers(directory, choice.reuse)
        notes.append(f"only the metrics changed: taking over the answers of {choice.reuse.path.name}")
    return directory, notes
