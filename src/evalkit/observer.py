"""What a run tells whoever watches it. The base does nothing; the command line draws progress with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.response import Outcome
    from evalkit.results.run_result import RunResult


class Observer:
    """Receives events of runs, always from the event loop's thread. All methods may be left as they are."""

    def planned(self, names: list[str]) -> None:
        """These runs are going to be worked on, in this order."""

    def note(self, message: str) -> None:
        """Something the user should know: a name used twice, a damaged line, a set-aside run."""

    def opened(self, name: str, num_requests: int, num_answered: int) -> None:
        """A run's instances are loaded; so many requests, of which so many were answered before."""

    def finished_request(self, name: str, outcome: Outcome, cost_usd: float | None) -> None:
        """One request has its answer or failure, kept in the journal."""

    def finished_run(self, result: RunResult) -> None:
        """A run has ended, in whatever way."""
