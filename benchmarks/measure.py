"""What the benchmarks share: child processes with what they used, the loopback double, and the report."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

PYTHON = sys.executable
EVALKIT = str(Path(sys.executable).with_name("evalkit"))
MODEL = "double/model"


@dataclass(frozen=True, slots=True)
class Used:
    """What a child process used, from its start to its end, threads included."""

    wall_s: float
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured number.

    Attributes:
        limit: What it must not exceed, or must reach if `at_least`; None where no goal is set.
        ratios: What it is compared with, to how many times that it is.
    """

    what: str
    value: float
    unit: str
    limit: float | None = None
    at_least: bool = False
    ratios: Mapping[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def environment() -> dict[str, str]:
    """The environment of child processes: compiled modules are kept, as a user has it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def start(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a child in `folder`; what it says goes to `output.txt` there."""
    with open(folder / "output.txt", "wb") as output:
        return subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=output, stderr=subprocess.STDOUT
        )


def run(command: Sequence[str], folder: Path) -> Used:
    """Run a child to its end.

    Raises:
        SystemExit: It failed; its output is shown.
    """
    began_s = time.perf_counter()
    process = start(command, folder)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began_s
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        said = (folder / "output.txt").read_text(encoding="utf-8", errors="replace")
        raise SystemExit(f"{' '.join(command)}\nended with {process.returncode}:\n{said}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Used(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6)


def median(values: Sequence[Used]) -> Used:
    """The median of each number on its own."""
    return Used(
        *(statistics.median(getattr(used, name) for used in values) for name in Used.__dataclass_fields__)
    )


@contextmanager
def double(latency_ms: float, folder: Path) -> Iterator[str]:
    """A server in its own process that answers each request after `latency_ms`; gives its URL."""
    process = subprocess.Popen(
        [PYTHON, "-m", "evalkit.testing.server", "--port", "0", "--latency-ms", str(latency_ms)],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().decode().strip()
        if not url:
            raise SystemExit("the double did not start")
        yield url
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def write_deployment(folder: Path, url: str, in_flight: int) -> Path:
    """A deployments file that serves `MODEL` at `url`, with so many requests in flight from the start."""
    limits = {"max_concurrency": in_flight, "initial_concurrency": in_flight}
    args = {"base_url": f"{url}/v1", "model": MODEL}
    deployment = {"name": MODEL, "client_spec": {"class_name": "openai", "args": args}, "limits": limits}
    path = folder / "deployments.yaml"
    # JSON is YAML.
    path.write_text(json.dumps({"model_deployments": [deployment]}), encoding="utf-8")
    return path


def benchmark(
    parser: argparse.ArgumentParser, measure: Callable[[argparse.Namespace, Path], list[Figure]], runs: int
) -> None:
    """The command line of a benchmark: measure in a temporary folder, then print the figures.

    Args:
        parser: Gets the options that all benchmarks have.
        measure: Gets the options and the folder.
        runs: How often each thing is measured unless `--runs` says otherwise.
    """
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--runs", type=int, default=runs, help=f"medians are over so many (default {runs})")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evalkit-benchmark-") as folder:
        figures = measure(options, Path(folder))
    machine = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "runs": options.runs,
    }
    if options.json:
        rows = [{**asdict(figure), "met": figure.met} for figure in figures]
        print(json.dumps({"benchmark": parser.prog, "machine": machine, "figures": rows}, indent=2))
    else:
        print(", ".join(f"{name} {value}" for name, value in machine.items()))
        print_table(figures)


def print_table(figures: Sequence[Figure]) -> None:
    """One line per figure: what, measured, goal, ratios."""
    rows = [("what", "measured", "goal", "", "ratio")]
    rows += [(f.what, _number(f.value, f.unit), _goal(f), _verdict(f), _ratios(f)) for f in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for what, measured, goal, verdict, ratios in rows:
        cells = (what.ljust(widths[0]), measured.rjust(widths[1]), goal.rjust(widths[2]))
        print("  ".join((*cells, verdict.ljust(widths[3]), ratios)).rstrip())


def _number(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f} {unit}".rstrip()


def _goal(figure: Figure) -> str:
    if not figure.limit:
        return ""
    return f"{'>=' if figure.at_least else '<='} {figure.limit:g} {figure.unit}".rstrip()


def _verdict(figure: Figure) -> str:
    return {None: "", True: "met", False: "MISSED"}[figure.met]


def _ratios(figure: Figure) -> str:
    goal = {} if not figure.limit else {"goal": figure.value / figure.limit}
    return ", ".join(f"{ratio:.2f} x {what}" for what, ratio in {**goal, **figure.ratios}.items())
