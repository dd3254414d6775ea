"""Makes anew what can be made from a run's journal and spec. Asks no model, and removes no answer.

Damaged lines of a journal stay where they are, as in a resumed run: a journal only grows. A torn last line is
cut and a lost header appended, as `evalkit run` would do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from evalkit.errors import EvalkitError, StoreError, UnknownNameError
from evalkit.execution.journal import Journal
from evalkit.execution.journal_index import scan_journal
from evalkit.execution.journal_line import JournalOwner
from evalkit.execution.lock import RunLock
from evalkit.plural import counted
from evalkit.results.findings import Finding
from evalkit.results.integrity import is_uncounted, recovered_manifest, sealed, units_of
from evalkit.results.judgement_findings import mend_judgements
from evalkit.results.manifest import FOUND, Manifest
from evalkit.results.routes import mend_routes
from evalkit.results.run_directory import FILES, JUDGEMENTS, RunDirectory
from evalkit.results.scores import carried_stats, changed_means, checked_spec, read_stats, score_run
from evalkit.results.verification import RunReport, verify_run
from evalkit.scoring.stat import Stat
from evalkit.specs.digest import request_part

_OTHER_NUMBERS = (
    "the manifest was lost, and the numbers made from instances and journal are not those that were stored; "
    "`evalkit run` makes the instances anew"
)


def repair_run(directory: RunDirectory) -> RunReport:
    """Make anew what can be, and look again; the report tells what is left, and what was made.

    A run that a process works on is left alone. What is still owed then is written into the manifest.

    Raises:
        StoreError: Something can't be written.
    """
    before = verify_run(directory)
    if before.holder is not None or not before.findings:
        return before
    if any(finding.remedy == "update" for finding in before.findings):
        return before
    with RunLock(directory.lock_path):
        repair = _Repair(directory, before.findings)
        repair.run()
    after = verify_run(directory)
    after.findings += repair.hindrances
    after.repaired = tuple(repair.done)
    return after


class _Repair:
    """One repair, in the order in which files are made from each other.

    Attributes:
        done: What was made, in words.
        hindrances: Why something could not be made.
    """

    def __init__(self, directory: RunDirectory, findings: list[Finding]) -> None:
        self._directory = directory
        self._damaged = {finding.file for finding in findings if finding.is_damage}
        self._findings = findings
        self.done: list[str] = []
        self.hindrances: list[Finding] = []
        self._other_means: list[str] = []

    def run(self) -> None:
        """Do it."""
        self._remove_left_beside()
        manifest = self._directory.sound_manifest()
        was_lost = manifest is None or is_uncounted(self._directory, manifest)
        if was_lost:
            self._damaged.add("manifest.json")
        if manifest is None:
            manifest = recovered_manifest(self._directory)
            if manifest is None:
                return
            self._directory.write_manifest(manifest)
            self.done.append(
                "manifest.json made anew from run spec, instances and journal; times are lost, and so is the "
                "cost, until `evalkit run` asks something and counts all anew"
            )
        self._try("run_spec.json", self._mend_spec)
        self._try("journal.jsonl", self._mend_journal)
        self._try("routes.jsonl", self._mend_routes)
        self._try(JUDGEMENTS, self._mend_judgements)
        self._try("scores.jsonl", self._mend_numbers)
        if was_lost:
            self._try("manifest.json", self._count)
        self._note_what_is_owed()

    def _try(self, file: str, mend: Callable[[Manifest], None]) -> None:
        manifest = self._directory.sound_manifest()
        assert manifest is not None
        try:
            mend(manifest)
        except EvalkitError as error:
            # What it is for lack of was found before; a metric that is not known was not.
            if not isinstance(error, StoreError):
                is_unknown = isinstance(error, UnknownNameError)
                hint = "; if a plugin defines it, name the plugin with --plugin" if is_unknown else ""
                self.hindrances.append(Finding(file, f"can't be made anew: {error}{hint}", "look"))

    def _remove_left_beside(self) -> None:
        for finding in self._findings:
            if finding.remedy == "repair" and not finding.is_damage and finding.file not in FILES:
                (self._directory.path / finding.file).unlink(missing_ok=True)
                self.done.append(f"{finding.file} removed: left behind by a kill")

    def _mend_spec(self, manifest: Manifest) -> None:
        if "run_spec.json" not in self._damaged:
            return
        _, problems = checked_spec(self._directory, manifest)
        if problems:
            self._directory.write_manifest(sealed(self._directory, manifest, ("run_spec.json",)))
            self.done.append("run_spec.json made anew from the manifest, without its groups")

    def _mend_journal(self, manifest: Manifest) -> None:
        if "journal.jsonl" not in self._damaged:
            return
        path = self._directory.journal_path
        before = path.stat().st_size if path.exists() else None
        with Journal.open(path, JournalOwner(manifest.request_digest, request_part(manifest.identity))):
            pass
        if path.stat().st_size != before:
            self.done.append("journal.jsonl has a header and whole lines again")

    def _mend_routes(self, manifest: Manifest) -> None:
        directory = self._directory
        if "routes.jsonl" not in self._damaged:
            return
        instances = directory.instances()
        units = units_of(directory.run_spec(), instances)
        index = scan_journal(directory.journal_path, manifest.request_digest, units)
        mend_routes(directory.routes_path, manifest.request_digest, instances, index)
        directory.write_manifest(sealed(directory, manifest, ("routes.jsonl",)))
        self.done.append("routes.jsonl has a header, and the routes that the journal knows")

    def _mend_judgements(self, manifest: Manifest) -> None:
        self.done += mend_judgements(self._directory, manifest, self._damaged)

    def _mend_numbers(self, manifest: Manifest) -> None:
        """Score anew where numbers, or what they rest on, were damaged."""
        if not self._damaged:
            return
        if self._directory.imported_path.is_dir() and not manifest.counts.get("num_instances"):
            # Numbers without samples: the only ones there are came along with the import.
            self._directory.write_stats(stat.to_json() for stat in carried_stats(self._directory))
            self._directory.write_manifest(sealed(self._directory, manifest))
            self.done.append("stats.json made anew from the imported numbers")
            return
        before: Sequence[Stat] = ()
        with suppress(EvalkitError):
            before = read_stats(self._directory)
        rescored = score_run(self._directory)
        self._other_means = changed_means(before, rescored.stats) if before else []
        if not rescored.kept:
            self.done.append("scores.jsonl and stats.json made anew from the journal")

    def _count(self, manifest: Manifest) -> None:
        """Counts for a manifest that was lost; the run is complete if every unit has its answers."""
        directory = self._directory
        spec, instances = directory.run_spec(), directory.instances()
        index = scan_journal(directory.journal_path, manifest.request_digest, units_of(spec, instances))
        report = verify_run(directory, is_ours=True)
        counts = {
            "num_instances": len(instances),
            "num_answered": len(index.answered),
            "num_failed": len(index.failures),
            "num_unscored": manifest.counts.get("num_unscored", 0),
        }
        if num_found := index.num_found.total():
            counts[FOUND] = num_found
        is_complete = report.num_owed == 0 and not counts["num_unscored"] and not self._other_means
        # What judges owe, only the run can tell: it makes their questions.
        is_complete = is_complete and not spec.judge_specs
        if is_complete:
            counts["num_requests"] = len(index.settled)
        usage = {"prompt_tokens": index.prompt_tokens, "completion_tokens": index.completion_tokens}
        manifest = replace(
            manifest,
            status="complete" if is_complete else "partial",
            counts=counts,
            usage=usage,
            sources=dict(sorted(index.num_found.items())),
            # Without its manifest nothing says what the instances were; the old numbers do, in part.
            message=_OTHER_NUMBERS if self._other_means else manifest.message,
        )
        directory.write_manifest(sealed(directory, manifest))

    def _note_what_is_owed(self) -> None:
        """Say in the manifest what only asking again brings back."""
        manifest, report = self._directory.sound_manifest(), verify_run(self._directory, is_ours=True)
        if manifest is None or report.is_sound or manifest.status == "running":
            return
        owed = next(finding for finding in report.findings if finding.is_damage)
        count = f"owed: {counted(report.num_owed, 'request')}; " if report.num_owed else ""
        message = f"{count}{owed.file}: {owed.problem}; `evalkit run` goes on from here"
        counts, status = manifest.counts, manifest.status
        if status in ("complete", "partial"):  # of others the count is the only sign of what was lost
            status, counts = "partial", {**counts, **self._counts_left(manifest)}
        self._directory.write_manifest(replace(manifest, status=status, counts=counts, message=message))

    def _counts_left(self, manifest: Manifest) -> dict[str, int]:
        """How many answers the journal has, where there are fewer than the run had."""
        directory = self._directory
        try:
            units = units_of(directory.run_spec(), directory.instances())
            index = scan_journal(directory.journal_path, manifest.request_digest, units)
        except StoreError:
            return {}
        had = manifest.counts.get("num_answered")
        return {} if had is None else {"num_answered": min(had, len(index.answered))}
