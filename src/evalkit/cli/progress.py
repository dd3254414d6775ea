"""Live progress: a table that redraws on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalkit.cli.output import echo, printable, remark
from evalkit.cli.text_table import ELLIPSIS, TableColumn, TextTable
from evalkit.redaction import without_controls
from evalkit.response import Failure
from evalkit.results.run_result import ANSWERS
from evalkit.runs.events import (
    Event,
    ModelLoaded,
    ModelLoading,
    Note,
    RequestFinished,
    RunFinished,
    RunsPlanned,
    Scored,
    StageStarted,
)

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

PLAIN_EVERY_S = 5.0
# Before that, a rate says more of the first batch, or of one slow answer, than of the run.
LEAST_ANSWERS = 5
LEAST_SENDING_S = 3.0
REDRAW_PER_S = 4
# How many running runs a terminal shows at once; the line below them counts the rest.
MAX_SHOWN = 12
_AGAIN = re.compile(r"/again\d+$")
_COLUMNS = (
    TableColumn("run", is_label=True),
    TableColumn("done"),
    TableColumn("failed", dropped=4),
    TableColumn("rate", dropped=2),
    TableColumn("ETA", dropped=5),
    TableColumn("tokens", dropped=1),
    TableColumn("cost", dropped=6),
    TableColumn("score so far", dropped=3),
)


@dataclass(slots=True)
class RunProgress:
    """Where one run stands."""

    name: str
    num_requests: int = 0
    num_before: int = 0
    num_answered: int = 0
    num_failed: int = 0
    num_tokens: int = 0
    num_without_usage: int = 0
    num_unpriced: int = 0
    cost_usd: float | None = None
    score: tuple[str, float] | None = None
    began_s: float = 0.0
    is_loading: bool = False
    status: str = "running"
    num_judged: int = 0
    num_to_judge: int = 0

    @property
    def num_done(self) -> int:
        """Requests with an answer or a failure."""
        return self.num_before + self.num_answered + self.num_failed

    def rate_per_s(self, now_s: float) -> float | None:
        """Requests finished per second of sending in this start; None before it means something.

        Sending begins when the run is opened, or when its model is loaded.
        """
        sending_s, num_finished = now_s - self.began_s, self.num_answered + self.num_failed
        if self.is_loading or sending_s < LEAST_SENDING_S or num_finished < LEAST_ANSWERS:
            return None
        return num_finished / sending_s

    def eta_s(self, now_s: float) -> float | None:
        """Seconds until the run is done at the present rate; None while that is not known."""
        rate = self.rate_per_s(now_s)
        return None if rate is None else (self.num_requests - self.num_done) / rate

    @property
    def judging(self) -> str:
        """How far the judges are, in words; "" where nobody judges yet."""
        return f"judged {self.num_judged:,} of {self.num_to_judge:,}" if self.num_judged else ""

    @property
    def main_score(self) -> str:
        """The mean so far of the main score; "" once all answers are there and judges go on with them."""
        if self.score is None or (self.num_judged and self.num_done - self.num_judged >= self._num_to_answer):
            return ""
        return f"{self.score[0]} {self.score[1]:.3f}"

    @property
    def _num_to_answer(self) -> int:
        return self.num_requests - self.num_to_judge

    @property
    def _at_least(self) -> str:
        return "≥ " if self.num_without_usage else ""

    def _tokens(self) -> str:
        if self.num_without_usage and not self.num_tokens:
            return "not reported"
        return f"{self._at_least}{self.num_tokens:,}"

    def _cost(self) -> str:
        if self.cost_usd is None:
            return ""
        return f"{'≥ ' if self.num_unpriced else self._at_least}${self.cost_usd:.4f}"

    def cells(self, now_s: float) -> tuple[str, ...]:
        """The run as a row: name, done, failed, rate, ETA, tokens, cost, score so far."""
        running = self.status == "running"
        rate = self.rate_per_s(now_s) if running else None
        eta_s = self.eta_s(now_s) if running else None
        done = f"{self.num_done:,}/{self.num_requests:,}" if self.num_requests else self.status
        return (
            self.name,
            "loading the model" if running and self.is_loading else done,
            str(self.num_failed),
            self.status if not running else "" if rate is None else f"{rate:,.1f}/s",
            "" if eta_s is None else _duration(eta_s),
            self._tokens(),
            self._cost(),
            ", ".join(filter(None, (self.main_score, self.judging))) if running else "",
        )


class QuietProgress:
    """Notes only."""

    wants_requests = False

    def on_event(self, event: Event) -> None:
        """Print a note."""
        if isinstance(event, Note):
            echo(remark("note", event.text), err=True)


class ProgressObserver(QuietProgress):
    """Keeps count; subclasses show it."""

    wants_requests = True

    def __init__(self) -> None:
        self.runs: dict[str, RunProgress] = {}
        self.num_planned = 0
        self._loading: set[str] = set()

    def on_event(self, event: Event) -> None:
        """Count."""
        match event:
            case RequestFinished():
                self._count(event)
            case Scored():
                # The first one is the main score.
                self.runs[event.run.name].score = next(iter(event.scores.items()), None)
            case RunsPlanned():
                self.num_planned = len(event.runs)
            case StageStarted():
                self._begin(event)
            case ModelLoading() | ModelLoaded():
                self._set_loading(event)
            case RunFinished():
                name = event.run.name
                run = self.runs.setdefault(name, RunProgress(name))
                run.status = event.result.status
                if run.num_requests and event.result.stages:  # of conversations it was a bound before
                    run.num_requests = sum(stage.num_requests for stage in event.result.stages)
            case _:
                super().on_event(event)

    def _count(self, event: RequestFinished) -> RunProgress:
        run = self.runs[event.run.name]
        self._count_outcome(run, event)
        # Of a judge it was what the first unit asks; others may ask more.
        run.num_requests = max(run.num_requests, run.num_done)
        return run

    @staticmethod
    def _count_outcome(run: RunProgress, event: RequestFinished) -> None:
        outcome = event.outcome
        # A question that is asked again after an unclear reply was done when that reply came.
        is_again = event.stage != ANSWERS and _AGAIN.search(event.key) is not None
        if event.stage != ANSWERS and not is_again:
            run.num_judged += 1
        if isinstance(outcome, Failure):
            run.num_failed += 1
            if is_again:
                run.num_answered -= 1
            return
        if outcome.origin is not None:
            run.num_before += not is_again  # at no cost, and at no rate that could go on
            return
        run.num_answered += not is_again
        usage = outcome.usage
        run.num_tokens += usage.total_tokens
        run.num_without_usage += not (usage.is_reported or outcome.cached)
        run.num_unpriced += event.cost_usd is None and usage.is_reported
        if event.cost_usd is not None:
            run.cost_usd = (run.cost_usd or 0.0) + event.cost_usd

    def _begin(self, event: StageStarted) -> None:
        name = event.run.name
        run = self.runs.setdefault(name, RunProgress(name))
        if event.stage != ANSWERS:
            # Judges count with the run: it is done when they are.
            num_before = min(event.num_answered, event.num_requests)  # without what was asked again
            run.num_requests += event.num_requests
            run.num_before += num_before
            run.num_to_judge += event.num_requests
            run.num_judged += num_before
            return
        run.num_requests, run.num_before = event.num_requests, event.num_answered
        run.began_s, run.is_loading = time.monotonic(), name in self._loading

    def _set_loading(self, event: ModelLoading | ModelLoaded) -> None:
        """A run sends when its model is loaded; it may begin while that is going on."""
        names = {run.name for run in event.runs}
        is_loading = isinstance(event, ModelLoading)
        self._loading = self._loading | names if is_loading else self._loading - names
        for run in (self.runs[name] for name in names & self.runs.keys()):
            run.is_loading = is_loading
            if not is_loading:
                run.began_s = time.monotonic()


class PlainProgress(ProgressObserver):
    """A line now and then, and one at each run's end; for logs and pipes."""

    def __init__(self) -> None:
        super().__init__()
        self._last_s = time.monotonic()
        self._told_unscored: set[str] = set()

    def on_event(self, event: Event) -> None:
        """Count, and print a line where the last one is some seconds old, or a run has ended."""
        if isinstance(event, RequestFinished):
            run, now_s = self._count(event), time.monotonic()
            if now_s - self._last_s >= PLAIN_EVERY_S:
                self._tell(run, now_s)
            return
        super().on_event(event)
        if isinstance(event, Scored):
            # Also where the last line of this run had no score yet.
            now_s, name = time.monotonic(), event.run.name
            if now_s - self._last_s >= PLAIN_EVERY_S or (event.scores and name in self._told_unscored):
                self._tell(self.runs[name], now_s)
        elif isinstance(event, ModelLoaded):
            # The next line comes in some seconds, when there is something to say.
            self._last_s = time.monotonic()
        elif isinstance(event, RunFinished):
            self._print(self.runs[event.run.name], time.monotonic())

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
            echo(f"{without_controls(run.name)}: {run.status}{already}", err=True)
            return
        name, done, failed, rate, eta, tokens, cost, _ = run.cells(now_s)
        is_running = run.status == "running"
        counted = f"tokens {tokens}" if tokens == "not reported" else f"{tokens} tokens"
        spent = ", ".join(part for part in (counted, cost) if part)
        parts = [
            f"{done} done",
            f"{failed} failed",
            rate,
            f"ETA {eta}" if eta else "",
            f"{spent} in this start" if run.num_before else spent,
            f"{run.main_score} so far" if is_running and run.main_score else "",
            run.judging if is_running else "",
        ]
        echo(f"{without_controls(name)}: {', '.join(part for part in parts if part)}", err=True)


class LiveProgress(ProgressObserver):
    """A table that redraws itself."""

    def table(self) -> LiveTable:
        """The present state."""
        now_s = time.monotonic()
        active = [run for run in self.runs.values() if run.status == "running"]
        num_finished = len(self.runs) - len(active)
        return LiveTable(
            tuple(run.cells(now_s) for run in active[:MAX_SHOWN]),
            f"{num_finished} of {self.num_planned} runs finished",
        )


@dataclass(frozen=True, slots=True)
class LiveTable:
    """What rich draws again and again, in the width of the terminal."""

    rows: tuple[tuple[str, ...], ...]
    last_line: str

    def __rich_console__(self, terminal: Console, options: ConsoleOptions) -> Iterator[Text]:
        """The lines of the table."""
        from rich.text import Text

        stream = terminal.file
        rows = tuple(tuple(printable(cell, stream) for cell in row) for row in self.rows)
        table = TextTable(_COLUMNS, rows, options.max_width, printable(ELLIPSIS, stream))
        for part in table.fitted()[0].parts():
            for line in part.heading:
                yield Text(line, style="bold", no_wrap=True, overflow="crop")
            for line in (printable(part.rule, stream), *part.rows):
                yield Text(line, no_wrap=True, overflow="crop")
        yield Text(self.last_line, style="dim")


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
            echo(f"downloading {url}: {received / 1e6:,.1f}{total} MB", err=True)


class CheckProgress:
    """How many of many runs were looked at: one line on a terminal, else a line every few seconds."""

    def __init__(self, num_runs: int) -> None:
        self._num_runs, self._told_s = num_runs, time.monotonic()
        self._every_s = 1 / REDRAW_PER_S if sys.stderr.isatty() else PLAIN_EVERY_S
        self._has_line = False

    def __call__(self, num_done: int) -> None:
        """Say how far it is, if it was some time ago that it was said."""
        now_s = time.monotonic()
        if now_s - self._told_s < self._every_s:
            return
        self._told_s = now_s
        text = f"looked at {num_done:,} of {self._num_runs:,} runs"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{text}")
            sys.stderr.flush()
            self._has_line = True
        else:
            echo(text, err=True)

    def close(self) -> None:
        """Wipe the line away."""
        if self._has_line:
            sys.stderr.write("\r\033[K")


@contextmanager
def progress_for(*, quiet: bool) -> Iterator[QuietProgress]:
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
