"""Which directory a run gets: its own from an earlier start, or a new one.

A run name is a label; the digest says what a run is. A second spec of one name gets `<name>@<digest8>`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.folder_names import earlier_folder_of, folder_of
from evalkit.results.integrity import occupancy
from evalkit.results.manifest import Manifest
from evalkit.results.run_directory import RunDirectory
from evalkit.specs.digest import RunDigest, differing_fields, single_request_digest


@dataclass(frozen=True, slots=True)
class DirectoryChoice:
    """Which directory a run gets, and why.

    Attributes:
        exists: It holds a run of this very digest, to be resumed.
        displaces: It holds a start that asked nothing, since its data could not be read; to be set aside.
        differs: How the run that has the plain name differs from this one, as `field: theirs -> ours`.
        is_alike: That run asks for the same answers in the same way, as far as both ask: its answers will do.
    """

    directory: RunDirectory
    exists: bool
    displaces: bool = False
    differs: tuple[str, ...] = ()
    is_alike: bool = False


def folder_name(
    suite_path: Path,
    name: str,
    digest: RunDigest | None,
    identity: Mapping[str, Any],
    taken: Collection[str] = (),
) -> str:
    """The name of the directory that a run will have, before it has one.

    Args:
        suite_path: The folder of its suite.
        name: The run's name.
        digest: The run's digest; None where it is not known, so that the run can't be started.
        identity: What the digest covers.
        taken: Directories that other runs are to have first.

    Raises:
        StoreError: A directory of this name is of a newer format.
    """
    label = folder_of(name)
    if digest is None:
        return label
    if (earlier := _earlier_directory(suite_path, name, digest)) is not None:
        return earlier.path.name
    plain, marked = RunDirectory(suite_path / label), _marked_directory(suite_path, label, digest)
    holder = occupancy(plain, digest, identity)
    if holder != "free" and not (holder == "other" and _never_began(plain)):
        return label if holder == "ours" else marked.path.name
    is_free = label not in taken and occupancy(marked, digest, identity) == "free"
    return label if is_free else marked.path.name


def is_marked_name(folder: str, digest: RunDigest) -> bool:
    """Whether a directory is the marked one next to a directory with the plain name."""
    return f"@{digest.full[:8]}" in folder


def _marked_directory(suite_path: Path, label: str, digest: RunDigest) -> RunDirectory:
    """The marked directory next to one with the plain name; a run with such a name keeps its own."""
    for length in (8, 16):
        directory = RunDirectory(suite_path / f"{label}@{digest.full[:length]}")
        holder = directory.sound_manifest()
        if holder is None or holder.digest == digest.full:
            return directory
    return RunDirectory(suite_path / f"{label}@{digest.full[:32]}")


def _earlier_directory(suite_path: Path, name: str, digest: RunDigest) -> RunDirectory | None:
    """Where an earlier version kept this very run, under a name that is spelled otherwise today."""
    if (label := earlier_folder_of(name)) is None:
        return None
    for path in (suite_path / label, suite_path / f"{label}@{digest.full[:8]}"):
        directory = RunDirectory(path)
        holder = directory.sound_manifest()
        if holder is not None and holder.digest == digest.full:
            return directory
    return None


def choose_directory(
    suite_path: Path, name: str, digest: RunDigest, identity: Mapping[str, Any], *, is_marked: bool = False
) -> DirectoryChoice:
    """The directory for a run: its own if it was started before, else a new one for the same name.

    Args:
        suite_path: The folder of its suite.
        name: The run's name.
        digest: The run's digest.
        identity: What the digest covers.
        is_marked: Leave the plain name to another run, even if that has not come yet.
    """
    if (earlier := _earlier_directory(suite_path, name, digest)) is not None:
        return DirectoryChoice(earlier, exists=True)
    label = folder_of(name)
    plain = RunDirectory(suite_path / label)
    marked = _marked_directory(suite_path, label, digest)
    holder = occupancy(plain, digest, identity)
    if holder == "ours":
        return DirectoryChoice(plain, exists=True)
    if occupancy(marked, digest, identity) != "free":
        return DirectoryChoice(marked, exists=True, differs=_differences(plain.sound_manifest(), identity))
    displaces = holder == "other" and _never_began(plain)
    is_free = holder == "free" or displaces
    if is_free and not is_marked:
        return DirectoryChoice(plain, exists=False, displaces=displaces)
    namesake = None if is_free else plain.sound_manifest()
    differs = () if is_free else _differences(namesake, identity)
    is_alike = namesake is not None and _is_alike(namesake.identity, identity)
    return DirectoryChoice(marked, exists=False, differs=differs, is_alike=is_alike)


def _never_began(directory: RunDirectory) -> bool:
    """Whether every start ended before it had instances, so that nothing was ever asked.

    Where the data was damaged, the mended data makes another run; the plain name is that one's.
    """
    manifest = directory.sound_manifest()
    return manifest is not None and manifest.status == "error" and not manifest.counts


def set_aside(directory: RunDirectory) -> Path | None:
    """Move what a run has to `.replaced/` in its suite, for a fresh start; nothing is deleted."""
    if not directory.path.exists():
        return None
    folder = directory.path.parent / ".replaced"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{directory.path.name}.{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}.{os.getpid()}"
    # One process may set aside the same run twice in a second.
    names = (name, *(f"{name}.{number}" for number in range(1, 1000)))
    target = next(folder / each for each in names if not (folder / each).exists())
    directory.path.rename(target)
    return target


def _differences(holder: Manifest | None, identity: Mapping[str, Any]) -> tuple[str, ...]:
    if holder is None:
        return ("another program's run has the name",)
    return tuple(differing_fields(holder.identity, identity))


def _is_alike(holder: Mapping[str, Any], identity: Mapping[str, Any]) -> bool:
    return single_request_digest(holder) == single_request_digest(identity)
