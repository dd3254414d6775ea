"""One engine of vLLM's for as long as a client is open, started again where it dies."""

from __future__ import annotations

import asyncio
import gc
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from evalkit.clients.vllm.starting import Starter, forget_log, kill
from evalkit.errors import BadRequestError, SystemicError

MAX_RESTARTS = 3


class Engine:
    """Starts vLLM's engine, and starts it again when it has died, three times at most.

    Args:
        arguments: For vLLM's `AsyncEngineArgs`.
        log: Where its log is appended to; None: kept only for as long as the engine lives.

    Attributes:
        num_running: How many requests its last step computed.
        num_restarts: How often it was started again.
    """

    def __init__(self, arguments: Mapping[str, Any], log: Path | None = None) -> None:
        self.num_running = self.num_restarts = 0
        self._arguments, self._log = arguments, log
        self._folder: Path | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._llm: Any = None
        self._starter: Starter | None = None
        self._starting: asyncio.Future[None] | None = None
        self._restarting: asyncio.Task[None] | None = None
        self._failure: str | None = None
        self._stopping = False

    async def start(self) -> Any:
        """The engine, as vLLM's `AsyncLLM`.

        Raises:
            SystemicError: It can't be started.
        """
        if self._stopping:
            raise SystemicError("vLLM was not started")
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="evalkit-vllm-"))
        log = self._log or self._folder / "vllm.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        self._starter = Starter(self._arguments, self._folder, log, self._record)
        # vLLM's processes end with the thread that started them: it is kept until `stop`.
        self._thread = self._thread or ThreadPoolExecutor(1, "vllm")
        loop = asyncio.get_running_loop()
        # A thread can't be cancelled: whoever waits may be, and `stop` has the start fail.
        self._starting = loop.run_in_executor(self._thread, self._starter.start)
        await asyncio.shield(self._starting)
        return self._take()

    async def living(self) -> Any:
        """The engine; if it has died, after it was started again by the first who asks.

        Raises:
            BadRequestError: It died too often, or does not start any more.
        """
        if self._llm.errored:
            if self._restarting is None or self._restarting.done():
                self._restarting = asyncio.create_task(self._restart())
            # Who waits may be cancelled; the others still want it.
            await asyncio.shield(self._restarting)
        return self._llm

    async def stop(self) -> None:
        """End the engine with all its processes, also while it starts."""
        self._stopping = True
        while pending := [task for task in (self._starting, self._restarting) if task and not task.done()]:
            if self._starter is not None:
                self._starter.give_up()
            await asyncio.wait(pending, timeout=0.1)
        for task in (self._starting, self._restarting):
            if task is not None and not task.cancelled():
                task.exception()  # its waiters got the exception
        self._take()
        self._starting = self._restarting = self._starter = None
        await self._shut_down()
        forget_log()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def _restart(self) -> None:
        if self._failure is None and self.num_restarts >= MAX_RESTARTS:
            self._failure = f"vLLM's engine died {self.num_restarts + 1} times"
        if self._failure is not None:
            raise BadRequestError(self._failure, "engine_died")
        self.num_restarts += 1
        await self._end(self._llm)
        try:
            await self.start()
        except SystemicError as error:
            self._failure = f"vLLM's engine died and does not start again: {error}"
            raise BadRequestError(self._failure, "engine_died") from error

    async def _shut_down(self) -> None:
        llm, self._llm = self._llm, None
        if llm is not None:
            await self._end(llm)
        del llm
        await asyncio.to_thread(_collect)

    async def _end(self, llm: Any) -> None:
        processes = core_processes(llm)
        with suppress(Exception):
            await asyncio.to_thread(llm.shutdown)
        for process in processes:
            kill(process)
        # What its sockets ran in, it leaves open; they are closed by a call that it left with the loop.
        await asyncio.sleep(0)
        with suppress(Exception):
            await asyncio.to_thread(llm.engine_core.resources.ctx.destroy, 0)
        # It would do it all again when it is cleared away, even at the end of the interpreter.
        llm.shutdown = _nothing

    def _take(self) -> Any:
        """The engine that was started, if one was."""
        if self._starter is not None and self._starter.llm is not None:
            self._llm, self._starter.llm = self._starter.llm, None
        return self._llm

    def _record(self, stats: Any) -> None:
        self.num_running = stats.num_running_reqs


def _nothing() -> None:
    pass


def _collect() -> None:
    """Clear away an engine, or half of one, which refers to itself."""
    with warnings.catch_warnings():
        # Not every socket context is closed by then.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def core_processes(llm: Any) -> list[Any]:
    """The processes that an `AsyncLLM` runs; empty where it runs none of its own."""
    manager = getattr(getattr(llm.engine_core, "resources", None), "engine_manager", None)
    return list(getattr(manager, "processes", ()))
