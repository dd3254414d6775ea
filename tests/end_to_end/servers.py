"""The loopback double on a thread of the test's process: it lives on when the client is killed."""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING

from evalkit.testing.server import ApiDouble, ServerConfig

if TYPE_CHECKING:
    from aiohttp import web

Handler = Callable[["web.BaseRequest"], Awaitable["web.StreamResponse"]]
# Generous: only reached when something hangs.
_STARTS_WITHIN_S = 120.0
_SUM = re.compile(r"What is (\d+) ([+*-]) (\d+)\?")
_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}


class ThreadedServer:
    """An HTTP server with one handler, from `start` to `close`; with TLS if it is given any."""

    url: str

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self._handler, self._tls = handler, tls
        self._started: Future[str] = Future()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="double")

    def start(self) -> None:
        """Returns when the server takes requests."""
        self._thread.start()
        self.url = self._started.result(_STARTS_WITHIN_S)

    def close(self) -> None:
        """End the server; requests in flight are dropped."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        from aiohttp import web
        from aiohttp.web_runner import ServerRunner

        runner = ServerRunner(web.Server(self._handler, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024, ssl_context=self._tls).start()
            self._started.set_result(f"http{'s' if self._tls else ''}://127.0.0.1:{runner.addresses[0][1]}")
            await self._stop.wait()
        finally:
            await runner.cleanup()


class Gate:
    """Lets a number of requests through and holds the others back until it is opened.

    Tests use it where they would otherwise hope that something happens before a run is over.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.num_held = 0
        self._loop = loop
        self._room: float = math.inf
        self._opened = asyncio.Event()

    def hold_after(self, number: int) -> None:
        """From now on, let so many more requests through; takes effect before it returns."""
        self._do(lambda: self._set(number))

    def open(self) -> None:
        """Let everything through, what is held first."""
        self._do(lambda: self._set(math.inf))

    async def passed(self, request: web.BaseRequest) -> bool:
        """Wait to be let through; False if whoever asked has gone meanwhile."""
        while self._room < 1:
            self.num_held += 1
            try:
                await self._opened.wait()
            finally:
                self.num_held -= 1
        self._room -= 1
        return request.transport is not None and not request.transport.is_closing()

    def _set(self, room: float) -> None:
        opened, self._opened, self._room = self._opened, asyncio.Event(), room
        opened.set()

    def _do(self, change: Callable[[], None]) -> None:
        async def do() -> None:
            change()

        asyncio.run_coroutine_threadsafe(do(), self._loop).result(_STARTS_WITHIN_S)


class Double(ThreadedServer):
    """`ApiDouble` with a memory: the prompts answered, in order, and how many were in flight then.

    Attributes:
        gate: Holds requests back on demand; open at first.
    """

    def __init__(self, config: ServerConfig, tls: ssl.SSLContext | None = None) -> None:
        self.prompts: list[str] = []
        self.crowds: list[int] = []
        self._answer = config.answers if callable(config.answers) else (config.answers or {}).__getitem__
        self.double = ApiDouble(replace(config, answers=self._remember))
        super().__init__(self._handle, tls)
        self.gate = Gate(self._loop)

    @property
    def num_answered(self) -> int:
        """Requests answered with 200."""
        return self.double.outcomes["200"]

    @property
    def num_received(self) -> int:
        """Requests seen to an end, in whatever way."""
        return sum(self.double.outcomes.values())

    @property
    def in_flight(self) -> int:
        """Requests being worked on."""
        return self.double.in_flight

    @property
    def num_tokens(self) -> int:
        """What was billed, provided that every answer was a single word."""
        return sum(len(prompt) // 4 + 2 for prompt in self.prompts)

    def hashes(self) -> list[str]:
        """The prompts answered, in order, hashed."""
        return [prompt_hash(prompt) for prompt in self.prompts]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if not await self.gate.passed(request):
            raise ConnectionResetError
        return await self.double.handle(request)

    def _remember(self, prompt: str) -> str:
        self.prompts.append(prompt)
        self.crowds.append(self.double.in_flight)
        return self._answer(prompt)


def refusing(status: int, body: bytes) -> ThreadedServer:
    """A server that gives one answer to everything."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        from aiohttp import web

        await request.read()
        return web.Response(status=status, body=body, content_type="application/json")

    return ThreadedServer(handle)


def dead_url() -> str:
    """The address of a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def prompt_hash(prompt: str) -> str:
    """What prompts are compared by."""
    return hashlib.sha256(prompt.encode()).hexdigest()


def solve(prompt: str) -> str:
    """The right answer to the last sum in a prompt."""
    left, sign, right = _SUM.findall(prompt)[-1]
    return str(_OPERATIONS[sign](int(left), int(right)))


def solve_two_of_three(prompt: str) -> str:
    """Right for about two prompts in three, always the same ones; wrong by one for the others."""
    result = int(solve(prompt))
    return str(result + (int(prompt_hash(prompt)[:8], 16) % 3 == 0))
