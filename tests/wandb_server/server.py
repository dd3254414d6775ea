"""A W&B server on loopback, for the real SDK: GraphQL, file stream and storage, with its state on disk."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiohttp import web

from tests.wandb_server import stream
from tests.wandb_server.faults import Fault, Faults, Part
from tests.wandb_server.graphql import NotImplementedHere, Refused, execute, parse
from tests.wandb_server.mutations import Mutation
from tests.wandb_server.schema import Query
from tests.wandb_server.state import State, md5_of

_MOST_BYTES = 1 << 30
_POLL_S = 0.02
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Asked(NamedTuple):
    """A request that came: of GraphQL, `name` is that of the operation, else the path."""

    part: Part
    method: str
    name: str


class WandbServer:
    """Serves in a thread, from `start` to `stop`; another `start` takes the same port and what is on disk.

    Args:
        folder: Where the state is kept.
        key: The only API key that it lets in.

    Attributes:
        faults: What goes wrong.
        asked: The requests that came, those that met a fault included.
        rejected: What was asked for and is not implemented: a test that ends with something here has failed.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.faults = Faults()
        self.asked: list[Asked] = []
        self.rejected: list[str] = []
        self._folder, self._key = folder, key
        self._port = 0
        self._state = State(folder)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def state(self) -> State:
        """What it knows."""
        return self._state

    def start(self) -> None:
        """Listen."""
        self._state = State(self._folder)
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), name="wandb server", daemon=True)
        self._thread.start()
        assert ready.wait(60), "the server does not start"

    def stop(self) -> None:
        """Close the port, and every connection with it."""
        if self._thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._thread = self._loop = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is None:
            assert not self.rejected, f"the SDK asked for what the server does not implement: {self.rejected}"

    def _serve(self, ready: threading.Event) -> None:
        asyncio.run(self._until_stopped(ready))

    async def _until_stopped(self, ready: threading.Event) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        application = web.Application(client_max_size=_MOST_BYTES, middlewares=[self._guarded])
        application.router.add_post("/graphql", self._graphql)
        application.router.add_post("/files/{entity}/{project}/{run}/file_stream", self._stream)
        application.router.add_put("/storage/{blob:.+}", self._put)
        application.router.add_get("/storage/{blob:.+}", self._get)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = runner.addresses[0][1]
        ready.set()
        await self._ended.wait()
        await runner.cleanup()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        part: Part = "storage"
        name = request.path
        if request.path == "/graphql":
            part, name = "graphql", _operation(await request.text())
        elif request.path.startswith("/files/"):
            part = "stream"
        self.asked.append(Asked(part, request.method, name))
        fault = self.faults.next(part)
        if fault is not None and (answer := await self._shown(fault, request, handler)) is not None:
            return answer
        if part != "storage" and not self._is_let_in(request):
            return web.json_response({"errors": [{"message": "invalid API key"}]}, status=401)
        try:
            return await handler(request)
        except NotImplementedHere as problem:
            self.rejected.append(f"{name}: {problem}")
            return web.json_response({"errors": [{"message": f"not implemented: {problem}"}]}, status=400)
        except Refused as problem:
            return web.json_response({"errors": [{"message": str(problem)}], "data": None}, status=400)

    async def _shown(
        self, fault: Fault, request: web.Request, handler: _Handler
    ) -> web.StreamResponse | None:
        if fault.kind == "status":
            body = {"errors": [{"message": fault.message}]}
            return web.json_response(body, status=fault.status, headers={"Retry-After": "1"})
        if fault.kind == "errors":
            return web.json_response({"errors": [{"message": fault.message}], "data": None})
        if fault.kind == "hang":
            while self.faults.holds(fault):
                await asyncio.sleep(_POLL_S)
            return None
        if fault.kind == "lost":
            await handler(request)
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    def _is_let_in(self, request: web.Request) -> bool:
        sent = request.headers.get("Authorization", "")
        return sent == "Basic " + base64.b64encode(f"api:{self._key}".encode()).decode()

    async def _graphql(self, request: web.Request) -> web.Response:
        asked = await request.json()
        document = parse(asked["query"])
        roots = {"query": Query, "mutation": Mutation}
        root = roots[document.kind](self._state, self.url)
        return web.json_response({"data": execute(document, asked.get("variables") or {}, root)})

    async def _stream(self, request: web.Request) -> web.Response:
        where = "/".join(request.match_info[name] for name in ("entity", "project", "run"))
        run = self._state.runs.get(where)
        if run is None:
            return web.json_response({"error": f"there is no run {where}"}, status=404)
        stream.take(self._state, run, await request.json())
        return web.json_response({"exitcode": None, "limits": {}})

    async def _put(self, request: web.Request) -> web.Response:
        blob = request.match_info["blob"]
        content = await request.read()
        if ".." in blob.split("/"):
            raise Refused("a path that leaves its folder")
        kind, _, rest = blob.partition("/")
        if kind == "artifacts":
            number, _, name = rest.partition("/")
            artifact = self._state.artifacts[int(number)]
            if artifact.uploads[name].md5 != md5_of(content):
                raise Refused(f"{name} has another digest than was announced")
        self._state.write_blob(blob, content)
        if kind == "runs":
            self._keep_file(rest, content)
        return web.Response()

    def _keep_file(self, path: str, content: bytes) -> None:
        for key, run in self._state.runs.items():
            if path.startswith(f"{key}/"):
                run.files[path.removeprefix(f"{key}/")] = md5_of(content)
                self._state.save()

    async def _get(self, request: web.Request) -> web.Response:
        content = self._state.read_blob(request.match_info["blob"])
        return web.Response(status=404) if content is None else web.Response(body=content)


def _operation(text: str) -> str:
    """The name of the operation in a request."""
    try:
        body: dict[str, Any] = json.loads(text)
        return parse(body["query"]).name
    except (ValueError, KeyError, NotImplementedHere):
        return "?"
