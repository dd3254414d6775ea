"""What a run tells whoever watches it. The base does nothing; the command line draws progress with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evalkit.response import Outcome
    from evalkit.results.run_result import RunResult


class Observer:
    """Receives events of runs, always from the event loop's thread. All methods may be left as they are.

    A run has one name in all of them and in its result: that of its directory.
    """

    def planned(self, names: list[str]) -> None:
        """These runs are going to be worked on, in this order."""

    def note(self, message: str) -> None:
        """Something the user should know: a name used twice, a damaged line, a set-aside run."""

    def loading(self, names: list[str]) -> None:
        """The model of these runs is being loaded; none of their requests is sent meanwhile."""

    def loaded(self, names: list[str]) -> None:
        """The model of these runs is loaded."""

    def opened(self, name: str, num_requests: int, num_answered: int) -> None:
        """A run's instances are loaded; so many requests, of which so many were answered before."""

    def finished_request(self, name: str, outcome: Outcome, cost_usd: float | None) -> None:
        """One request has its answer or failure, kept in the journal.

        `cost_usd` is None for a failure, and where prices are not known or the server reports no tokens.
        """

    def scored(self, name: str, num_scored: int, scores: Mapping[str, float]) -> None:
        """Some answers of a run have been scored, soon after they came; told for many at once.

        Args:
            name: The run.
            num_scored: Units scored so far, those of earlier starts included.
            scores: The mean so far of each score, the one that stands for the run first. Numbers over all
                units are not among them; they are known at the end.
        """

    def finished_run(self, result: RunResult) -> None:
        """A run has ended, in whatever way."""
