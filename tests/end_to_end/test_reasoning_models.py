"""A model that refuses parameters is evaluated all the same, and the run says how it was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.end_to_end.servers import ThreadedServer, solve
from tests.end_to_end.workspace import Workspace

if TYPE_CHECKING:
    from aiohttp import web

ENTRY = "arithmetic:num_test=30,model=test/a"


@contextmanager
def reasoning_model() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that takes no temperature, and no stop sequences; its URL, and the bodies it saw."""
    bodies: list[dict[str, Any]] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        from aiohttp import web

        body = json.loads(await request.read())
        bodies.append(body)
        for name in ("temperature", "stop"):
            if name in body:
                said = f"Unsupported parameter: '{name}' is not supported with this model."
                error = {"message": said, "param": name, "code": "unsupported_parameter"}
                return web.json_response({"error": error}, status=400)
        text = f"{solve(body['messages'][-1]['content'])}\nand more"
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})

    server = ThreadedServer(handle)
    server.start()
    try:
        yield server.url, bodies
    finally:
        server.close()


def test_refused_parameters_are_left_out_and_the_run_says_so(workspace: Workspace) -> None:
    with reasoning_model() as (url, bodies):
        workspace.deploy("test/a", url)
        finished = workspace.evalkit("run", "-r", ENTRY)
        assert finished.code == 0, finished.err
        stored = workspace.stored()
        assert (stored.manifest.status, stored.stat("exact_match").mean) == ("complete", 1.0)
        assert sum("temperature" not in b and "stop" not in b for b in bodies) == 30
        assert len(bodies) <= 90
        assert len(stored.manifest.notes) == 2
        for note in stored.manifest.notes:
            assert note in finished.err

        # A resume keeps what an earlier start noted.
        assert workspace.evalkit("run", "-q", "-r", ENTRY).code == 0
        assert workspace.stored().manifest.notes == stored.manifest.notes


def test_a_run_that_would_measure_something_else_is_stopped(workspace: Workspace) -> None:
    with reasoning_model() as (url, _):
        workspace.deploy("test/a", url)
        finished = workspace.evalkit("run", "-q", "-r", f"{ENTRY},temperature=0.7")
    assert finished.code == 3
    assert "leaving temperature=0.7 out would change the result" in finished.err
