from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.web_runner import ServerRunner

Canned = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture
def canned() -> Canned:
    """A server with one answer to everything: `async with canned(status, body, headers) as url`."""

    @asynccontextmanager
    async def run(
        status: int = 200, body: bytes = b"{}", headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[str]:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            await request.read()
            return web.Response(status=status, body=body, headers=headers)

        runner = ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    return run
