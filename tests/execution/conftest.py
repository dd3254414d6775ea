"""An event loop whose time is made up: waiting costs nothing and is exact."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from evalkit.request import Request, RequestState


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for the next timer, jumps there."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise AssertionError("everything waits and nothing will ever happen")
        self.now += max(0.0, timeout)
        return super().select(0)


class _VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = _JumpingSelector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Runs a coroutine in virtual time, from 0 s on; a deadlock is an AssertionError, a leaked task too."""

    def run_in_virtual_time(main: Coroutine[Any, Any, Any]) -> Any:
        async def checked() -> Any:
            result = await main
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks left running: {left}"
            return result

        with asyncio.Runner(loop_factory=_VirtualTimeLoop) as runner:
            return runner.run(checked())

    return run_in_virtual_time


@pytest.fixture
def make_states() -> Callable[..., list[RequestState]]:
    """`make_states(3, "a")`: three request states with keys and prompts a0, a1, a2."""

    def make(count: int, prefix: str = "q", max_tokens: int = 5) -> list[RequestState]:
        return [
            RequestState(f"{prefix}{n}", f"id{n}", 0, Request(f"{prefix}{n}", max_tokens=max_tokens))
            for n in range(count)
        ]

    return make
