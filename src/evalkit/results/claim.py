"""Gives a run its directory: its own from an earlier start, or a new one that never overwrites another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.errors import StoreError
from evalkit.execution.lock import RunLock
from evalkit.results.directory_choice import (
    choose_directory,
    folder_name,
    is_marked_name,
    set_aside,
)
from evalkit.results.manifest_writer import RunIdentity
from evalkit.results.run_directory import RunDirectory
from evalkit.specs.digest import RunDigest


def name_runs(runs: Iterable[tuple[str, RunDigest | None, Mapping[str, Any]]], suite_path: Path) -> list[str]:
    """What each run is called from its beginning to its end: as the directory that it will have.

    Args:
        runs: Names, digests and what these cover, in the order in which they are started.
        suite_path: The folder of the suite.
    """
    names: list[str] = []
    for name, digest, identity in runs:
        try:
            names.append(folder_name(suite_path, name, digest, identity, names))
        except StoreError:
            # What is wrong with its namesakes is said when the run is started.
            names.append(folder_name(suite_path, name, None, identity))
    return names


def claim_directory(
    run_identity: RunIdentity, path: Path, *, fresh: bool, answers_of: str = ""
) -> tuple[RunDirectory, list[str]]:
    """The directory of a run, made if need be, and what the user should know about it.

    Args:
        run_identity: The run.
        path: Where it is to be, with the name that `name_runs` gave it.
        fresh: Move an earlier start of this very run out of the way.
        answers_of: The run whose answers are judged; "" where they are to be asked for.

    Raises:
        StoreError: `fresh` was asked for a run that another process is working on, or another process has
            taken the directory.
    """
    name = run_identity.run_spec.name
    is_marked = is_marked_name(path.name, run_identity.digest)
    choice = choose_directory(
        path.parent, name, run_identity.digest, run_identity.identity, is_marked=is_marked
    )
    directory, notes = choice.directory, []
    if directory.path != path:
        raise StoreError(f"another process has just started a run named {path.name}; start this one again")
    if choice.differs and not choice.exists:
        fields = ", ".join(_with_files(line, run_identity.own_files) for line in choice.differs)
        sent = "its requests differ, so they are sent again"
        if choice.is_alike:
            sent = (
                "its requests are sent again" if fresh else "answers to the same requests are taken from it"
            )
        note = f"a different run is named {name}; kept apart as {directory.path.name}: {fields}; {sent}"
        if not answers_of and choice.is_alike and not fresh and _only_judges(choice.differs):
            answers_of = name
        if answers_of:
            note = f"the answers are those of {answers_of}, which stays as it is; only their judging differs"
        notes.append(note)
    if choice.displaces:
        with RunLock(directory.lock_path):
            aside = set_aside(directory)
        notes.append(f"an earlier start could not read its data and asked nothing; set aside as {aside}")
    if choice.exists and not fresh and directory.sound_manifest() is None:
        notes.append("its manifest is lost or damaged; it is made anew from the run spec and the journal")
    if fresh and choice.exists:
        with RunLock(directory.lock_path):
            notes.append(f"set aside as {set_aside(directory)}")
    directory.path.mkdir(parents=True, exist_ok=True)
    return directory, notes


def _only_judges(differs: Iterable[str]) -> bool:
    return all(line.startswith("judges") for line in differs)


def _with_files(line: str, own_files: Sequence[str]) -> str:
    """A difference in words where a digest alone would say nothing to the user."""
    if line.startswith("adapter_spec.max_eval_instances: "):
        return f"{line} (-m: another number of instances is another run)"
    if not line.startswith("data_digest: "):
        return line
    if own_files:
        return f"{line} (what is in {', '.join(own_files)}, or its name, has changed)"
    return f"{line} (its data files have another content)"
