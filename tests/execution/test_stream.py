"""Requests that follow a finished one: pushed into the stream that it came from."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from evalkit.clients.client import Client
from evalkit.errors import AuthenticationError, SystemicError
from evalkit.execution.executor import Executor, Stream
from evalkit.execution.sender import Sender
from evalkit.models.deployment import Limits
from evalkit.request import Request, RequestState
from evalkit.response import Completion, Failure, Response

Run = Callable[[Coroutine[Any, Any, Any]], Any]
MakeStates = Callable[[int], list[RequestState]]


class Slow(Client):
    """Answers after a second; keeps the order in which requests were sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, request: Request) -> Response:
        self.sent.append(request.prompt)
        await asyncio.sleep(1.0)
        if request.prompt.endswith("denied"):
            raise AuthenticationError("401")
        return Response((Completion(request.prompt),))


def executor_of(client: Client, **limits: Any) -> Executor:
    return Executor(Sender(client, name="acme/text", rng=random.Random(0), limits=Limits(**limits)))


def turn_after(state: RequestState, text: str = "u2") -> RequestState:
    key = f"{state.key}/{text}"
    return replace(state, key=key, request=Request(key))


async def answered(stream: Stream, follow: Callable[[RequestState], list[RequestState]]) -> list[str]:
    keys = []
    async for batch in stream.batches():
        for state, outcome in batch:
            assert isinstance(outcome, Response)
            keys.append(state.key)
            stream.push(*follow(state))
    return keys


def test_pushed_requests_are_answered_before_the_stream_ends(run: Run, make_states: MakeStates) -> None:
    def follow(state: RequestState) -> list[RequestState]:
        return [turn_after(state)] if state.key.count("/") < 3 else []

    executor = executor_of(Slow(), initial_concurrency=8)
    keys = run(answered(executor.open_stream(make_states(30)), follow))
    assert sorted(keys) == sorted(f"q{n}{'/u2' * turn}" for n in range(30) for turn in range(4))
    assert executor.outstanding == 0


def test_pushed_requests_go_before_those_that_wait(run: Run, make_states: MakeStates) -> None:
    client = Slow()
    executor = executor_of(client, initial_concurrency=4, max_concurrency=4)
    run(answered(executor.open_stream(make_states(16)), lambda s: [] if "/" in s.key else [turn_after(s)]))
    # A permit that comes free goes to the next at once; what is pushed then goes before all others that wait.
    assert client.sent[:8] == [f"q{n}" for n in range(8)]
    assert set(client.sent[8:12]) == {"q0/u2", "q1/u2", "q2/u2", "q3/u2"}
    assert set(client.sent[12:16]) == {"q4/u2", "q5/u2", "q6/u2", "q7/u2"}


def test_a_push_after_the_end_of_sending_is_not_sent(run: Run, make_states: MakeStates) -> None:
    client = Slow()
    executor = executor_of(client, initial_concurrency=8)

    async def main() -> list[str]:
        asyncio.get_running_loop().call_later(0.5, executor.sender.stop)
        return await answered(executor.open_stream(make_states(8)), lambda s: [turn_after(s)])

    assert sorted(run(main())) == [f"q{n}" for n in range(8)]
    assert not [prompt for prompt in client.sent if "/" in prompt]
    assert executor.sender.interrupted


def test_an_error_that_ends_the_sending_ends_a_stream_whose_push_was_refused(
    run: Run, make_states: MakeStates
) -> None:
    client = Slow()
    executor = executor_of(client, initial_concurrency=8)
    with pytest.raises(SystemicError, match="401"):
        run(answered(executor.open_stream(make_states(8)), lambda s: [turn_after(s, "denied")]))


def test_a_failed_request_has_no_follower_that_is_waited_for(run: Run, make_states: MakeStates) -> None:
    class Broken(Slow):
        async def send(self, request: Request) -> Response:
            self.sent.append(request.prompt)
            raise ValueError("no")

    client = Broken()

    async def main() -> list[Failure]:
        stream = executor_of(client).open_stream(make_states(3))
        return [outcome async for batch in stream.batches() for _, outcome in batch]  # type: ignore[misc]

    assert [failure.reason for failure in run(main())] == ["client_error"] * 3
