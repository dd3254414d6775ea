"""Live progress: a table that redraws on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalkit.observer import Observer
from evalkit.response import Failure, Outcome

if TYPE_CHECKING:
    from rich.table import Table

    from evalkit.results.run_result import RunResult

PLAIN_EVERY_S = 5.0
REDRAW_PER_S = 4
# A terminal shows so many running runs at once; the line below them counts the rest.
MAX_SHOWN = 12


@dataclass(slots=True)
class RunProgress:
    """Where one run stands."""

    name: str
    num_requests: int = 0
    num_before: int = 0
    num_answered: int = 0
    num_failed: int = 0
    num_tokens: int = 0
    cost_usd: float | None = None
    score: tuple[str, float] | None = None
    began_s: float = 0.0
    status: str = "running"

    @property
    def num_done(self) -> int:
        """Requests with an answer or a failure."""
        return self.num_before + self.num_answered + self.num_failed

    def rate_per_s(self, now_s: float) -> float:
        """Requests finished per second since this start opened the run."""
        elapsed_s = now_s - self.began_s
        return (self.num_answered + self.num_failed) / elapsed_s if elapsed_s > 0 else 0.0

    def eta_s(self, now_s: float) -> float | None:
        """Seconds until the run is done at the present rate; None while nothing is known."""
        rate = self.rate_per_s(now_s)
        return (self.num_requests - self.num_done) / rate if rate else None

    def cells(self, now_s: float) -> tuple[str, ...]:
        """The run as a row: name, done, failed, rate, ETA, tokens, cost, score so far."""
        running = self.status == "running"
        eta_s = self.eta_s(now_s) if running else None
        return (
            self.name,
            f"{self.num_done:,}/{self.num_requests:,}" if self.num_requests else self.status,
            str(self.num_failed),
            f"{self.rate_per_s(now_s):,.1f}/s" if running else self.status,
            "" if eta_s is None else _duration(eta_s),
            f"{self.num_tokens:,}",
            "" if self.cost_usd is None else f"${self.cost_usd:.4f}",
            f"{self.score[0]} {self.score[1]:.3f}" if running and self.score else "",
        )


class QuietProgress(Observer):
    """Remarks only."""

    def note(self, message: str) -> None:
        """Print a remark."""
        sys.stderr.write(f"note: {message}\n")


class ProgressObserver(QuietProgress):
    """Keeps count; subclasses show it."""

    def __init__(self) -> None:
        self.runs: dict[str, RunProgress] = {}
        self.num_planned = 0

    def planned(self, names: list[str]) -> None:
        """So many runs."""
        self.num_planned = len(names)

    def opened(self, name: str, num_requests: int, num_answered: int) -> None:
        """A run starts to send."""
        run = self.runs.setdefault(name, RunProgress(name))
        run.num_requests, run.num_before = num_requests, num_answered
        run.began_s = time.monotonic()

    def finished_request(self, name: str, outcome: Outcome, cost_usd: float | None) -> None:
        """Count an outcome."""
        run = self.runs[name]
        if isinstance(outcome, Failure):
            run.num_failed += 1
            return
        run.num_answered += 1
        run.num_tokens += outcome.usage.total_tokens
        if cost_usd is not None:
            run.cost_usd = (run.cost_usd or 0.0) + cost_usd

    def scored(self, name: str, num_scored: int, scores: Mapping[str, float]) -> None:
        """Keep the score that stands for the run, which is the first."""
        self.runs[name].score = next(iter(scores.items()), None)

    def finished_run(self, result: RunResult) -> None:
        """A run has ended."""
        run = self.runs.setdefault(result.name, RunProgress(result.name))
        run.status = result.status


class PlainProgress(ProgressObserver):
    """A line now and then, and one at each run's end; for logs and pipes."""

    def __init__(self) -> None:
        super().__init__()
        self._last_s = time.monotonic()
        self._told_unscored: set[str] = set()

    def finished_request(self, name: str, outcome: Outcome, cost_usd: float | None) -> None:
        """Count, and print a line if the last one is some seconds old."""
        super().finished_request(name, outcome, cost_usd)
        now_s = time.monotonic()
        if now_s - self._last_s >= PLAIN_EVERY_S:
            self._tell(self.runs[name], now_s)

    def scored(self, name: str, num_scored: int, scores: Mapping[str, float]) -> None:
        """Print a line if the last one is some seconds old, or if that of this run had no score yet."""
        super().scored(name, num_scored, scores)
        now_s = time.monotonic()
        if now_s - self._last_s >= PLAIN_EVERY_S or (scores and name in self._told_unscored):
            self._tell(self.runs[name], now_s)

    def finished_run(self, result: RunResult) -> None:
        """Print how the run ended."""
        super().finished_run(result)
        self._print(self.runs[result.name], time.monotonic())

    def _tell(self, run: RunProgress, now_s: float) -> None:
        self._last_s = now_s
        if run.score is None:
            self._told_unscored.add(run.name)
        else:
            self._told_unscored.discard(run.name)
        self._print(run, now_s)

    def _print(self, run: RunProgress, now_s: float) -> None:
        if not run.num_requests:
            already = " already; nothing to send" if run.status == "complete" else ""
            sys.stderr.write(f"{run.name}: {run.status}{already}\n")
            return
        name, done, failed, rate, eta, tokens, cost, score = run.cells(now_s)
        parts = [
            f"{done} done",
            f"{failed} failed",
            rate,
            f"ETA {eta}" if eta else "",
            f"{tokens} tokens",
            cost,
            f"{score} so far" if score else "",
        ]
        sys.stderr.write(f"{name}: {', '.join(part for part in parts if part)}\n")


class LiveProgress(ProgressObserver):
    """A table that redraws itself."""

    def table(self) -> Table:
        """The present state."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        now_s = time.monotonic()
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("run")
        for column in ("done", "failed", "rate", "ETA", "tokens", "cost"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("score so far", justify="right")
        active = [run for run in self.runs.values() if run.status == "running"]
        for run in active[:MAX_SHOWN]:
            table.add_row(*(Text(cell) for cell in run.cells(now_s)))
        num_finished = len(self.runs) - len(active)
        table.add_row(Text(f"{num_finished} of {self.num_planned} runs finished", style="dim"))
        return table


class DownloadProgress:
    """A line for each download at its beginning, and every few seconds while it lasts."""

    def __init__(self) -> None:
        self._told_s: dict[str, float] = {}

    def __call__(self, url: str, received: int, expected: int | None) -> None:
        """Print how far a download is, if it was some seconds ago that it was printed."""
        now_s = time.monotonic()
        if now_s - self._told_s.get(url, -math.inf) >= PLAIN_EVERY_S:
            self._told_s[url] = now_s
            total = f" of {expected / 1e6:,.1f}" if expected else ""
            sys.stderr.write(f"downloading {url}: {received / 1e6:,.1f}{total} MB\n")


@contextmanager
def progress_for(*, quiet: bool) -> Iterator[Observer]:
    """The observer that fits where standard error goes."""
    if quiet:
        yield QuietProgress()
        return
    if not sys.stderr.isatty():
        yield PlainProgress()
        return
    from rich.console import Console
    from rich.live import Live

    progress = LiveProgress()
    with Live(
        get_renderable=progress.table,
        console=Console(stderr=True),
        refresh_per_second=REDRAW_PER_S,
        transient=True,
    ):
        yield progress


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
