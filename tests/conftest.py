"""Fixtures shared by all tests: where the shared material is, and no way out but loopback."""

from __future__ import annotations

import gc
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from pytest_socket import socket_allow_hosts

from evalkit import redaction
from tests.planted import Planted, Remembered

if find_spec("hypothesis") is not None:  # vLLM's environment has none: no test there uses it
    import hypothesis

    # How long an example takes says more about the machine than about the code.
    hypothesis.settings.register_profile("evalkit", deadline=None)
    hypothesis.settings.load_profile("evalkit")

# The models of the tests are tiny: a second thread of torch's only waits for the first, at full speed. Set
# before torch is imported, and handed on to the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
_SEARCHED = ("searched for planted keys", True)
_MAKES_KEYS_UP = ("test_redaction.py",)
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is there when all tests are collected stays; searching it for garbage often takes long."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def loopback_only() -> None:
    """Any socket to anything but this machine fails the test."""
    socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


@pytest.fixture(autouse=True)
def only_planted_keys(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test in which evalkit reads a key that is not planted fails: nobody would search for it."""
    if request.node.path.name in _MAKES_KEYS_UP:
        yield
        return
    remembered = Remembered()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "_whole", remembered)
        yield
    keys = request.node.funcargs.get("planted")
    if keys is None and remembered.ever:
        pytest.fail("a key is read, and the fixture 'planted' is not used", pytrace=False)
    if keys is not None and not all(map(keys.holds, remembered.ever)):
        pytest.fail("a key is read that is not taken from the fixture 'planted'", pytrace=False)


@pytest.fixture
def planted(request: pytest.FixtureRequest) -> Iterator[Planted]:
    """Keys for a test (`planted.set("OPENAI_API_KEY")`): after it, no byte that was written may show them."""
    keys = Planted(lambda: request.node.user_properties.append(_SEARCHED))
    yield keys
    shown = (text for _, _, text in request.node._report_sections)
    keys.end(request.node.funcargs.get("tmp_path"), shown)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests used a key, and so were searched for it."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    searched = {
        report.nodeid
        for report in reports
        if getattr(report, "when", None) == "call" and _SEARCHED in map(tuple, report.user_properties)
    }
    if searched:
        folders = Counter(nodeid.partition("::")[0].rpartition("/")[0] for nodeid in searched)
        told = ", ".join(f"{folder or '.'} {count}" for folder, count in sorted(folders.items()))
        terminalreporter.write_line(f"searched for planted keys after {len(searched)} tests: {told}")


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
