"""Where the requests of a stage come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from evalkit.execution.journal_index import JournalIndex
from evalkit.request import RequestState
from evalkit.response import Response


class RequestSource(Protocol):
    """Makes the requests of a stage, and from answers further ones.

    Both methods depend on nothing but what they are given and what the source was made of, so that a stage
    that was killed goes on where its journal ends.
    """

    @property
    def num_requests(self) -> int:
        """How many requests there are: exactly, or at most."""

    def owed(self, journal: JournalIndex) -> Iterator[RequestState]:
        """What the journal lacks: what unfinished conversations owe, then first requests; made lazily."""

    def after(self, state: RequestState, response: Response) -> Iterable[RequestState]:
        """What follows an answer; pure. Nothing, where requests do not depend on answers."""
