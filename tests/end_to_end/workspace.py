"""A working directory in which the real `evalkit` command is run, in processes of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from evalkit.execution.journal_index import JournalIndex, read_journal, scan_journal
from evalkit.execution.journal_line import Record
from evalkit.models.secret_names import says_secret
from evalkit.results.run_directory import RunDirectory
from evalkit.results.stored_run import StoredRun
from tests.end_to_end.forked import HEAVY, LIGHT, ForkedCommand
from tests.planted import Planted

PRINTED = "printed.txt"
# As it is installed; `Workspace.start` is sooner there.
COMMAND = Path(sys.executable).with_name("evalkit")
PROC = Path("/proc")
# Generous: only reached when something hangs.
_ENDS_WITHIN_S = 400.0
_POLL_S = 0.002
# Variables of the outside world that would change what the command does.
_FOREIGN = ("EVALKIT_DATA_DIR", "http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY")


class Finished(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


@dataclass
class Workspace:
    """Where commands run and where their results lie.

    Attributes:
        heavy: Whether the commands load models on this machine.
    """

    path: Path
    planted: Planted
    env: dict[str, str] = field(default_factory=dict)
    heavy: bool = False
    _deployments: dict[str, dict[str, Any]] = field(default_factory=dict)
    _routed: dict[str, dict[str, Any]] = field(default_factory=dict)
    _processes: list[subprocess.Popen[str]] = field(default_factory=list)
    _printed: list[str] = field(default_factory=list)

    def plant(self, variable: str, name: str = "plain") -> str:
        """Put a planted key into the environment of the commands: no part of it may be printed or written."""
        self.env[variable] = self.planted.use(name)
        return self.env[variable]

    def deploy(
        self,
        name: str,
        url: str,
        *,
        limits: Mapping[str, Any] | None = None,
        prices: Mapping[str, float] | None = None,
        facts: Mapping[str, Any] | None = None,
        **args: Any,
    ) -> None:
        """Describe a deployment, anew if it is there; its URL is no part of what identifies it."""
        client_spec = {"class_name": "openai", "args": {"base_url": f"{url}/v1", "model": "double", **args}}
        self._deployments[name] = {
            "name": name,
            "client_spec": client_spec,
            "revision": "1",
            "limits": dict(limits or {}),
            **({"prices": dict(prices)} if prices else {}),
            **(facts or {}),
        }
        self._write_deployments()

    def route(self, name: str, members: Sequence[str], router: str = "hash", **args: Any) -> None:
        """Describe a routed deployment, anew if it is there."""
        spec = {"name": router, "args": args}
        self._routed[name] = {"name": name, "members": list(members), "router_spec": spec}
        self._write_deployments()

    def _write_deployments(self) -> None:
        described = {"model_deployments": list(self._deployments.values())}
        if self._routed:
            described["routed_deployments"] = list(self._routed.values())
        self.deployments_path.write_text(json.dumps(described), encoding="utf-8")

    @property
    def deployments_path(self) -> Path:
        """The deployment file."""
        return self.path / "model_deployments.yaml"

    def evalkit(self, *arguments: object) -> Finished:
        """Run the command to its end."""
        return self.finish(self.start(*arguments))

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start the command."""
        words = ["evalkit", *map(str, arguments)]
        return self._started(ForkedCommand(words, HEAVY if self.heavy else LIGHT, **self._surroundings()))

    def start_program(self, words: Sequence[str]) -> subprocess.Popen[str]:
        """Start another program as the command is started."""
        return self._started(subprocess.Popen(words, text=True, **self._surroundings()))

    def _started(self, process: subprocess.Popen[str]) -> subprocess.Popen[str]:
        self._processes.append(process)
        return process

    def _surroundings(self) -> dict[str, Any]:
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in _FOREIGN and (not says_secret(name) or self.planted.holds(value))
        }
        own = [
            name
            for name, held in self.env.items()
            if says_secret(name) and held and not self.planted.holds(held)
        ]
        assert not own, f"{own} are not taken from the fixture 'planted'"
        cache = {"COLUMNS": "200", "EVALKIT_CACHE_DIR": str(self.path / "cache")}
        return {
            "cwd": self.path,
            "env": {**environment, **cache, **self.env},
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }

    def finish(self, process: subprocess.Popen[str]) -> Finished:
        """Wait for a command's end."""
        out, err = process.communicate(timeout=_ENDS_WITHIN_S)
        self._printed += [out, err]
        return Finished(process.returncode, out, err)

    def close(self) -> None:
        """End what still runs, after a test that failed; keep what was printed, to be searched for keys."""
        self.planted.own.add(self.deployments_path.name)
        (self.path / PRINTED).write_text("\n".join(self._printed), encoding="utf-8")
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def suite(self, name: str = "default") -> Path:
        """The folder of a suite."""
        return self.path / "benchmark_output" / "runs" / name

    def runs(self, suite: str = "default") -> list[RunDirectory]:
        """The runs of a suite, by name."""
        return [RunDirectory(path) for path in sorted(self.suite(suite).glob("[!.]*"))]

    def run(self, suite: str = "default") -> RunDirectory:
        """The only run of a suite."""
        (directory,) = self.runs(suite)
        return directory

    def stored(self, suite: str = "default") -> StoredRun:
        """The only run of a suite, as readers see it."""
        return StoredRun.open(self.run(suite).path)

    def num_lines(self, suite: str = "default") -> int:
        """Outcomes in the journals of a suite so far; 0 before there is any."""
        journals = self.suite(suite).glob("[!.]*/journal.jsonl")
        return sum(max(0, journal.read_bytes().count(b"\n") - 1) for journal in journals)


def until(condition: Callable[[], bool], within_s: float = 300.0) -> None:
    """Returns as soon as the condition holds; fails if it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {within_s:g} s"
        time.sleep(_POLL_S)


def handled(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether the process has noticed a signal that it was sent, so that another is another one."""
    if not PROC.is_dir():
        time.sleep(1)
        return True
    try:
        status = (PROC / str(process.pid) / "status").read_text()
    except OSError:
        return True
    masks = re.findall(r"^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)$", status, re.MULTILINE)
    return not any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


def index_of(directory: RunDirectory) -> JournalIndex:
    """What the journal of a run holds; an empty index before there is one."""
    if not directory.journal_path.exists():
        return JournalIndex()
    return scan_journal(directory.journal_path)


def records_of(directory: RunDirectory) -> list[Record]:
    """The readable lines of a run's journal."""
    return [line for line in read_journal(directory.journal_path) if isinstance(line, Record)]


def contents(folder: Path, *, leaving_out: tuple[str, ...] = ()) -> dict[str, tuple[int, bytes]]:
    """Each file below a folder with its time of change and its bytes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in leaving_out
    }


def timeless_stats(directory: RunDirectory) -> list[dict[str, Any]]:
    """The numbers of a run without those that measure time."""
    stats = directory.stats()
    return [stat for stat in stats if stat["name"] != "latency_s" and stat["kind"] != "efficiency"]
