"""The writer of a run: counts what it has, and keeps its manifest true from the first moment to the last."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from evalkit import __version__
from evalkit.errors import DamageError
from evalkit.execution.journal_line import Owner
from evalkit.plural import counted
from evalkit.response import BLOCKED, Failure, Outcome, Usage
from evalkit.results.integrity import fingerprint, fits, sealed
from evalkit.results.manifest import FOUND, UNKNOWN_BILLS, WITHOUT_USAGE, Manifest, RunStatus
from evalkit.results.run_directory import RunDirectory
from evalkit.results.run_result import StageReport
from evalkit.results.scores import SCORING_RULES
from evalkit.specs.digest import RunDigest, request_part
from evalkit.specs.run_spec import RunSpec

if TYPE_CHECKING:
    from evalkit.execution.journal_index import JournalIndex
    from evalkit.models.deployment import Prices
    from evalkit.request import RequestState
    from evalkit.scoring.scorer import Unscored


PriceList = Mapping[str | None, "Prices | None"]
"""What tokens cost, by the member of a routed deployment; of a deployment that is not routed, under None."""
_MAY_BE_BILLED = (
    "attempts failed after the server may have done the work: it may bill them, and the costs shown leave "
    "them out"
)


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
    def owner(self) -> Owner:
        """Whose the journal is."""
        return Owner(self.digest.requests, request_part(self.identity))


class ManifestWriter:
    """Bookkeeping of one start of a run.

    Attributes:
        directory: Where the run is kept.
        manifest: The manifest as last written.
        notes: What of the run's files was mended when it was opened.
        failures: Requests without an answer whose last attempt failed: key to reason.
        last_failure: The latest failure, in words.
    """

    def __init__(self, directory: RunDirectory, manifest: Manifest, prices: PriceList) -> None:
        self.directory, self.manifest, self._prices = directory, manifest, prices
        self.notes: list[str] = []
        self._run_spec: RunSpec | None = None
        self.failures: dict[str, str] = {}
        self.last_failure = ""
        self._began_s = time.monotonic()
        self._began = False
        self._not_reached: dict[str, int] = {}
        self._num_answered = 0
        self._num_requests = 0
        self._usage: dict[str | None, Usage] = {}
        self._num_without_usage = 0
        self._num_unknown_bills = 0
        self._num_found: Counter[str] = Counter()
        self._num_found_before: Counter[str] = Counter()

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
        behind = sum(left for key, left in self._not_reached.items() if self.failures.get(key) == BLOCKED)
        return self._num_requests - self._num_answered - self.num_blocked - behind

    @property
    def num_blocked(self) -> int:
        """Requests that a content filter blocked."""
        return sum(reason == BLOCKED for reason in self.failures.values())

    @property
    def all_failed(self) -> bool:
        """Whether every request of the run failed and none was ever answered."""
        num_reached = self._num_requests - sum(self._not_reached.values())
        return self._num_answered == 0 and 0 < num_reached == len(self.failures)

    def begin(self, num_instances: int, num_requests: int, index: JournalIndex) -> None:
        """Note what there is to do, and what earlier starts have done."""
        self._began = True
        self.failures = {key: failure.reason for key, failure in index.failures.items()}
        self._not_reached = dict(index.not_reached)
        self._num_answered, self._num_requests = len(index.answered), num_requests
        self._usage = dict(index.usage)
        self._num_without_usage = index.num_without_usage
        self._num_found, self._num_found_before = Counter(index.num_found), Counter(index.num_found)
        # Usage is the journal's, not the last manifest's: a start that was killed wrote none, and was billed.
        # The journal has outcomes, though, not attempts.
        self._num_unknown_bills = self.manifest.counts.get(UNKNOWN_BILLS, 0)
        self.manifest = replace(
            self.manifest,
            status="running",
            message="",
            starts=self.manifest.starts + 1,
            files={},
            counts={**self._counts(), "num_instances": num_instances},
            sources=dict(self._num_found),
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
        key = state.key
        if isinstance(outcome, Failure):
            self.failures[key] = outcome.reason
            self.last_failure = f"({outcome.reason}) {outcome.message}"
            if state.turn is not None:
                self._not_reached[key] = state.unit_size - state.turn
            return None
        if self.failures.pop(key, None) is not None:
            self._not_reached.pop(key, None)
        self._num_answered += 1
        if outcome.cached:
            if (origin := outcome.origin) is not None:
                self._num_found[origin.source] += 1
            return 0.0
        used = outcome.usage
        if not used.is_reported:
            self._num_without_usage += 1
            return None
        before = self._usage.get(state.member, Usage())
        self._usage[state.member] = Usage(
            before.prompt_tokens + used.prompt_tokens,
            before.completion_tokens + used.completion_tokens,
        )
        prices = self._prices.get(state.member)
        return None if prices is None else prices.cost_usd(used)

    def settle(self) -> None:
        """Everything that was to be asked has an outcome: from now on the number of requests is exact.

        A conversation may have ended early, and what would follow a blocked turn is never asked.
        """
        behind = sum(left for key, left in self._not_reached.items() if self.failures.get(key) != BLOCKED)
        self._num_requests = self._num_answered + len(self.failures) + behind
        self._not_reached = {
            key: left for key, left in self._not_reached.items() if self.failures.get(key) != BLOCKED
        }

    def count_unknown_bill(self) -> None:
        """Count an attempt that failed and that the server may bill."""
        self._num_unknown_bills += 1

    @property
    def found_notes(self) -> list[str]:
        """Where this start has found answers, and how many: `50 answers taken from gsm:model=a_b`."""
        found = self._num_found - self._num_found_before
        return [
            f"{counted(number, 'answer')} taken from {source}" for source, number in sorted(found.items())
        ]

    @property
    def money_notes(self) -> tuple[str, ...]:
        """What the user should know of the run's cost."""
        return (_MAY_BE_BILLED,) if self._num_unknown_bills else ()

    @property
    def _is_done(self) -> bool:
        """What a content filter blocked is settled; a run of which it blocked everything has no result."""
        return self.num_owed == 0 and (self._num_answered > 0 or not self._num_requests)

    @property
    def _cost_usd(self) -> float | None:
        """What all answers cost; None where prices or tokens of some are not known."""
        is_unpriced = any(self._prices.get(member) is None for member in self._usage)
        return None if self._has_unknown or is_unpriced else self._reported_usd

    @property
    def _reported_usd(self) -> float | None:
        """What the answers whose tokens and prices are known cost; None where there are none."""
        has_prices = any(prices is not None for prices in self._prices.values())
        if not has_prices or (self._has_unknown and not self._is_reported):
            return None
        priced = ((self._prices.get(member), usage) for member, usage in self._usage.items())
        return round(sum(prices.cost_usd(usage) for prices, usage in priced if prices is not None), 6)

    @property
    def _has_unknown(self) -> bool:
        """Whether something was or may be billed, and how much is not known."""
        return self._num_without_usage > 0 or self._num_unknown_bills > 0

    @property
    def _is_reported(self) -> bool:
        """Whether the tokens of any answer are known."""
        return any(usage.is_reported for usage in self._usage.values())

    def note(self, notes: Iterable[str]) -> None:
        """Keep these in the manifest, besides those of earlier starts."""
        kept = tuple(dict.fromkeys((*self.manifest.notes, *notes)))
        self.manifest = replace(self.manifest, notes=kept)

    def close(
        self, status: RunStatus | None = None, message: str = "", unscored: Unscored | None = None
    ) -> Manifest:
        """Write the final manifest.

        Args:
            status: Why the run ended early; None lets the counts decide between complete and partial.
            message: The reason in one line.
            unscored: Answered units that lack a score because a metric failed; None: there are none.
        """
        num_unscored = 0 if unscored is None else unscored.num_units
        counted: dict[str, Any] = {}
        if self._began:  # else this start came to count nothing, and what earlier ones counted stays
            counted = {
                "counts": {**self.manifest.counts, **self._counts(), "num_unscored": num_unscored},
                "usage": self._reported_usage(),
                "sources": dict(sorted(self._num_found.items())),
                "cost_usd": self._cost_usd,
                "reported_cost_usd": self._reported_usd,
            }
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
            self._num_answered,
            len(self.failures),
            self.failures_by_reason(),
            self._cost_usd,
            self._num_found.total(),
        )

    def failures_by_reason(self) -> Mapping[str, int]:
        """How many requests failed for each reason, most frequent first."""
        return dict(Counter(self.failures.values()).most_common())

    def _counts(self) -> dict[str, int]:
        counts = {
            "num_requests": self._num_requests,
            "num_answered": self._num_answered,
            "num_failed": len(self.failures),
        }
        if (num_blocked := self.num_blocked) or self.manifest.counts.get("num_blocked"):
            counts["num_blocked"] = num_blocked
        if self._num_without_usage or self.manifest.counts.get(WITHOUT_USAGE):
            counts[WITHOUT_USAGE] = self._num_without_usage
        if self._num_unknown_bills:
            counts[UNKNOWN_BILLS] = self._num_unknown_bills
        if num_found := self._num_found.total():
            counts[FOUND] = num_found
        return counts

    def _reported_usage(self) -> dict[str, int | None]:
        """The tokens that were reported; None where none were, though something took some."""
        if self._has_unknown and not self._is_reported:
            return {"prompt_tokens": None, "completion_tokens": None}
        return {
            "prompt_tokens": sum(usage.prompt_tokens for usage in self._usage.values()),
            "completion_tokens": sum(usage.completion_tokens for usage in self._usage.values()),
        }

    def _failure_summary(self, unscored: Unscored | None) -> str:
        parts = [f"{count} {reason}" for reason, count in self.failures_by_reason().items()]
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
