"""A server for each test, and the real SDK on as many machines as a test wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.planted import Planted
from tests.wandb_server.sdk import Sdk
from tests.wandb_server.server import WandbServer

Machine = Callable[..., Sdk]


@pytest.fixture
def server(tmp_path: Path, planted: Planted) -> Iterator[WandbServer]:
    """A server that runs; a test in which the SDK asks for what it does not implement fails."""
    with WandbServer(tmp_path / "server", planted.use("of W&B")) as running:
        yield running


@pytest.fixture
def machine(tmp_path: Path, planted: Planted, server: WandbServer) -> Machine:
    """`machine("a", NAME="value")`: a machine with a folder and a cache of its own, and more variables."""

    def make(name: str, **env: str) -> Sdk:
        return Sdk(tmp_path / name, server, planted.use("of W&B"), env)

    return make
