"""Runs that are in one suite twice: a folder that was copied under another name is not a second run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import StoreError
from evalkit.folder_names import earlier_folder_of, folder_of
from evalkit.results.integrity import changed_files
from evalkit.results.manifest import Manifest
from evalkit.results.run_directory import RunDirectory

_SHOWN_FOLDERS = 5


@dataclass(frozen=True, slots=True)
class Counted:
    """The runs of some folders, each once.

    Attributes:
        runs: Those that count, in the order given.
        notes: Which folders hold a run that is counted already, one sentence per run.
    """

    runs: tuple[RunDirectory, ...]
    notes: tuple[str, ...] = ()


def count_once(directories: Sequence[RunDirectory]) -> Counted:
    """Leave out the folders whose run another folder of the same suite holds too.

    Runs are the same if their names and digests are, which a manifest keeps wherever it is copied to. Of
    several folders the undamaged one counts, of several such the one whose name evalkit gave it, else the one
    with most answers. Two suites may hold the same run.

    Args:
        directories: Folders of runs; one that can't be read stays.
    """
    suites = {directory.path.absolute().parent for directory in directories}
    same: dict[tuple[Path, str, str], list[tuple[RunDirectory, Manifest]]] = defaultdict(list)
    for directory in directories:
        if (manifest := _manifest(directory)) is not None:
            suite = _suite_of(directory.path.absolute().parent, suites)
            same[suite, manifest.name, manifest.digest].append((directory, manifest))
    left_out: set[Path] = set()
    notes = []
    for (suite, _, digest), found in same.items():
        if len(found) == 1:
            continue
        kept, _ = max(found, key=lambda each: _claim(*each))
        others = [directory for directory, _ in found if directory != kept]
        left_out.update(directory.path for directory in others)
        shown = [_name(each, suite) for each in others[:_SHOWN_FOLDERS]]
        if len(others) > _SHOWN_FOLDERS:
            shown.append(f"{len(others) - _SHOWN_FOLDERS} more")
        names = f"{', '.join(shown)} and {_name(kept, suite)}"
        notes.append(
            f"{names} in {suite.name} are the same run (digest {digest[:8]}): it counts once, as "
            f"{_name(kept, suite)}"
        )
    return Counted(tuple(each for each in directories if each.path not in left_out), tuple(notes))


def _manifest(directory: RunDirectory) -> Manifest | None:
    try:
        return directory.sound_manifest()
    except StoreError:  # of a newer format: whoever reads it says so
        return None


def _suite_of(folder: Path, suites: Collection[Path]) -> Path:
    """The suite that runs in a folder belong to: also those in a folder next to the suite's runs."""
    while folder.parent in suites:
        folder = folder.parent
    return folder


def _claim(directory: RunDirectory, manifest: Manifest) -> tuple[bool, bool, int, str, str]:
    """The larger, the rather a folder is the one that counts."""
    name, label = directory.path.name, folder_of(manifest.name)
    is_own = name in (label, earlier_folder_of(manifest.name)) or name.startswith(
        f"{label}@{manifest.digest[:8]}"
    )
    try:
        is_sound = not changed_files(directory, manifest)
    except StoreError:
        is_sound = False
    num_answered = manifest.counts.get("num_answered", 0)
    return is_sound, is_own, num_answered, manifest.finished_at, str(directory.path)


def _name(directory: RunDirectory, suite: Path) -> str:
    return str(directory.path.absolute().relative_to(suite))
