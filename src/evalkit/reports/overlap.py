"""Questions that several runs share: asked twice, they are no independent evidence."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from pathlib import Path

from evalkit.reports.cell import Correlations
from evalkit.reports.pairing import ScoredRun
from evalkit.results.run_directory import read_lines


def questions_of(path: Path) -> frozenset[str]:
    """The questions that a run evaluates, by their content; none where only its numbers are known."""
    instances = path / "instances.jsonl"
    return _read(instances, instances.stat().st_mtime_ns) if instances.exists() else frozenset()


@lru_cache(maxsize=4096)
def _read(instances: Path, written_ns: int) -> frozenset[str]:
    found = set()
    for row in read_lines(instances):
        if row.get("perturbation") is None:
            texts = (row["input"], *(reference["text"] for reference in row["references"]))
            content = "\0".join(texts).encode("utf-8", "surrogatepass")
            found.add(hashlib.blake2b(content, digest_size=16).hexdigest())
    return frozenset(found)


def correlations(parts: Sequence[Sequence[ScoredRun]]) -> Correlations:
    """How much the numbers of these parts go together: by the questions that they have in common.

    It is that of two means over sets of n and m questions, k of them common with one outcome: k / sqrt(n m).

    Args:
        parts: Each the runs that a number is over. Only runs of one benchmark can share questions.
    """
    benchmarks = [{one.run.run_spec.scenario_spec.name for one in part} for part in parts]
    found = {}
    asked: dict[int, frozenset[str]] = {}
    for i, j in combinations(range(len(parts)), 2):
        if benchmarks[i].isdisjoint(benchmarks[j]):
            continue
        for position in (i, j):
            if position not in asked:
                asked[position] = frozenset().union(
                    *(questions_of(one.run.directory.path) for one in parts[position])
                )
        if common := len(asked[i] & asked[j]):
            found[i, j] = common / math.sqrt(len(asked[i]) * len(asked[j]))
    return found
