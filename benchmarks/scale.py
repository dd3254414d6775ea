"""200,000 instances on a client that answers at once: time, memory, and resuming after a kill.

    python benchmarks/scale.py [--runs N] [--json]

Whole processes are measured, so start-up, loading, scoring and writing are in the time per instance.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import time
from pathlib import Path

from measure import EVALKIT, Figure, benchmark, median, run, start

NUM_INSTANCES = 200_000
KILL_AT = 150_000
ENTRY = f"arithmetic:digits=5,num_test={NUM_INSTANCES},model=evalkit/majority"
POLL_S = 0.002


def command(output: Path) -> list[str]:
    """The run, with its results under `output`."""
    return [EVALKIT, "run", "-r", ENTRY, "-o", str(output)]


def file_of(output: Path, name: str) -> Path:
    """A file of the one run under `output`."""
    (path,) = output.glob(f"runs/*/*/{name}")
    return path


class Tail:
    """Counts the whole lines of a growing file."""

    def __init__(self) -> None:
        self.num_lines = 0
        self.num_bytes = 0

    def read(self, path: Path) -> None:
        """Count what has come since the last call."""
        with path.open("rb") as file:
            file.seek(self.num_bytes)
            while (block := file.read(1 << 20)) and (end := block.rfind(b"\n") + 1):
                self.num_lines += block.count(b"\n")
                self.num_bytes += end
                file.seek(self.num_bytes)


def wait_for_lines(process: subprocess.Popen[bytes], output: Path, tail: Tail, num_lines: int) -> None:
    """Return once the journal has so many lines, its header among them.

    Raises:
        SystemExit: The process ended before.
    """
    while tail.num_lines < num_lines:
        if process.poll() is not None:
            raise SystemExit(f"the run ended after {tail.num_lines} of {num_lines} lines")
        for path in output.glob("runs/*/*/journal.jsonl"):
            tail.read(path)
        time.sleep(POLL_S)


def kill_and_resume(output: Path, folder: Path) -> tuple[float, int]:
    """Kill a run at 150,000 journal lines, start it again and let it finish.

    Returns:
        Seconds from the second start to the first new journal line, and how many lines the kill left.
    """
    tail = Tail()
    process = start(command(output), folder)
    wait_for_lines(process, output, tail, KILL_AT)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    tail.read(file_of(output, "journal.jsonl"))
    left = tail.num_lines
    began_s = time.perf_counter()
    process = start(command(output), folder)
    wait_for_lines(process, output, tail, left + 1)
    decided_s = time.perf_counter() - began_s
    if process.wait() != 0:
        raise SystemExit((folder / "output.txt").read_text(encoding="utf-8", errors="replace"))
    return decided_s, left


def measure(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """All figures; the resumed runs must end with the numbers of the unbroken ones."""
    whole, again, decided, left = [], [], [], []
    for turn in range(options.runs):
        unbroken, broken = folder / f"unbroken-{turn}", folder / f"broken-{turn}"
        whole.append(run(command(unbroken), folder))
        again.append(run(command(unbroken), folder))
        seconds, num_lines = kill_and_resume(broken, folder)
        decided.append(seconds)
        left.append(num_lines)
        if file_of(unbroken, "stats.json").read_bytes() != file_of(broken, "stats.json").read_bytes():
            raise SystemExit("the resumed run ended with other numbers than the unbroken one")
        for output in (unbroken, broken):
            shutil.rmtree(output)
    used = median(whole)
    ms_per_instance = 1000 / NUM_INSTANCES
    return [
        Figure("200,000 instances: wall", used.wall_s, "s"),
        Figure("wall per instance", used.wall_s * ms_per_instance, "ms", 0.5),
        Figure("CPU per instance", used.cpu_s * ms_per_instance, "ms", 0.5),
        Figure("peak memory", used.peak_mb, "MB", 500),
        Figure("journal lines left by the kill", statistics.median(left), ""),
        Figure("second start: until the first new line", statistics.median(decided), "s", 3.0),
        Figure("the finished run, started again", median(again).wall_s, "s", 0.6),
    ]


if __name__ == "__main__":
    benchmark(argparse.ArgumentParser(prog="python benchmarks/scale.py"), measure, runs=3)
