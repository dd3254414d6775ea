"""The writer of a run: counts what it has, and keeps its manifest true from the first moment to the last."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from evalkit import __version__
from evalkit.errors import DamageError
from evalkit.execution.journal_line import JournalOwner
from evalkit.response import BLOCKED, Failure, Outcome
from evalkit.results.integrity import fingerprint, fits, sealed
from evalkit.results.manifest import FOUND, UNKNOWN_BILLS, WITHOUT_USAGE, Manifest, RunStatus
from evalkit.results.run_directory import RunDirectory
from evalkit.results.run_result import StageReport, costs_of, stages_to_json
from evalkit.results.scores import SCORING_RULES
from evalkit.results.tally import PriceList, Tally
from evalkit.specs.digest import RunDigest, request_part
from evalkit.specs.run_spec import RunSpec

if TYPE_CHECKING:
    from evalkit.execution.journal_index import JournalIndex
    from evalkit.request import RequestState
    from evalkit.scoring.unscored import Unscored


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What a writer is about: the run spec, where it came from, and what identifies it.

    Attributes:
        own_files: Names of the data files that are the user's own, read where they are.
    """

    run_spec: RunSpec
    entry: str
    digest: RunDigest
    identity: Mapping[str, Any]
    own_files: tuple[str, ...] = ()

    @property
    def owner(self) -> JournalOwner:
        """Whose the journal is."""
        return JournalOwner(self.digest.requests, request_part(self.identity))


class ManifestWriter:
    """Bookkeeping of one start of a run.

    Attributes:
        directory: Where the run is kept.
        manifest: The manifest as last written.
        notes: What of the run's files was mended when it was opened.
        tally: Of the answers.
    """

    def __init__(self, directory: RunDirectory, manifest: Manifest, prices: PriceList) -> None:
        self.directory, self.manifest = directory, manifest
        self.tally = Tally(prices)
        self.notes: list[str] = []
        self._run_spec: RunSpec | None = None
        self._began_s = time.monotonic()
        self._began = False
        self._not_reached: dict[str, int] = {}
        self._num_requests = 0

    @classmethod
    def open(
        cls,
        directory: RunDirectory,
        run_identity: RunIdentity,
        prices: PriceList,
        *,
        is_fresh: bool = False,
    ) -> ManifestWriter:
        """Open the writer of a run, writing run spec and manifest first if this is its first start.

        Args:
            directory: Where the run is kept.
            run_identity: The run.
            prices: Of those who answer.
            is_fresh: Whether its first start is to take no answers from elsewhere; the later ones keep to it.
        """
        manifest = directory.sound_manifest()
        run_spec, problem = _own_spec(directory, run_identity, manifest)
        if manifest is None:
            manifest = Manifest(
                name=run_identity.run_spec.name,
                entry=run_identity.entry,
                digest=run_identity.digest.full,
                request_digest=run_identity.digest.requests,
                judgement_digest=run_identity.digest.judgements,
                identity=run_identity.identity,
                started_at=_now(),
                is_fresh=is_fresh,
            )
            directory.write_run_spec(run_spec)
            directory.write_manifest(manifest)
        elif manifest.name != run_spec.name:
            # Of evalkit 0.1, whose manifests have no checksum: the digest says that it is this run.
            manifest = replace(manifest, name=run_spec.name)
            directory.write_run_spec(run_spec)
            directory.write_manifest(
                sealed(directory, manifest, ("run_spec.json",)) if manifest.files else manifest
            )
        elif problem or run_spec != directory.run_spec():
            directory.write_run_spec(run_spec)
            if manifest.files:
                files = {**manifest.files, "run_spec.json": fingerprint(directory.path / "run_spec.json")}
                manifest = replace(manifest, files={name: left for name, left in files.items() if left})
                directory.write_manifest(manifest)
        writer = cls(directory, manifest, prices)
        writer._run_spec = run_spec
        if problem:
            writer.notes.append(problem)
        return writer

    @property
    def is_complete(self) -> bool:
        """Whether an earlier start answered and scored everything."""
        return self.manifest.status == "complete"

    @property
    def num_owed(self) -> int:
        """Requests without an answer that would be asked again: a content filter's verdict is final.

        Of conversations, at most: one may end early.
        """
        tally = self.tally
        behind = sum(left for key, left in self._not_reached.items() if tally.failures.get(key) == BLOCKED)
        return self._num_requests - tally.num_answered - tally.num_blocked - behind

    @property
    def all_failed(self) -> bool:
        """Whether every request of the run failed and none was ever answered."""
        num_reached = self._num_requests - sum(self._not_reached.values())
        return self.tally.num_answered == 0 and 0 < num_reached == len(self.tally.failures)

    def begin(self, num_instances: int, num_requests: int, index: JournalIndex) -> None:
        """Note what there is to do, and what earlier starts have done."""
        self._began = True
        self._not_reached, self._num_requests = dict(index.not_reached), num_requests
        self.tally.begin(index, self.manifest.counts.get(UNKNOWN_BILLS, 0))
        self.manifest = replace(
            self.manifest,
            status="running",
            message="",
            starts=self.manifest.starts + 1,
            files={},
            counts={**self._counts(), "num_instances": num_instances},
            sources=dict(self.tally.num_found),
            versions={
                "evalkit": __version__,
                "python": platform.python_version(),
                "scoring": SCORING_RULES,
            },
        )
        # These are as they stay; a kill leaves the others without a fingerprint.
        self.manifest = sealed(
            self.directory, self.manifest, ("run_spec.json", "instances.jsonl", "routes.jsonl")
        )
        self.directory.write_manifest(self.manifest)

    def count(self, state: RequestState, outcome: Outcome) -> float | None:
        """Count an outcome; returns what it cost in US dollars, None where prices or tokens are not known."""
        if isinstance(outcome, Failure):
            if state.turn is not None:
                self._not_reached[state.key] = state.unit_size - state.turn
        elif state.key in self.tally.failures:
            self._not_reached.pop(state.key, None)
        return self.tally.count(state, outcome)

    def settle(self) -> None:
        """Everything that was to be asked has an outcome: from now on the number of requests is exact.

        A conversation may have ended early, and what would follow a blocked turn is never asked.
        """
        reasons = self.tally.failures
        behind = sum(left for key, left in self._not_reached.items() if reasons.get(key) != BLOCKED)
        self._num_requests = self.tally.num_answered + len(reasons) + behind
        self._not_reached = {
            key: left for key, left in self._not_reached.items() if reasons.get(key) != BLOCKED
        }

    @property
    def _is_done(self) -> bool:
        """What a content filter blocked is settled; a run of which it blocked everything has no result."""
        return self.num_owed == 0 and (self.tally.num_answered > 0 or not self._num_requests)

    def note(self, notes: Iterable[str]) -> None:
        """Keep these in the manifest, besides those of earlier starts."""
        kept = tuple(dict.fromkeys((*self.manifest.notes, *notes)))
        self.manifest = replace(self.manifest, notes=kept)

    def close(
        self,
        status: RunStatus | None = None,
        message: str = "",
        unscored: Unscored | None = None,
        stages: Sequence[StageReport] = (),
    ) -> Manifest:
        """Write the final manifest.

        Args:
            status: Why the run ended early; None lets the counts decide between complete and partial.
            message: The reason in one line.
            unscored: Answered units that lack a score because a metric failed; None: there are none.
            stages: What became of each stage, of a run that has judges; cost is then that of all.
        """
        num_unscored = 0 if unscored is None else unscored.num_units
        counted: dict[str, Any] = {}
        if self._began:  # else this start came to count nothing, and what earlier ones counted stays
            counted = {
                "counts": {**self.manifest.counts, **self._counts(), "num_unscored": num_unscored},
                "usage": self.tally.reported_usage,
                "sources": dict(sorted(self.tally.num_found.items())),
                "cost_usd": self.tally.cost_usd,
                "reported_cost_usd": self.tally.reported_usd,
            }
        if stages:
            counted |= {"stages": stages_to_json(stages), **costs_of(stages)}
        if status is None:
            status = "complete" if self._is_done and not num_unscored else "partial"
        self.manifest = replace(
            self.manifest,
            status=status,
            message=message or self._failure_summary(unscored),
            **counted,
            seconds=round(self.manifest.seconds + time.monotonic() - self._began_s, 3),
            finished_at=_now(),
        )
        if self._run_spec is not None and not (self.directory.path / "run_spec.json").exists():
            self.directory.write_run_spec(self._run_spec)
        self.manifest = sealed(self.directory, self.manifest)
        self.directory.write_manifest(self.manifest)
        return self.manifest

    def stage_report(self, stage: str, status: RunStatus | None) -> StageReport:
        """What became of the requests of a stage so far.

        Args:
            stage: Its name.
            status: Why it ended early; None lets the counts decide between complete and partial.
        """
        return StageReport(
            stage,
            status or ("complete" if self._is_done else "partial"),
            self._num_requests,
            self.tally.num_answered,
            len(self.tally.failures),
            self.tally.failures_by_reason(),
            self.tally.cost_usd,
            self.tally.num_found.total(),
            self.tally.reported_usd,
            self.tally.num_unknown_bills,
            self.tally.reported_usage,
        )

    def _counts(self) -> dict[str, int]:
        counts = {
            "num_requests": self._num_requests,
            "num_answered": self.tally.num_answered,
            "num_failed": len(self.tally.failures),
        }
        if (num_blocked := self.tally.num_blocked) or self.manifest.counts.get("num_blocked"):
            counts["num_blocked"] = num_blocked
        if self.tally.num_without_usage or self.manifest.counts.get(WITHOUT_USAGE):
            counts[WITHOUT_USAGE] = self.tally.num_without_usage
        if self.tally.num_unknown_bills:
            counts[UNKNOWN_BILLS] = self.tally.num_unknown_bills
        if num_found := self.tally.num_found.total():
            counts[FOUND] = num_found
        return counts

    def _failure_summary(self, unscored: Unscored | None) -> str:
        parts = [f"{count} {reason}" for reason, count in self.tally.failures_by_reason().items()]
        if unscored is not None and unscored.num_units:
            parts.append(str(unscored))
        return ", ".join(parts)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _own_spec(
    directory: RunDirectory, run_identity: RunIdentity, manifest: Manifest | None
) -> tuple[RunSpec, str]:
    """The run spec to keep, in all the groups that the run has had, and what is wrong with the stored one."""
    asked = run_identity.run_spec
    path = directory.path / "run_spec.json"
    if not path.exists():
        return asked, "run_spec.json is missing; it was written anew" if manifest is not None else ""
    left = manifest.files.get(path.name) if manifest is not None else None
    problem = f"{path.name} was changed since evalkit wrote it; it was written anew"
    if left is not None and fingerprint(path) != left:
        return asked, problem
    try:
        stored = directory.run_spec()
    except DamageError:
        return asked, problem
    if stored.name != asked.name or not fits(stored, run_identity.identity):
        return asked, problem
    return stored.model_copy(update={"groups": tuple(dict.fromkeys((*stored.groups, *asked.groups)))}), ""
