"""Opens a client when it is first needed, and closes it when it no longer is.

A model takes its time to load and fills memory: it is loaded once, when the first request is about to be
sent, and only while fewer models than allowed are loaded. Clients that are not resident have nothing to open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.clients.client import Client


class LoadedModelSlots:
    """How many resident clients may be open at once. They open in the order in which they were queued.

    Args:
        number: How many.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._queue: list[ClientLifecycle] = []
        self._changed = asyncio.Event()

    def queue(self, lifecycle: ClientLifecycle) -> None:
        """Let a client open after those queued before it."""
        self._queue.append(lifecycle)

    async def wait(self, lifecycle: ClientLifecycle) -> None:
        """Wait until enough of those before it are closed; they need not have been open."""
        while self._queue.index(lifecycle) >= self._number:
            await self._changed.wait()

    def leave(self, lifecycle: ClientLifecycle) -> None:
        """Give the slot, or the place in the queue, to the next."""
        if lifecycle in self._queue:
            self._queue.remove(lifecycle)
            self._changed.set()
            self._changed = asyncio.Event()


class ClientLifecycle:
    """Opens one client, once, however many wait for it. Used from one event loop.

    Args:
        client: The client.
        slots: Where it is queued, if its client is resident; None: it need not wait.
        on_open: Called when loading begins: `True`, and when it is done: `False`.

    Attributes:
        client: As given.
        is_open: Whether the client can be sent to.
    """

    def __init__(
        self,
        client: Client,
        slots: LoadedModelSlots | None = None,
        on_open: Callable[[bool], None] | None = None,
    ) -> None:
        self.is_open = not client.resident
        self.client = client
        self._slots = slots
        self._on_open = on_open
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        if slots is not None and client.resident:
            slots.queue(self)

    async def wait(self) -> None:
        """Wait until the client is open; the first that waits has it opened.

        Raises:
            Exception: Whatever the client raised; everyone who waits gets it.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._open())
        # Who waits may be cancelled; the others still want the client.
        await asyncio.shield(self._task)

    async def wait_turn(self) -> None:
        """Wait until the client could be opened at once; it need not be."""
        if self._slots is not None and self.client.resident and not (self.is_open or self._closed):
            await self._slots.wait(self)

    async def close(self) -> None:
        """Close the client and give its slot to the next; more calls do nothing."""
        if self._closed:
            return
        self._closed = True
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
        self.is_open = False
        try:
            await self.client.close()
        finally:
            if self._slots is not None:
                self._slots.leave(self)

    async def _open(self) -> None:
        if self._slots is not None:
            await self._slots.wait(self)
        if self._on_open is not None:
            self._on_open(True)
        await self.client.open()
        self.is_open = True
        if self._on_open is not None:
            self._on_open(False)
