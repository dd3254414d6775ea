"""Is a run as the run left it? Looks at every file and every line of the journal; sends and changes nothing.

Each finding names the file, the byte, and what repairs it. `evalkit.results.repair` does the part
of that for which no model need be asked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.bounded_reads import DATA_BYTES, open_regular, read_bytes
from evalkit.codec import decode
from evalkit.errors import (
    REMEDY,
    REMEDY_IMPORT,
    REMEDY_RUN,
    DamageError,
    DataError,
    StoreError,
    UnknownNameError,
    UsageError,
)
from evalkit.execution.journal_index import JournalIndex, scan_journal
from evalkit.execution.journal_line import FIRST_HEADER
from evalkit.execution.lock import holder_of
from evalkit.instance import Instance
from evalkit.plural import counted
from evalkit.results.findings import Finding, Remedy
from evalkit.results.integrity import (
    fingerprint,
    fits,
    is_uncounted,
    recovered_manifest,
    should_have_instances,
    units_of,
)
from evalkit.results.judgement_findings import judgement_findings
from evalkit.results.manifest import Manifest
from evalkit.results.routes import is_routed, route_findings
from evalkit.results.run_directory import FILES, RunDirectory, find_runs, read_lines
from evalkit.results.scores import make_scorer, read_stats
from evalkit.results.units import each_unit, end_of_conversations, num_whole_units, unit_of_row
from evalkit.specs.run_spec import RunSpec

_DERIVED = frozenset(FILES) - {"journal.jsonl", "routes.jsonl"}
# How evalkit calls the files that it writes next to others, and renames.
_BESIDE = re.compile(r"\.?(?P<name>[a-z_]+\.jsonl?)\.\d+|(?P<copy>journal)\.part", re.ASCII)
_HEADER_BYTES = 1 << 20
_STATUS_WITH_NUMBERS = ("complete", "partial", "stopped", "interrupted")


@dataclass(slots=True)
class RunReport:
    """What was found out about a run.

    Attributes:
        status: As its manifest says; None where there is no sound one.
        holder: The process that works on it now; the files that change under its hands are not looked at.
        num_answered: Requests that need not be asked again; None where the journal can't be read.
        num_owed: Requests of the run that are not settled; of a run without a sound manifest, units that
            have not all their answers; None where nothing tells.
        repaired: Files that `repair_run` made anew, in words.
    """

    directory: RunDirectory
    status: str | None = None
    holder: str | None = None
    num_answered: int | None = None
    num_owed: int | None = None
    findings: list[Finding] = field(default_factory=list)
    repaired: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether nothing was lost or changed."""
        return not any(finding.is_damage for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "suite": self.directory.path.parent.name,
            "run": self.directory.path.name,
            "path": str(self.directory.path),
            "is_sound": self.is_sound,
            "status": self.status,
            "in_use_by": self.holder,
            "num_answered": self.num_answered,
            "num_owed": self.num_owed,
            "findings": [
                {name: getattr(finding, name) for name in Finding.__slots__} for finding in self.findings
            ],
            "repaired": list(self.repaired),
        }


def find_damaged_too(path: Path) -> list[RunDirectory]:
    """All runs below `path`, also those that have only one of a run's files left.

    Raises:
        UsageError: There is none.
    """
    return find_runs(path, FILES)


def verify_run(directory: RunDirectory, *, is_ours: bool = False) -> RunReport:
    """Look at all of a run. What can't be read is a finding, never an error.

    Args:
        directory: The run.
        is_ours: The caller holds its lock, so that nothing changes meanwhile.
    """
    if is_ours:
        return _Verification(directory, None).run()
    report = _Verification(directory, holder_of(directory.lock_path)).run()
    # A process that began meanwhile has changed files under our eyes.
    if report.holder is None and (holder := holder_of(directory.lock_path)) is not None:
        report = _Verification(directory, holder).run()
    return report


def _has_asked_nothing(manifest: Manifest) -> bool:
    """Whether a run was killed or stopped before it made a journal, for want of its data for example."""
    has_ended = manifest.status in ("complete", "partial")
    was_begun = manifest.starts > 0 or bool(manifest.counts) or "journal.jsonl" in manifest.files
    return not was_begun and not has_ended


class _Verification:
    """One look at a run, file by file."""

    def __init__(self, directory: RunDirectory, holder: str | None) -> None:
        self._directory = directory
        self._report = RunReport(directory, holder=holder)
        self._manifest: Manifest | None = None
        self._is_imported = directory.imported_path.is_dir()

    def run(self) -> RunReport:
        """Look at everything."""
        try:
            self._manifest = self._sound_manifest()
        except StoreError as error:
            self._tell("manifest.json", self._words(error), "update")
            return self._report
        spec = self._run_spec()
        instances = self._instances(spec) if self._report.holder is None else self._read_instances()
        index = self._journal(spec, instances)
        if self._report.holder is None:
            self._routes(instances, index)
        self._judgements(spec, instances)
        if self._report.holder is None:
            self._numbers(spec, instances)
            self._imported()
            self._left_beside()
        return self._report

    def _tell(self, file: str, problem: str, remedy: Remedy, *, is_damage: bool = True) -> None:
        self._report.findings.append(Finding(file, problem, remedy, is_damage=is_damage))

    def _words(self, error: Exception) -> str:
        """An error without path and remedy, which stand in their own columns."""
        text = str(error)
        for remedy in (REMEDY, REMEDY_RUN, REMEDY_IMPORT):
            text = text.removesuffix(f"; {remedy}").removesuffix(f"; if it lost that, {remedy}")
        return text.replace(f"{self._directory.path}/", "").replace(f"{self._directory.path} ", "it ")

    @property
    def _again(self) -> Remedy:
        """What brings answers and instances back."""
        return "import" if self._is_imported else "run"

    def _changed(self, name: str) -> str | None:
        """What became of a file since the run left it, in words; None: nothing that its manifest knows of."""
        left = self._manifest.files.get(name) if self._manifest is not None else None
        if left is None:
            return None
        found = fingerprint(self._directory.path / name)
        if found == left:
            return None
        return "is missing" if found is None else "was changed since evalkit wrote it"

    def _is_sealed(self, name: str) -> bool:
        """Whether a file is, byte for byte, what the run left."""
        has_seal = self._manifest is not None and name in self._manifest.files
        return has_seal and self._changed(name) is None

    def _sound_manifest(self) -> Manifest | None:
        """The manifest, or one made from the other files where it is lost."""
        problem = "is missing"
        try:
            if (manifest := self._directory.manifest()) is not None:
                self._report.status = manifest.status
                if is_uncounted(self._directory, manifest):
                    problem = "was made anew, and its answers were not counted, as a kill leaves it"
                    self._tell("manifest.json", problem, "repair", is_damage=False)
                return manifest
        except DamageError as error:
            problem = self._words(error)
        recovered = recovered_manifest(self._directory)
        self._tell("manifest.json", problem, self._again if recovered is None else "repair")
        return recovered

    def _run_spec(self) -> RunSpec | None:
        manifest, problem = self._manifest, self._changed("run_spec.json")
        spec = None
        try:
            spec = self._directory.run_spec()
            if manifest is not None and "metric_specs" in manifest.identity:
                if not fits(spec, manifest.identity):
                    problem, spec = problem or "is not the run spec of this manifest", None
                elif spec.name != manifest.name:
                    problem = problem or f"its name is not the manifest's: {manifest.name}"
        except StoreError as error:
            problem = problem or self._words(error)
        if problem is not None:
            has_identity = manifest is not None and "metric_specs" in manifest.identity
            self._tell("run_spec.json", problem, "repair" if has_identity else self._again)
        return spec

    def _instances(self, spec: RunSpec | None) -> list[Instance] | None:
        has_file = self._directory.instances_path.exists()
        if not has_file and not should_have_instances(self._directory, self._manifest):
            return None
        problem = self._changed("instances.jsonl")
        instances = None
        try:
            instances = self._directory.instances()
            planned = self._manifest.counts.get("num_instances") if self._manifest is not None else None
            if planned is not None and planned != len(instances):
                problem = problem or f"has {len(instances)} of {counted(planned, 'instance')}"
            elif spec is not None and not self._is_sealed("instances.jsonl"):
                problem = problem or _unfit(spec, instances)
        except StoreError as error:
            problem = problem or self._words(error)
        if problem is not None:
            self._tell("instances.jsonl", problem, self._again)
            return None
        return instances

    def _read_instances(self) -> list[Instance] | None:
        try:
            return self._directory.instances()
        except StoreError:
            return None

    def _routes(self, instances: list[Instance] | None, index: JournalIndex | None) -> None:
        """Who answers which instance, in a run of a routed deployment."""
        manifest, path = self._manifest, self._directory.routes_path
        if manifest is not None and is_routed(manifest):
            begun = self._directory.instances_path.exists()
            is_killed = self._report.status == "running"
            changed = self._changed(path.name)
            self._report.findings += (
                route_findings(path, manifest, instances, index, changed, is_killed) if begun else []
            )

    def _journal(self, spec: RunSpec | None, instances: list[Instance] | None) -> JournalIndex | None:
        """Every line: is it whole, is it about a unit of this run, and is everything there that was?"""
        path, manifest = self._directory.journal_path, self._manifest
        if not path.exists():
            if manifest is not None and _has_asked_nothing(manifest):
                why = f", since: {manifest.message}" if manifest.message else ""
                self._tell(path.name, f"the run has not begun{why}", self._again, is_damage=False)
            else:
                self._tell(path.name, "is missing", self._again)
            return None
        units = units_of(spec, instances) if spec is not None and instances is not None else None
        try:
            index = scan_journal(path, manifest.request_digest if manifest is not None else None, units)
        except StoreError as error:
            self._tell(path.name, self._words(error), "look")
            return None
        report = self._report
        report.num_answered = len(index.settled)
        report.num_owed = self._num_owed(index, spec, instances)
        self._lines(index)
        if report.holder is None:
            self._tail(index)
            self._answers(index)
            self._header(index)
        return index

    def _judgements(self, spec: RunSpec | None, instances: list[Instance] | None) -> None:
        """The journals of judges, and whether their verdicts are all there."""
        if self._manifest is None or not self._manifest.identity.get("judges"):
            return
        units = units_of(spec, instances) if spec is not None and instances is not None else None
        is_in_use = self._report.holder is not None
        self._report.findings += judgement_findings(
            self._directory, self._manifest, units, is_in_use=is_in_use
        )

    def _num_owed(
        self, index: JournalIndex, spec: RunSpec | None, instances: list[Instance] | None
    ) -> int | None:
        counts = self._manifest.counts if self._manifest is not None else {}
        if (num_requests := counts.get("num_requests")) is not None:
            return max(0, num_requests - len(index.settled))
        if spec is None or instances is None:
            return None
        adapter = spec.adapter_spec
        num_units = len(instances) * adapter.num_train_trials * adapter.num_trials
        return num_units - num_whole_units(index, instances, end_of_conversations(adapter))

    def _lines(self, index: JournalIndex) -> None:
        """Damaged lines; what a run has asked again since, or no request belongs to, is not lost."""
        name, is_whole = self._directory.journal_path.name, self._is_whole(index)
        # A run that ended has sealed what it asked again; a killed one, or one without manifest, has no seal.
        is_known = self._is_sealed(name) or self._report.status in (None, "running")
        if index.damage and is_whole and is_known:
            problem = f"{counted(len(index.damage), 'damaged line')}; no answer is missing"
            self._tell(name, problem, "none", is_damage=False)
            return
        for damage in index.damage:
            remedy: Remedy = "repair" if is_whole or damage.kind == "header" else self._again
            self._report.findings.append(Finding(name, damage.reason, remedy, damage.offset, damage.length))

    def _tail(self, index: JournalIndex) -> None:
        path, length = self._directory.journal_path, index.torn_bytes
        if not length:
            return
        # A process that was killed leaves one; a run that ended does not.
        was_killed = self._manifest is not None and self._report.status == "running"
        problem = "the last line is incomplete" + (", as a kill leaves it" if was_killed else "")
        offset = path.stat().st_size - length
        remedy: Remedy = "repair" if self._is_whole(index) and not was_killed else self._again
        self._report.findings.append(
            Finding(path.name, problem, remedy, offset, length, is_damage=not was_killed)
        )

    def _num_lost(self, index: JournalIndex) -> int:
        """Answers that the run had and the journal lacks, as far as the manifest tells."""
        counts = self._manifest.counts if self._manifest is not None else {}
        num_lost = counts.get("num_answered", 0) - len(index.settled)
        if self._has_asked_all:
            failed = index.failures.keys() - index.settled
            # Of a conversation in which a turn failed, the turns behind it were never asked.
            num_due = len(failed) + sum(index.not_reached.get(key, 0) for key in failed)
            num_lost = max(num_lost, (self._report.num_owed or 0) - num_due)
        return max(0, num_lost)

    @property
    def _has_asked_all(self) -> bool:
        """Whether the run has an outcome of every request, if only a failure."""
        manifest = self._manifest
        has_ended = manifest is not None and manifest.status in ("complete", "partial")
        return has_ended and manifest is not None and "num_requests" in manifest.counts

    def _is_whole(self, index: JournalIndex) -> bool:
        """Whether it is certain that no outcome is missing which the run had."""
        if self._num_lost(index) or any(damage.kind == "unit" for damage in index.damage):
            return self._is_sealed(self._directory.journal_path.name) and not self._num_lost(index)
        is_known = self._has_asked_all or self._is_sealed(self._directory.journal_path.name)
        return is_known or self._report.num_owed == 0

    def _answers(self, index: JournalIndex) -> None:
        """Are there as many answers as the manifest says, and is the file as the run left it?"""
        report, manifest, name = self._report, self._manifest, self._directory.journal_path.name
        if manifest is None:
            return
        if num_lost := self._num_lost(index):
            was = len(index.settled) + num_lost
            self._tell(name, f"has {len(index.settled):,} of {counted(was, 'answer')}", self._again)
        elif (problem := self._changed(name)) is not None:
            has_said = any(f.file == name and f.is_damage for f in report.findings)
            if not has_said:
                self._tell(name, f"{problem}; no answer is missing", "repair")
        elif report.num_owed and manifest.status != "complete":
            self._tell(name, f"owed: {counted(report.num_owed, 'request')}", self._again, is_damage=False)

    def _header(self, index: JournalIndex) -> None:
        path = self._directory.journal_path
        with open_regular(path) as file:
            first = file.readline(_HEADER_BYTES)
        # One that lost even its header of that time is like it.
        if first.startswith(FIRST_HEADER.rstrip()) or (index.owner is None and b',"crc32":"' not in first):
            lines = "its lines" if index.owner is None else "the lines before its second header"
            problem = f"begun by evalkit 0.1: {lines} have no checksums, so not every change can be seen"
            self._tell(path.name, problem, "none", is_damage=False)
            return
        is_told = any(finding.offset == 0 for finding in self._report.findings)
        if index.owner is None and not is_told:
            self._tell(path.name, "its header is lost", "repair")

    def _numbers(self, spec: RunSpec | None, instances: list[Instance] | None) -> None:
        """Scores per instance and stats: as they were left, or at least of a shape that fits the run."""
        status = self._manifest.status if self._manifest is not None and self._report.status else None
        can_be_made = instances is not None and not any(
            finding.is_damage and finding.remedy == self._again for finding in self._report.findings
        )
        problems: dict[str, str] = {}
        for path in (self._directory.scores_path, self._directory.path / "stats.json"):
            if self._is_sealed(path.name):
                continue
            problem = self._changed(path.name)
            is_due = status in _STATUS_WITH_NUMBERS and (instances is not None or path.name == "stats.json")
            if problem is None and not path.exists():
                problem = "is missing" if is_due else None
            elif problem is None and status != "running":
                problem = self._shape_problem(path, spec, instances)
            if problem is not None:
                problems[path.name] = problem
        # Good numbers are not replaced by those of fewer answers; where there are none, fewer are better.
        can_be_made |= "stats.json" in problems and instances is not None and bool(self._report.num_answered)
        for name, problem in problems.items():
            self._tell(name, problem, "repair" if can_be_made else self._again)

    def _shape_problem(
        self, path: Path, spec: RunSpec | None, instances: list[Instance] | None
    ) -> str | None:
        try:
            if path.name == "stats.json":
                read_stats(self._directory)
                return None
            rows = Counter(unit_of_row(row) for row in read_lines(path))
        except StoreError as error:
            return self._words(error)
        except (AttributeError, KeyError, TypeError):
            return "a line is not a score of an instance"
        if spec is None or instances is None:
            return None
        expected = Counter(each_unit(spec, instances))
        return None if rows == expected else f"does not have one line for each of {expected.total()} units"

    def _imported(self) -> None:
        """What came along with an import: as it was left, or, from evalkit 0.1, at least JSON."""
        if not self._is_imported:
            return
        known = self._manifest.files if self._manifest is not None else {}
        found = {f"imported/{path.name}" for path in self._directory.imported_path.glob("*.json*")}
        for name in sorted(found | {name for name in known if name.startswith("imported/")}):
            problem = self._changed(name)
            if problem is None and name not in known:
                problem = self._json_problem(self._directory.path / name)
            if problem is not None:
                self._tell(name, problem, "import")

    def _json_problem(self, path: Path) -> str | None:
        try:
            if path.suffix == ".jsonl":
                for _ in read_lines(path):
                    pass
            else:
                decode(read_bytes(path, DATA_BYTES))
        except (StoreError, ValueError) as error:
            return self._words(error)
        except OSError as error:
            return f"can't be read: {error.strerror}"
        return None

    def _left_beside(self) -> None:
        """Files that a killed process did not come to rename or remove."""
        for path in sorted(self._directory.path.iterdir()):
            match = _BESIDE.fullmatch(path.name)
            if match is None:
                continue
            if match["name"] in _DERIVED or match["copy"]:
                self._tell(path.name, "left behind by a kill", "repair", is_damage=False)
            elif match["name"] == "routes.jsonl":
                self._tell(path.name, "a copy of the routes", "look", is_damage=False)
            elif match["name"] == "journal.jsonl":
                self._other_journal(path)

    def _other_journal(self, path: Path) -> None:
        """A journal next to the run's own, made when that was replaced: does it hold more?"""
        requests = self._manifest.request_digest if self._manifest is not None else None
        try:
            own = scan_journal(self._directory.journal_path, requests)
            more = len(scan_journal(path, requests).settled - own.settled)
        except StoreError as error:
            self._tell(path.name, f"a copy of a journal: {self._words(error)}", "look")
            return
        answers = counted(more, "answer") if more else "no answers"
        problem = f"a copy of a journal with {answers} that journal.jsonl lacks"
        self._tell(path.name, problem, "look", is_damage=more > 0)


def _unfit(spec: RunSpec, instances: Sequence[Instance]) -> str | None:
    """Why the run's metrics can't score these instances, as far as that is known here."""
    try:
        make_scorer(spec, instances)
    except DataError as error:
        return f"does not fit the metrics: {error}"
    except UsageError as error:
        # A metric of a plugin that is not loaded says nothing of the file; two equal ids do.
        return None if isinstance(error, UnknownNameError) else f"does not fit the run: {error}"
    return None
