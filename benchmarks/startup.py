"""How long a command takes that has little to do.

    python benchmarks/startup.py [--runs N] [--json]

The commands are run in turn, so that noise falls on all alike; medians of whole processes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from measure import EVALKIT, MODEL, PYTHON, Figure, Used, benchmark, double, median, run, write_deployment

GOALS_S: dict[str, float | None] = {
    "python -c pass": None,
    "import evalkit": None,
    "evalkit --help": 0.35,
    "evalkit list": 0.5,
    "a run of one instance": 1.0,
    "a finished run, started again": 0.6,
}
ENTRY = f"arithmetic:model={MODEL}"


def commands(folder: Path, url: str, turn: int) -> dict[str, list[str]]:
    """The commands of one turn; the last two share a fresh output path."""
    deployments = write_deployment(folder, url, in_flight=1)
    one = [EVALKIT, "run", "-r", ENTRY, "-m", "1", "--model-deployments", str(deployments)]
    one += ["-o", str(folder / f"output-{turn}")]
    lines = (
        [PYTHON, "-c", "pass"],
        [PYTHON, "-c", "import evalkit"],
        [EVALKIT, "--help"],
        [EVALKIT, "list"],
        one,
        one,
    )
    return dict(zip(GOALS_S, lines, strict=True))


def measure(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """The median wall time of each command."""
    seen: dict[str, list[Used]] = {name: [] for name in GOALS_S}
    with double(0, folder) as url:
        # The first turn compiles modules and fills the disk cache; it does not count.
        for turn in range(options.runs + 1):
            for name, command in commands(folder, url, turn).items():
                used = run(command, folder)
                if turn:
                    seen[name].append(used)
    bare_s = median(seen["python -c pass"]).wall_s
    figures = []
    for name, goal_s in GOALS_S.items():
        wall_s = median(seen[name]).wall_s
        figures.append(Figure(name, wall_s, "s", goal_s, ratios={"python -c pass": wall_s / bare_s}))
    return figures


if __name__ == "__main__":
    benchmark(argparse.ArgumentParser(prog="python benchmarks/startup.py"), measure, runs=15)
