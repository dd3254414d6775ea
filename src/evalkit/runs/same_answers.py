"""Runs that hold the answers of another run, as those that `evalkit judge` makes: they are judged once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from evalkit.errors import StoreError
from evalkit.execution.journal_index import scan_journal
from evalkit.plural import counted
from evalkit.results.run_directory import RunDirectory

_MOST_SHOWN = 3


class Answered(NamedTuple):
    """The runs whose answers are to be judged.

    Attributes:
        paths: In the order given.
        notes: Which runs are left out, and why.
    """

    paths: list[Path]
    notes: tuple[str, ...] = ()


def without_copies(paths: Sequence[Path], baseline: Path | None = None) -> Answered:
    """The runs without those that took all their answers from a run that is here too.

    A suite in which a run was judged holds such a run next to it. To judge it again would ask the same
    questions about the same answers, and to compare both would compare answers with themselves.

    Args:
        paths: Folders of runs, perhaps some of them twice.
        baseline: A run that they are compared with.
    """
    distinct = list(dict.fromkeys(path.resolve() for path in paths))
    others = [] if baseline is None else [baseline.resolve()]
    by_requests: defaultdict[str, list[Path]] = defaultdict(list)
    for path in dict.fromkeys((*distinct, *others)):
        if requests := _requests_of(path):
            by_requests[requests].append(path)
    copies: set[Path] = set()
    for group in by_requests.values():
        if len(group) > 1:
            copied = [path for path in group if path not in others and _is_copy(path)]
            # If all of them took their answers from a run that is not here, one of them is judged.
            copies.update(copied if len(copied) < len(group) else copied[1:])
    left_out = [path for path in distinct if path in copies]
    if not left_out:
        return Answered(distinct)
    names = ", ".join(path.name for path in left_out[:_MOST_SHOWN])
    more = f" and {len(left_out) - _MOST_SHOWN} more" if len(left_out) > _MOST_SHOWN else ""
    note = (
        f"{counted(len(left_out), 'run')} left out that took all answers from another run here: {names}{more}"
    )
    return Answered([path for path in distinct if path not in copies], (note,))


def _requests_of(path: Path) -> str:
    """The digest of what a run asked; empty where nothing says it."""
    try:
        manifest = RunDirectory(path).manifest()
    except StoreError:
        return ""
    return "" if manifest is None else manifest.request_digest


def _is_copy(path: Path) -> bool:
    """Whether a run took all its answers from other runs."""
    journal = RunDirectory(path).journal_path
    try:
        index = scan_journal(journal) if journal.exists() else None
    except StoreError:
        return False
    return index is None or index.num_found.total() == len(index.answered)
