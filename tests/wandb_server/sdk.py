"""Starts the real SDK in processes of its own, against a server of tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.wandb_server.server import WandbServer

needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
# Generous: only reached when something hangs.
_ENDS_WITHIN_S = 400.0
_BEGINNING = "import json, os, sys, wandb\nfrom pathlib import Path\n"


def surroundings(folder: Path, url: str, key: str) -> dict[str, str]:
    """Variables that lead the SDK to a server and into a folder; the caches of two folders are apart."""
    own = {
        name: str(folder / name.lower())
        for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR")
    }
    for path in own.values():
        Path(path).mkdir(parents=True, exist_ok=True)
    return {
        **own,
        "WANDB_BASE_URL": url,
        "WANDB_API_KEY": key,
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
        "HOME": str(folder),
    }


@dataclass
class Sdk:
    """The SDK on a machine of its own: folder, cache and key.

    Attributes:
        folder: Where it writes.
        server: What it talks to.
        key: What it sends.
        env: More variables, or others.
    """

    folder: Path
    server: WandbServer
    key: str
    env: Mapping[str, str]

    def run(self, code: str, *arguments: str) -> Any:
        """Run a program with `wandb` imported; returns what it prints last, as data."""
        printed = self.start([sys.executable, "-c", _BEGINNING + code, *arguments])
        assert printed.returncode == 0, printed.stderr
        lines = printed.stdout.splitlines()
        return json.loads(lines[-1]) if lines else None

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the `wandb` command."""
        return self.start([sys.executable, "-m", "wandb", *words])

    def start(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        return subprocess.run(
            words,
            cwd=self.folder,
            env={**environment, **surroundings(self.folder, self.server.url, self.key), **self.env},
            capture_output=True,
            text=True,
            timeout=_ENDS_WITHIN_S,
            check=False,
        )
