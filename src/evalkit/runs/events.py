"""What happens in runs, as typed events, and who hears of it.

An observer is a callable that takes an event, or an object with a method `on_event`. All events come from the
event loop's thread. The order for each run is: `RunStarted`; for each stage `StageStarted`, one event
`RequestFinished` per request, `StageFinished`; at last `RunFinished`. Stages of judges overlap that of
answers. `Scored` and `Note` come in between.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from evalkit.response import Outcome
    from evalkit.results.run_result import RunResult, StageReport


@dataclass(frozen=True, slots=True)
class RunHandle:
    """Which run an event is about. It is the same object in all events of a run.

    Attributes:
        name: The name of the run, in all events, messages, tables and its result: that of its directory.
        path: Its directory, which may not be there yet.
        spec_name: The name of its run spec, which several runs of a suite may share.
        digest: Its identity; None where its data is not on this machine.
        deployment: The deployment that answers.
    """

    name: str
    path: Path
    spec_name: str
    digest: str | None
    deployment: str


@dataclass(frozen=True, slots=True)
class RunsPlanned:
    """evalkit is about to work on these runs, in this order."""

    runs: tuple[RunHandle, ...]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """evalkit works on this run from now on; it may still have to wait for its model or for other runs."""

    run: RunHandle


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage knows its requests and begins to send. A run that is complete already has no stage.

    Attributes:
        stage: `answers`, or `judge:<name>`.
        num_requests: All requests of the stage; an upper bound where requests depend on answers. Of a judge,
            without those that unclear replies add.
        num_answered: Those which earlier starts have answered; they are not sent again.
    """

    run: RunHandle
    stage: str
    num_requests: int
    num_answered: int


@dataclass(frozen=True, slots=True)
class ModelLoading:
    """The model of these runs is being loaded; none of their requests is sent meanwhile.

    Where loading fails, no `ModelLoaded` follows, and the runs end by an error.
    """

    deployment: str
    runs: tuple[RunHandle, ...]


@dataclass(frozen=True, slots=True)
class ModelLoaded:
    """The model of these runs is loaded."""

    deployment: str
    runs: tuple[RunHandle, ...]
    seconds: float


class RequestFinished(NamedTuple):
    """One request has its answer or failure, which is in the journal already.

    A named tuple, since one is made for every request, and a frozen dataclass takes longer to make.

    Attributes:
        key: The request's key in the journal.
        cost_usd: None for a failure, and where prices are not known or the server reports no tokens.
    """

    run: RunHandle
    stage: str
    key: str
    outcome: Outcome
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class StageFinished:
    """A stage sends nothing more in this start.

    Attributes:
        report: Its counts, failures, cost and status, over all starts.
    """

    run: RunHandle
    report: StageReport


@dataclass(frozen=True, slots=True)
class Scored:
    """Some answers of a run have been scored, soon after they came; one event for many answers.

    Attributes:
        num_scored: Units scored so far, those of earlier starts included.
        scores: The mean so far of each score, the main score first. Numbers over all units are not among
            them; they are known at the end.
    """

    run: RunHandle
    num_scored: int
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A run has ended, in whatever way; its directory stays as it is."""

    run: RunHandle
    result: RunResult


@dataclass(frozen=True, slots=True)
class Note:
    """Something the user should know: a damaged line, a run that was set aside, a parameter left out.

    Attributes:
        run: The run that it is about; None for one about several runs, a model or the plan.
    """

    message: str
    run: RunHandle | None = None

    @property
    def text(self) -> str:
        """The message, after the name of the run where it is about one."""
        return self.message if self.run is None else f"{self.run.name}: {self.message}"


Event = (
    RunsPlanned
    | RunStarted
    | StageStarted
    | ModelLoading
    | ModelLoaded
    | RequestFinished
    | StageFinished
    | Scored
    | RunFinished
    | Note
)


class EventObserver(Protocol):
    """An object that hears of events.

    It also hears of each single request, unless it has an attribute `wants_requests` that is False.
    """

    def on_event(self, event: Event, /) -> None:
        """Take an event; called on the event loop's thread, so that the run waits for it."""


AnyObserver = EventObserver | Callable[[Event], object]


class Emitter:
    """Hands each event to all observers, in their order.

    What an observer raises ends the run that the event is about.

    Attributes:
        request_handlers: Those that want to hear of single requests. Whoever finishes requests calls them
            itself, and makes no event where there are none.
    """

    def __init__(self, observers: Iterable[AnyObserver]) -> None:
        listening = [(handler_of(each), getattr(each, "wants_requests", True)) for each in observers]
        self._handlers = [handler for handler, _ in listening]
        self.request_handlers = tuple(handler for handler, wants_requests in listening if wants_requests)

    def emit(self, event: Event) -> None:
        """Hand an event to all observers; `RequestFinished` goes to `request_handlers` instead."""
        for handler in self._handlers:
            handler(event)

    def note(self, message: str, run: RunHandle | None = None) -> None:
        """Hand on something the user should know."""
        self.emit(Note(message, run))


def handler_of(observer: AnyObserver) -> Callable[[Event], object]:
    """What is called with each event: the observer's method `on_event`, else the observer itself.

    Raises:
        TypeError: It has no such method and can't be called, or what would be called is a coroutine function.
    """
    if isinstance(observer, type):
        raise TypeError(f"the class {observer.__name__} is not an observer: give an instance of it")
    handler = getattr(observer, "on_event", observer)
    name = type(observer).__name__
    if not callable(handler):
        raise TypeError(f"{name} is not an observer: it has no method on_event and can't be called")
    if inspect.iscoroutinefunction(handler):
        raise TypeError(f"{name} is not an observer: evalkit does not await it; write def, not async def")
    return handler
