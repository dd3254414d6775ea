"""The journals of a stored run's judges: what is wrong with them, and what repairs that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import StoreError
from evalkit.execution.journal import Journal
from evalkit.execution.journal_index import JournalIndex, scan_journal
from evalkit.plural import counted
from evalkit.results.findings import Finding, Remedy
from evalkit.results.integrity import fingerprint
from evalkit.results.judgements import judgement_owner, num_replies
from evalkit.results.manifest import Manifest
from evalkit.results.run_directory import RunDirectory
from evalkit.specs.judge_identity import judge_specs_of

if TYPE_CHECKING:
    from evalkit.execution.journal_index import Units
    from evalkit.execution.journal_line import JournalOwner


def judgement_findings(
    directory: RunDirectory, manifest: Manifest, units: Units | None, *, is_in_use: bool
) -> list[Finding]:
    """What there is to say about the journals of a run's judges.

    Args:
        directory: The run.
        manifest: Its manifest.
        units: What the run scores; None where that is lost.
        is_in_use: A process works on the run: only whole lines are looked at.
    """
    known, found = [], list[Finding]()
    for stage, owner in _owners(manifest).items():
        path = directory.judgements_path(stage)
        look = _Look(directory, manifest, stage, path)
        known.append(look.name)
        found += look.findings(owner, units, is_in_use=is_in_use)
    for name in directory.judgement_files:
        if name not in known:
            found.append(Finding(name, "belongs to no judge of the run", "look", is_damage=False))
    return found


def mend_judgements(directory: RunDirectory, manifest: Manifest, damaged: set[str]) -> list[str]:
    """Write lost headers again and cut torn lines; returns what was done, in words.

    Args:
        directory: The run.
        manifest: Its manifest.
        damaged: Which of its files are damaged.

    Raises:
        StoreError: A journal can't be read or written, or is another run's.
    """
    done = []
    for stage, owner in _owners(manifest).items():
        path = directory.judgements_path(stage)
        name = _name(path)
        if name not in damaged or not path.exists():
            continue
        before = path.stat().st_size
        with Journal.open(path, owner):
            pass
        if path.stat().st_size != before:
            done.append(f"{name} has a header and whole lines again")
    return done


def _owners(manifest: Manifest) -> dict[str, JournalOwner]:
    """Whose the journals are, by what the judges' stages are called."""
    judges: list[Mapping[str, Any]] = manifest.identity.get("judges", [])
    specs = judge_specs_of(judges)
    return {
        spec.stage: judgement_owner(manifest.request_digest, judge)
        for spec, judge in zip(specs, judges, strict=True)
    }


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


class _Look:
    """One look at the journal of one judge."""

    def __init__(self, directory: RunDirectory, manifest: Manifest, stage: str, path: Path) -> None:
        self.name = _name(path)
        self._path, self._manifest = path, manifest
        self._num_had = num_replies(manifest, stage)
        self._left = manifest.files.get(self.name)
        self._again: Remedy = "run"

    def findings(self, owner: JournalOwner, units: Units | None, *, is_in_use: bool) -> list[Finding]:
        """What there is to say."""
        if not self._path.exists():
            is_lost = self._num_had > 0 or self._left is not None
            return [Finding(self.name, "is missing", self._again)] if is_lost else []
        try:
            index = scan_journal(self._path, owner.requests, units)
            is_sealed = self._left is not None and fingerprint(self._path) == self._left
        except StoreError as error:
            problem = str(error).replace(f"{self._path.parent.parent}/", "")
            return [Finding(self.name, problem, "look")]
        found = list(self._lines(index, is_sealed))
        return found if is_in_use else [*found, *self._rest(index, is_sealed, found)]

    def _lines(self, index: JournalIndex, is_sealed: bool) -> Iterator[Finding]:
        """Damaged lines; what a run has asked again since is not lost."""
        if index.damage and is_sealed and len(index.answered) >= self._num_had:
            problem = f"{counted(len(index.damage), 'damaged line')}; no judgement is missing"
            yield Finding(self.name, problem, "none", is_damage=False)
            return
        for damage in index.damage:
            remedy: Remedy = "repair" if damage.kind == "header" else self._again
            yield Finding(self.name, damage.reason, remedy, damage.offset, damage.length)

    def _rest(self, index: JournalIndex, is_sealed: bool, found: list[Finding]) -> Iterator[Finding]:
        was_killed = self._manifest.status == "running"
        if length := index.torn_bytes:
            problem = "the last line is incomplete" + (", as a kill leaves it" if was_killed else "")
            offset = self._path.stat().st_size - length
            yield Finding(self.name, problem, self._again, offset, length, is_damage=not was_killed)
        if index.owner is None and not any(finding.offset == 0 for finding in found):
            yield Finding(self.name, "its header is lost", "repair")
        if (num_has := len(index.answered)) < self._num_had and not was_killed:
            problem = f"has {num_has:,} of {counted(self._num_had, 'judgement')}"
            yield Finding(self.name, problem, self._again)
        elif self._left is not None and not is_sealed and not any(each.is_damage for each in found):
            problem = "was changed since evalkit wrote it; no judgement is missing"
            yield Finding(self.name, problem, "repair")
