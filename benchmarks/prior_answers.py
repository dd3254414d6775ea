"""What it costs to look for answers in other runs: the CPU of 1,319 requests, run after run in turn.

    python benchmarks/prior_answers.py [--runs N] [--json]

Four runs of the same requests: with all sources off (`--fresh`), in an empty suite, in a suite with ten
finished runs of other models, and with a run of the same model that has answered 660 of the requests.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from pathlib import Path

from measure import EVALKIT, MODEL, Figure, benchmark, double, run, write_deployment

HERE = Path(__file__).resolve().parent
NUM_REQUESTS, NUM_OTHERS, NUM_FOUND, IN_FLIGHT = 1319, 10, 660, 64


class Suites:
    """Starts runs in copies of prepared suites."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        path = write_deployment(folder, url, IN_FLIGHT)
        (served,) = json.loads(path.read_text(encoding="utf-8"))["model_deployments"]
        others = [{**served, "name": f"double/other-{number}"} for number in range(NUM_OTHERS)]
        path.write_text(json.dumps({"model_deployments": [served, *others]}), encoding="utf-8")
        self._command = (EVALKIT, "run", "--plugin", str(HERE / "word_problems.py"))
        self._options = ("--model-deployments", str(path), "-q")
        for other in others:
            self._run("with others", "-r", f"word_problems:model={other['name']}", "-m", str(NUM_REQUESTS))
        self._run("half found", "-r", f"word_problems:model={MODEL}", "-m", str(NUM_FOUND))
        for name in ("sources off", "empty"):
            (folder / name).mkdir()

    def cpu_s(self, name: str) -> float:
        """User and system CPU seconds of one run in a copy of a suite."""
        copy = f"{name}, copied"
        shutil.copytree(self._folder / name, self._folder / copy)
        fresh = ("--fresh",) if name == "sources off" else ()
        try:
            return self._run(copy, "-r", f"word_problems:model={MODEL}", "-m", str(NUM_REQUESTS), *fresh)
        finally:
            shutil.rmtree(self._folder / copy)

    def _run(self, output: str, *arguments: str) -> float:
        return run([*self._command, *self._options, "-o", output, *arguments], self._folder).cpu_s


def measure(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """The medians, and how each compares with all sources off, pair by pair."""
    names = ("sources off", "empty", "with others", "half found")
    with double(0, folder) as url:
        suites = Suites(folder, url)
        seen: dict[str, list[float]] = {name: [] for name in names}
        for number in range(options.runs):
            # What the machine does meanwhile falls on all alike.
            for name in (*names[number % 4 :], *names[: number % 4]):
                seen[name].append(suites.cpu_s(name))
    figures = []
    for name, values in seen.items():
        ratios = [value / off for value, off in zip(values, seen["sources off"], strict=True)]
        spread = statistics.stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else 0.0
        middle = statistics.mean(ratios)
        compared = {"sources off (low)": middle - 2 * spread, "(high)": middle + 2 * spread}
        figures.append(Figure(f"{name}: CPU", statistics.median(values), "s", ratios=compared))
    return figures


if __name__ == "__main__":
    assert __doc__ is not None
    benchmark(argparse.ArgumentParser(description=__doc__.splitlines()[0]), measure, runs=12)
