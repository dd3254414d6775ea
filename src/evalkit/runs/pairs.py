"""Stored runs compared in pairs: a new run for each pair, which asks nobody but the judges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.results.run_directory import RunDirectory, find_runs
from evalkit.runs.plan import Plan, PlanContext
from evalkit.runs.stored_answers import each_once, plan_judging
from evalkit.specs.run_spec import JudgeSpec, Pooling

PAIRWISE = "pairwise"
_MOST_NAMED = 4
_Questions = dict[tuple[str, str | None], str]


def plan_pairs(
    paths: Sequence[Path],
    against: Path | None,
    template: Path | None,
    judging: Sequence[str],
    pooling: Pooling | None,
    context: PlanContext,
) -> Plan:
    """Runs that compare the answers of stored runs, each pair in both orders.

    Args:
        paths: The stored runs.
        against: The run that all others are compared with; None: each is compared with each, every pair once,
            whatever the order in which they are given.
        template: A file with the prompt; None: the one that comes with evalkit.
        judging: Who judges: deployments.
        pooling: How the verdicts of several become one; None: by their mean.
        context: Options, models and data.

    Raises:
        UsageError: There is nothing to compare, nobody judges, or two runs did not ask the same questions.
        StoreError: A run can't be read.
    """
    if not judging:
        raise UsageError("nobody judges; name a model or deployment with --judge")
    args = {} if template is None else {"template": str(template.resolve())}
    questions: dict[Path, _Questions] = {}
    planned: list[Any] = []
    for one, other in _pairs(paths, against):
        for path in (one, other):
            if path not in questions:
                questions[path] = _questions_of(path)
        _require_same(one, questions[one], other, questions[other])
        spec = JudgeSpec(name=PAIRWISE, args={"against": str(other), **args})
        planned += plan_judging([one], [spec], judging, context, pooling).runs
    return Plan(each_once(planned))


def _pairs(paths: Sequence[Path], against: Path | None) -> Iterator[tuple[Path, Path]]:
    resolved = list(dict.fromkeys(path.resolve() for path in paths))
    if against is not None:
        baseline = against.resolve()
        _require_run(baseline, against)
        others = [path for path in resolved if path != baseline]
        if not others:
            raise UsageError(f"nothing to compare: give another run than {against}")
        yield from ((path, baseline) for path in others)
        return
    if len(resolved) < 2:
        raise UsageError("--all-pairs compares two runs or more; there is one")
    yield from combinations(sorted(resolved), 2)


def _require_run(path: Path, given: Path) -> None:
    """Nothing, if this is the directory of a run.

    Raises:
        UsageError: It is not; names the runs below it.
    """
    if not path.is_dir():
        return
    found = [run.path for run in find_runs(path)]
    if path not in found:
        names = ", ".join(each.name for each in found[:_MOST_NAMED])
        raise UsageError(f"{given} is not the directory of a run; name one of those in it: {names}")


def _questions_of(path: Path) -> _Questions:
    instances = RunDirectory(path).instances()
    return {(str(each.id), each.perturbation_label): each.input for each in instances}


def _require_same(one: Path, ours: _Questions, other: Path, theirs: _Questions) -> None:
    """Nothing, if what both runs asked under one id is the same question.

    Raises:
        UsageError: It is not, or they have no question in common.
    """
    common = ours.keys() & theirs.keys()
    different = sorted(key[0] for key in common if ours[key] != theirs[key])
    if different:
        raise UsageError(
            f"{one.name} and {other.name} asked different questions: '{different[0]}' is another one in each "
            f"({len(different)} of {len(common)}); compare runs of one benchmark with the same data"
        )
    if not common:
        raise UsageError(f"{one.name} and {other.name} have no question in common")
