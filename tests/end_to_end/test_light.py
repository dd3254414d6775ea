"""Importing, listing and planning load nothing heavy and open no socket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

import evalkit
from tests.end_to_end.conftest import Serve
from tests.end_to_end.workspace import Workspace

HEAVY = ("torch", "transformers", "wandb", "openai", "anthropic", "datasets", "vllm", "numpy", "pandas")
# What runs in a process of its own: the code under watch, then a report of what it loaded and opened.
WATCHED = """
import atexit, json, sys
opened = []
def watch(event, arguments):
    if event.startswith("socket."):
        opened.append(event)
sys.addaudithook(watch)
report = sys.argv.pop()
def tell():
    with open(report, "w") as file:
        json.dump({"modules": sorted(sys.modules), "sockets": opened}, file)
atexit.register(tell)
"""
MAIN = "from evalkit.cli import main; main()"


def watched(workspace: Workspace, code: str, *arguments: str) -> dict[str, Any]:
    """The modules that code loaded and the sockets it opened; it must end well."""
    report = workspace.path / "report.json"
    done = subprocess.run(
        [sys.executable, "-c", WATCHED + code, *arguments, str(report)],
        cwd=workspace.path,
        env={name: value for name, value in os.environ.items() if name != "EVALKIT_DATA_DIR"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(report.read_text())
    return seen


def heavy_ones(seen: dict[str, Any]) -> set[str]:
    """The heavy packages among the modules loaded."""
    return {name.partition(".")[0] for name in seen["modules"]} & set(HEAVY)


def test_the_watch_sees_what_it_should(workspace: Workspace) -> None:
    seen = watched(workspace, "import socket, numpy; socket.socket().close()")
    assert heavy_ones(seen) == {"numpy"}
    assert seen["sockets"] == ["socket.__new__"]


def test_importing_evalkit_loads_nothing_at_all(workspace: Workspace) -> None:
    seen = watched(workspace, "import evalkit")
    assert [name for name in seen["modules"] if name.startswith("evalkit")] == ["evalkit"]
    assert not {"asyncio", "aiohttp", "pydantic", "yaml", "rich", "typer"} & set(seen["modules"])
    assert seen["sockets"] == []


def test_no_public_name_is_heavy(workspace: Workspace) -> None:
    names = [name for name in evalkit.__all__ if not name.startswith("__")]
    code = f"import evalkit\nfor name in {names!r}: assert getattr(evalkit, name) is not None"
    seen = watched(workspace, code)
    assert heavy_ones(seen) == set()
    assert "aiohttp" not in seen["modules"]
    assert seen["sockets"] == []


@pytest.mark.parametrize("name", [name for name in evalkit.__all__ if not name.startswith("__")])
def test_each_public_name_is_there(name: str) -> None:
    assert getattr(evalkit, name) is not None
    assert name in dir(evalkit)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("run", "--help"),
        ("list",),
        ("list", "run-spec", "--json"),
        ("list", "metric", "--json"),
        ("show", "gsm"),
        ("plan", "-r", "simple_mcqa:model=evalkit/echo", "--json"),
        ("plan", "-r", "simple_mcqa:model=evalkit/echo", "--requests", "--json"),
        ("plan", "-r", "gsm:model=openai/gpt-4o", "mmlu:subject=anatomy,model=anthropic/claude-x"),
        ("run", "--dry-run", "-r", "arithmetic:model=openai/gpt-4o"),
        ("plan", "-r", "simple_mcqa:model=evalkit/echo", "--wandb", "team/project"),
        ("show", "wandb"),
    ],
    ids=" ".join,
)
def test_looking_around_is_light(workspace: Workspace, arguments: tuple[str, ...]) -> None:
    seen = watched(workspace, MAIN, *arguments)
    assert heavy_ones(seen) == set()
    assert "aiohttp" not in seen["modules"]
    assert seen["sockets"] == []
    assert not workspace.suite().exists()


def test_a_run_talks_to_its_server_only_and_loads_no_sdk(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    workspace.deploy("test/a", server.url)
    seen = watched(workspace, MAIN, "run", "-q", "-r", "arithmetic:num_test=5,model=test/a")
    assert heavy_ones(seen) == set()
    assert "socket.connect" in seen["sockets"]
    assert server.num_answered == 5
