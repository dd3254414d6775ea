"""How a run ended, and its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.results.manifest import FOUND, UNKNOWN_BILLS, Manifest, RunStatus
from evalkit.results.run_directory import RunDirectory
from evalkit.scoring.stat import Stat

ANSWERS = "answers"
"""The stage that every run has: its requests to the model, and what the model answered."""


@dataclass(frozen=True, slots=True)
class StageReport:
    """What became of the requests of one stage, over all starts.

    Attributes:
        stage: Its name: `answers`, or `judge:<name>`.
        status: `complete` where nothing is owed, `partial` where requests failed, else how sending ended.
        num_requests: All its requests; of a judge without those that unclear replies may add.
        num_failed: Requests that failed; of a judge also the questions whose replies stayed unclear.
        failures: Failed requests by reason; empty where a run without judges was only read from its
            directory.
        cost_usd: As in `RunResult`, for this stage.
        num_found: Of the answers, those that were found in earlier runs or the cache, and not asked for.
        reported_cost_usd: As in `RunResult`, for this stage.
        num_unknown_bills: Attempts that failed and that the server may bill.
        usage: Tokens of the answers, as far as they are reported.
    """

    stage: str
    status: RunStatus
    num_requests: int
    num_answered: int
    num_failed: int
    failures: Mapping[str, int] = field(default_factory=dict)
    cost_usd: float | None = None
    num_found: int = 0
    reported_cost_usd: float | None = None
    num_unknown_bills: int = 0
    usage: Mapping[str, int | None] = field(default_factory=dict)


def stages_to_json(stages: Iterable[StageReport]) -> dict[str, Any]:
    """Reports as plain data, by the name of the stage."""
    return {
        report.stage: {name: getattr(report, name) for name in StageReport.__slots__ if name != "stage"}
        for report in stages
    }


def costs_of(stages: Sequence[StageReport]) -> dict[str, float | None]:
    """What all stages together cost; None where that is not known of one of them that asked something."""
    asked = [each for each in stages if each.num_answered > each.num_found or each.num_unknown_bills]
    asked = asked or list(stages)
    costs = [report.cost_usd for report in asked]
    known = [cost for cost in costs if cost is not None]
    reported = [cost for report in asked if (cost := report.reported_cost_usd) is not None]
    return {
        "cost_usd": round(sum(known), 6) if known and len(known) == len(costs) else None,
        "reported_cost_usd": round(sum(reported), 6) if reported else None,
    }


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended, and its numbers.

    Attributes:
        status: `complete`, `partial` (some requests failed), `stopped`, `interrupted` or `error`.
        message: Why it is not complete, in one line.
        counts: num_instances, num_requests, num_answered, num_failed; num_blocked where a content filter
            blocked some of the failed ones; num_found where answers were found in earlier runs or the cache.
        failures: Failed requests by reason.
        cost_usd: What the answers kept cost, of all stages and starts; None where prices are not known, or
            the tokens of some answers, or where the server may bill attempts that failed.
        reported_cost_usd: The same over the answers whose tokens are known; None where there are none.
        stages: One report per stage, in the order of the stages; none where the run ended by an error.
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
    stages: tuple[StageReport, ...] = ()


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
        stages=stages_of(manifest),
    )


def stages_of(manifest: Manifest) -> tuple[StageReport, ...]:
    """The reports of a run's stages, as its manifest has them."""
    if manifest.stages:
        return tuple(StageReport(stage, **report) for stage, report in manifest.stages.items())
    counts = manifest.counts
    if "num_requests" not in counts:
        return ()
    num_answered = counts.get("num_answered", 0)
    settled = num_answered + counts.get("num_blocked", 0)
    # A run may be partial for what could not be scored, with nothing left to ask.
    is_done = manifest.status == "partial" and settled == counts["num_requests"] and num_answered > 0
    report = StageReport(
        ANSWERS,
        "complete" if is_done else manifest.status,
        counts["num_requests"],
        num_answered,
        counts.get("num_failed", 0),
        cost_usd=manifest.cost_usd,
        num_found=counts.get(FOUND, 0),
        reported_cost_usd=manifest.reported_cost_usd,
        num_unknown_bills=counts.get(UNKNOWN_BILLS, 0),
        usage=dict(manifest.usage),
    )
    return (report,)
