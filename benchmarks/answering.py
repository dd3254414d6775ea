"""Requests through evalkit's executor, timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from evalkit.clients.client import Client
from evalkit.execution.executor import Executor
from evalkit.execution.sender import Sender
from evalkit.models.deployment import Limits
from evalkit.request import Request, RequestState
from evalkit.response import Response


async def answer_all(
    client: Client,
    warm_up: Request,
    requests: Sequence[Request],
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float, list[Response]]:
    """Seconds until all are answered and until the first is, and the answers in order.

    The client is opened, and warmed up with its own request, before the clock starts; it may be that of
    the processor time of this process.
    """
    executor = Executor(Sender(client, name="local", limits=Limits()))
    async for _ in executor.stream([RequestState("warm", "warm", 0, warm_up)]):
        pass
    states = [RequestState(str(index), str(index), 0, request) for index, request in enumerate(requests)]
    answers: dict[str, Response] = {}
    began_s = clock()
    first_s = 0.0
    async for state, outcome in executor.stream(states):
        if not isinstance(outcome, Response):
            raise SystemExit(f"a request failed: {outcome}")
        first_s = first_s or clock() - began_s
        answers[state.key] = outcome
    took_s = clock() - began_s
    await executor.sender.close()
    return took_s, first_s, [answers[str(index)] for index in range(len(requests))]
