"""How a run ended, and its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.results.manifest import Manifest, RunStatus
from evalkit.results.run_directory import RunDirectory
from evalkit.scoring.stat import Stat


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended, and its numbers.

    Attributes:
        status: `complete`, `partial` (some requests failed), `stopped`, `interrupted` or `error`.
        message: Why it is not complete, in one line.
        counts: num_instances, num_requests, num_answered, num_failed; num_blocked where a content filter
            blocked some of the failed ones.
        failures: Failed requests by reason.
        cost_usd: What the answers kept cost, of all starts; None where prices are not known, or the tokens of
            some answers, or where the server may bill attempts that failed.
        reported_cost_usd: The same over the answers whose tokens are known; None where there are none.
    """

    name: str
    status: RunStatus
    path: Path | None = None
    message: str = ""
    stats: tuple[Stat, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    cost_usd: float | None = None
    reported_cost_usd: float | None = None


def result_of(directory: RunDirectory, manifest: Manifest, stats: tuple[Stat, ...]) -> RunResult:
    """A result as the run directory tells it."""
    return RunResult(
        name=directory.path.name,
        status=manifest.status,
        path=directory.path,
        message=manifest.message,
        stats=stats,
        counts=manifest.counts,
        cost_usd=manifest.cost_usd,
        reported_cost_usd=manifest.reported_cost_usd,
    )
