"""The observer of evalkit 0.1: one method per event, with names instead of handles."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    from collections.abc import Mapping

    from evalkit.response import Outcome
    from evalkit.results.run_result import RunResult


class Observer:
    """Calls a method for each event, always on the event loop's thread. All methods may be left as they are.

    New code takes the typed events themselves, by a method `on_event` or a function; they say more. This
    class is for observers that were written before there were events: it leaves out the requests of judges.
    A run has the name of its directory in all methods.
    """

    wants_requests = True

    def on_event(self, event: Event) -> None:
        """Call the method for an event; events that have none are left out."""
        match event:
            case RequestFinished(stage=stage) | StageStarted(stage=stage) if stage != ANSWERS:
                pass  # written before runs had judges, it counts one stage
            case RequestFinished():
                self.finished_request(event.run.name, event.outcome, event.cost_usd)
            case Scored():
                self.scored(event.run.name, event.num_scored, event.scores)
            case Note():
                self.note(event.text)
            case RunsPlanned():
                self.planned([run.name for run in event.runs])
            case ModelLoading():
                self.loading([run.name for run in event.runs])
            case ModelLoaded():
                self.loaded([run.name for run in event.runs])
            case StageStarted():
                self.opened(event.run.name, event.num_requests, event.num_answered)
            case RunFinished():
                self.finished_run(event.result)

    def planned(self, names: list[str]) -> None:
        """These runs are going to be worked on, in this order."""

    def note(self, message: str) -> None:
        """Something the user should know: a name used twice, a damaged line, a set-aside run."""

    def loading(self, names: list[str]) -> None:
        """The model of these runs is being loaded; none of their requests is sent meanwhile."""

    def loaded(self, names: list[str]) -> None:
        """The model of these runs is loaded."""

    def opened(self, name: str, num_requests: int, num_answered: int) -> None:
        """A run begins to send: it has `num_requests`, of which earlier starts answered `num_answered`."""

    def finished_request(self, name: str, outcome: Outcome, cost_usd: float | None) -> None:
        """One request has its answer or failure, kept in the journal.

        `cost_usd` is None for a failure, and where prices are not known or the server reports no tokens.
        """

    def scored(self, name: str, num_scored: int, scores: Mapping[str, float]) -> None:
        """Some answers of a run have been scored, soon after they came; one call for many answers.

        Args:
            name: The run.
            num_scored: Units scored so far, those of earlier starts included.
            scores: The mean so far of each score, the main score first. Numbers over all units are not among
                them; they are known at the end.
        """

    def finished_run(self, result: RunResult) -> None:
        """A run has ended, in whatever way."""
