"""Gives a run its directory: its own from an earlier start, or a new one that never overwrites another."""

from __future__ import annotations

from pathlib import Path

from evalkit.engine.lock import RunLock
from evalkit.results.ledger import Subject
from evalkit.results.run_directory import RunDirectory, adopt_answers, choose_directory, set_aside


def claim_directory(subject: Subject, suite_path: Path, *, fresh: bool) -> tuple[RunDirectory, list[str]]:
    """The directory for a run, made if need be, and what the user should know about the choice.

    Args:
        subject: The run.
        suite_path: The folder of the suite.
        fresh: Move an earlier start of this very run out of the way.

    Raises:
        StoreError: `fresh` was asked for a run that another process is working on.
    """
    choice = choose_directory(suite_path, subject.run_spec.name, subject.digest, subject.identity)
    directory, notes = choice.directory, []
    if choice.differs and not choice.exists:
        fields = ", ".join(choice.differs)
        notes.append(f"a different run has this name; kept apart as {directory.path.name}: {fields}")
    if fresh and choice.exists:
        with RunLock(directory.lock_path):
            notes.append(f"set aside as {set_aside(directory)}")
    directory.path.mkdir(parents=True, exist_ok=True)
    if choice.reuse is not None and not fresh:
        adopt_answers(directory, choice.reuse)
        notes.append(f"only the metrics changed: taking over the answers of {choice.reuse.path.name}")
    return directory, notes
