"""Fixtures shared by all tests: where the shared material is, and no way out but loopback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_socket import socket_allow_hosts

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def loopback_only() -> None:
    """Any socket to anything but this machine fails the test."""
    socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of shared material beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("the shared material (../shared) is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def data_dir(shared_dir: Path) -> Path:
    """Real benchmark files."""
    return shared_dir / "data"


@pytest.fixture(scope="session")
def golden(shared_dir: Path) -> Callable[[str], Any]:
    """Observed input/output pairs of HELM: `golden("requests.json")` is the file parsed."""

    def load(name: str) -> Any:
        path = shared_dir / "golden" / "helm" / name
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if name.endswith(".json") else text

    return load
