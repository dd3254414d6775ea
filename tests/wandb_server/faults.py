"""Faults that the server shows, by the part of the protocol that a request is of."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

Part = Literal["graphql", "stream", "storage"]


@dataclass
class Fault:
    """What happens to requests of some parts, instead of an answer.

    Attributes:
        kind: "status" answers with `status`; "drop" closes the connection; "lost" does what was asked and
            then closes the connection; "hang" answers when the fault is removed; "errors" answers GraphQL
            with an error.
        parts: Which requests.
        status: Of "status".
        times: How many requests; without end where it is None.
        message: Of "errors", and the body of "status".
    """

    kind: Literal["status", "drop", "lost", "hang", "errors"]
    parts: tuple[Part, ...] = ("graphql", "stream", "storage")
    status: int = 500
    times: int | None = None
    message: str = "made by the test"


class Faults:
    """The faults in force; a test changes them from its own thread."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.num_shown = 0

    def set(self, *faults: Fault) -> None:
        """These, and no others."""
        with self._lock:
            self._faults = list(faults)

    def clear(self) -> None:
        """No more faults; requests that hang go on."""
        self.set()

    def next(self, part: Part) -> Fault | None:
        """The fault that a request of this part meets, which is one time less from now on."""
        with self._lock:
            for fault in self._faults:
                if part in fault.parts and fault.times != 0:
                    fault.times = fault.times and fault.times - 1
                    self.num_shown += 1
                    return fault
        return None

    def holds(self, fault: Fault) -> bool:
        """Whether it is still in force."""
        with self._lock:
            return any(fault is each for each in self._faults)
