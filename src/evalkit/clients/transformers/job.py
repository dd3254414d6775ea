"""One request on its way through the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from evalkit.clients.local.prompting import Prompt
from evalkit.request import Request
from evalkit.response import Response


@dataclass(slots=True, eq=False)
class Job:
    """A request, its prompt as tokens, and where its answer goes. Compared by identity.

    Attributes:
        finish: Takes the answer, or the error that stands for it; called once, from the engine's thread.
        queued_s: When it was handed over, by `time.perf_counter`.
        cancelled: Set from outside when nobody waits for it any more; the engine drops it when it sees that.
    """

    request: Request
    prompt: Prompt
    finish: Callable[[Response | Exception], None]
    queued_s: float
    cancelled: bool = False
