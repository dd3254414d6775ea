from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

import pytest

from evalkit.clients.client import Client
from evalkit.errors import SystemicError, UsageError
from evalkit.execution.client_lifecycle import ClientLifecycle, LoadedModelSlots
from evalkit.execution.executor import Executor
from evalkit.execution.sender import Sender
from evalkit.models.deployment import Limits
from evalkit.request import Request, RequestState
from evalkit.response import Completion, Efficiency, Failure, Outcome, Response

Run = Callable[[Any], Any]


class Resident(Client):
    """Takes a while to open, and answers everything it was given at once when it has enough."""

    resident: ClassVar[bool] = True

    def __init__(self, log: list[str], name: str = "r", opens_s: float = 5.0, window: int = 1000) -> None:
        self.log, self.name, self.opens_s, self.window = log, name, opens_s, window
        self.most = self.inside = 0

    async def open(self) -> None:
        self.log.append(f"{self.name} opens")
        await asyncio.sleep(self.opens_s)
        self.log.append(f"{self.name} open")

    async def send(self, request: Request) -> Response:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(1000)  # far beyond any time limit
        self.inside -= 1
        return Response((Completion(self.name, "stop"),), efficiency=Efficiency(1.0, queue_s=2.0))

    async def close(self) -> None:
        self.log.append(f"{self.name} closed")


class Broken(Resident):
    async def open(self) -> None:
        raise UsageError("no such folder")


async def collect(executor: Executor, states: list[RequestState]) -> list[tuple[RequestState, Outcome]]:
    return [found async for found in executor.stream(states)]


def executor_of(client: Client, lifecycle: ClientLifecycle | None = None) -> Executor:
    return Executor(Sender(client, name="test/model", limits=Limits(timeout_s=3), lifecycle=lifecycle))


def test_it_is_opened_once_and_given_everything_at_once(run: Run, make_states: Any) -> None:
    log: list[str] = []
    client = Resident(log)

    async def main() -> list[tuple[RequestState, Outcome]]:
        executor = executor_of(client)
        found = await collect(executor, make_states(300))
        await executor.sender.close()
        await executor.sender.close()
        return found

    found = run(main())
    assert log == ["r opens", "r open", "r closed"]
    assert client.most == 300
    assert len(found) == 300
    assert not any(isinstance(outcome, Failure) for _, outcome in found)
    efficiencies = [outcome.efficiency for _, outcome in found if isinstance(outcome, Response)]
    assert all(e is not None and e.queue_s >= 2.0 for e in efficiencies)


def test_it_takes_no_more_than_its_window(run: Run, make_states: Any) -> None:
    client = Resident([], window=7)
    run(collect(executor_of(client), make_states(50)))
    assert client.most == 7


def test_what_is_cancelled_while_it_opens_leaves_it_to_the_others(run: Run) -> None:
    log: list[str] = []
    lifecycle = ClientLifecycle(Resident(log))

    async def main() -> None:
        first = asyncio.create_task(lifecycle.wait())
        second = asyncio.create_task(lifecycle.wait())
        await asyncio.sleep(1)
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        await second
        assert lifecycle.is_open
        await lifecycle.close()

    run(main())
    assert log == ["r opens", "r open", "r closed"]


def test_closing_while_it_opens_ends_the_opening_and_closes(run: Run) -> None:
    log: list[str] = []

    async def main() -> None:
        slots = LoadedModelSlots(1)
        lifecycle, next_one = (ClientLifecycle(Resident(log, name), slots) for name in "rn")
        waiting, after = (asyncio.create_task(one.wait()) for one in (lifecycle, next_one))
        await asyncio.sleep(1)
        assert log == ["r opens"]
        await lifecycle.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await after

    run(main())
    assert log == ["r opens", "r closed", "n opens", "n open"]


def test_models_wait_for_a_place_in_order(run: Run) -> None:
    log: list[str] = []
    told: list[tuple[str, bool]] = []

    def tell(name: str, began: bool) -> None:
        told.append((name, began))

    async def main() -> None:
        slots = LoadedModelSlots(1)
        openings = {name: ClientLifecycle(Resident(log, name), slots, partial(tell, name)) for name in "abc"}

        async def use(name: str) -> None:
            await openings[name].wait()
            await asyncio.sleep(1)
            await openings[name].close()

        # They go in as they lined up, whoever asks first.
        await asyncio.gather(*(use(name) for name in "cab"))

    run(main())
    assert log == [f"{name} {what}" for name in "abc" for what in ("opens", "open", "closed")]
    assert told == [(name, began) for name in "abc" for began in (True, False)]


def test_who_never_opens_holds_nobody_up_once_it_is_closed(run: Run) -> None:
    log: list[str] = []

    async def main() -> None:
        slots = LoadedModelSlots(1)
        unused, used = (ClientLifecycle(Resident(log, name), slots) for name in "uv")
        waiting = asyncio.create_task(used.wait())
        await asyncio.sleep(1)
        assert not waiting.done()
        await unused.close()
        await waiting

    run(main())
    assert log == ["u closed", "v opens", "v open"]


def test_one_that_cannot_be_opened_stops_its_runs_with_the_reason(run: Run, make_states: Any) -> None:
    with pytest.raises(SystemicError, match="test/model can't be opened: no such folder"):
        run(collect(executor_of(Broken([])), make_states(20)))


def test_a_stop_while_it_opens_leaves_everything_owed(run: Run, make_states: Any) -> None:
    log: list[str] = []

    async def main() -> list[tuple[RequestState, Outcome]]:
        executor = executor_of(Resident(log))
        asyncio.get_running_loop().call_later(1, executor.sender.stop, 0.0)
        found = await collect(executor, make_states(20))
        await executor.sender.close()
        return found

    assert run(main()) == []
    assert log == ["r opens", "r closed"]


def test_who_gives_no_embeddings_refuses_them(run: Run) -> None:
    state = RequestState("k", "id", 0, Request("text", embedding=True))
    [(_, outcome)] = run(collect(executor_of(Resident([], opens_s=0.0)), [state]))
    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.message) == ("bad_request", "test/model gives no embeddings")
