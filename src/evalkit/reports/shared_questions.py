"""Questions that several runs share: asked twice, they are not independent evidence."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path

from evalkit.reports.cell import Correlations
from evalkit.reports.pairing import ScoredRun, read_scores
from evalkit.results.run_directory import read_lines
from evalkit.results.stored_run import StoredRun


@dataclass(frozen=True, slots=True)
class Sample:
    """What a number is a mean over.

    Attributes:
        benchmark: Only samples of one benchmark can share questions.
        run: The run whose questions they are.
        read: The value of each question, by the question's content.
        sub_split: Only the questions of this one.
    """

    benchmark: str
    run: StoredRun
    read: Callable[[], Mapping[str, float]]
    sub_split: str | None = None


def sample_of(one: ScoredRun) -> Sample:
    """The scores of a run."""
    name = one.run.run_spec.scenario_spec.name
    return Sample(name, one.run, lambda: _values(one), one.stat.sub_split)


def sample_of_difference(first: ScoredRun, second: ScoredRun) -> Sample:
    """The differences between two runs of the same questions."""

    def read() -> Mapping[str, float]:
        ours, theirs = _values(first), _values(second)
        return {content: value - theirs[content] for content, value in ours.items() if content in theirs}

    return Sample(first.run.run_spec.scenario_spec.name, first.run, read, first.stat.sub_split)


def questions_of(run: StoredRun, sub_split: str | None = None) -> frozenset[str]:
    """The questions that a run evaluates, by their content; none where only its numbers are known."""
    return frozenset(one.content for one in _contents(run).values() if sub_split in (None, one.sub_split))


def cluster_of_each(one: ScoredRun) -> Mapping[str, str]:
    """What each instance of a run has in common with others, in this run and elsewhere.

    It is the question's content; of a group of instances (questions on one passage) that of one of them, the
    same one wherever the group is evaluated.
    """
    contents = _contents(one.run)
    first: dict[str, str] = {}
    if one.stat.num_clusters is not None:
        for found in contents.values():
            if found.group is not None:
                first[found.group] = min(first.get(found.group, found.content), found.content)
    return {
        name: found.content if found.group is None else first.get(found.group, found.content)
        for name, found in contents.items()
    }


def correlations(parts: Sequence[Sequence[Sample]]) -> Correlations:
    """How much numbers go together, by the outcomes on the questions that they have in common.

    It is the correlation of two means: the sum over common questions of the product of both deviations, over
    the roots of the sums of the squared deviations of each. Where there are no outcomes to compare, or no
    deviation, it is k / sqrt(n m) for k common ones of n and m questions: as if all common outcomes were the
    same.

    Args:
        parts: Each the samples that a number is the mean of, weighing the same.
    """
    asked: dict[int, frozenset[str]] = {}
    deviations: dict[int, Mapping[str, float]] = {}
    benchmarks = [{sample.benchmark for sample in part} for part in parts]
    found = {}
    for i, j in combinations(range(len(parts)), 2):
        if benchmarks[i].isdisjoint(benchmarks[j]):
            continue
        for position in (i, j):
            if position not in asked:
                asked[position] = frozenset().union(
                    *(questions_of(one.run, one.sub_split) for one in parts[position])
                )
        if common := asked[i] & asked[j]:
            for position in (i, j):
                if position not in deviations:
                    deviations[position] = _deviations(parts[position])
            as_one = len(common) / math.sqrt(len(asked[i]) * len(asked[j]))
            found[i, j] = _correlation(deviations[i], deviations[j], common, as_one)
    return found


def _correlation(
    first: Mapping[str, float], second: Mapping[str, float], common: frozenset[str], otherwise: float
) -> float:
    squares = [math.fsum(value * value for value in each.values()) for each in (first, second)]
    if not all(squares):
        return otherwise
    both = math.fsum(first.get(content, 0.0) * second.get(content, 0.0) for content in common)
    return both / math.sqrt(squares[0] * squares[1])


def _deviations(part: Sequence[Sample]) -> Mapping[str, float]:
    """What each question adds to the deviation of a mean."""
    total: dict[str, float] = {}
    for sample in part:
        values = sample.read()
        mean = math.fsum(values.values()) / len(values) if values else 0.0
        for content, value in values.items():
            total[content] = total.get(content, 0.0) + (value - mean) / len(values)
    return total


def _values(one: ScoredRun) -> Mapping[str, float]:
    one.run.check("scores.jsonl")
    contents = _contents(one.run)
    scores = read_scores(one.run.directory.path, one.scores, one.stat.split, one.stat.sub_split)
    return {contents[name].content: score for name, score in scores.items() if name in contents}


@dataclass(frozen=True, slots=True)
class _Asked:
    """An original instance: a digest of its content, and where it belongs."""

    content: str
    sub_split: str | None
    group: str | None


def _contents(run: StoredRun) -> Mapping[str, _Asked]:
    run.check("instances.jsonl")
    instances = run.directory.instances_path
    return _read(instances, instances.stat().st_mtime_ns) if instances.exists() else {}


@lru_cache(maxsize=4096)
def _read(instances: Path, written_ns: int) -> Mapping[str, _Asked]:
    """The original instances by their ids."""
    found = {}
    for row in read_lines(instances):
        if row.get("perturbation") is None:
            texts = (row["input"], *(reference["text"] for reference in row["references"]))
            content = "\0".join(texts).encode("utf-8", "surrogatepass")
            digest = hashlib.blake2b(content, digest_size=16).hexdigest()
            found[row["id"]] = _Asked(digest, row.get("sub_split"), row.get("group"))
    return found
