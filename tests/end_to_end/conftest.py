from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from evalkit.testing.server import ServerConfig
from tests.end_to_end.servers import Double, solve
from tests.end_to_end.workspace import Workspace
from tests.planted import Planted

Serve = Callable[..., Double]


@pytest.fixture
def workspace(tmp_path: Path, planted: Planted) -> Iterator[Workspace]:
    """An empty working directory; what still runs there at the end is killed, and no planted key is in it."""
    path = tmp_path / "work"
    path.mkdir()
    made = Workspace(path, planted)
    yield made
    made.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(latency_s=0.01)` starts a double that knows its sums; keywords are `ServerConfig`'s."""
    with ExitStack() as stack:

        def start(**config: object) -> Double:
            server = Double(ServerConfig(**{"answers": solve, **config}))  # type: ignore[arg-type]
            server.start()
            stack.callback(server.close)
            return server

        yield start
