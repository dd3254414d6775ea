"""Helpers for the tests of evalkit and of plugins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def check_scenario(run_entry: str, *, plugins: Iterable[str] = (), **options: Any) -> None:
    """Assert that a benchmark agrees with itself; for the tests of a plugin.

    The instances are the same when made twice, ids are unique, and every right answer, fed back as a
    completion, gets full marks from the metrics.

    Args:
        run_entry: Such as `my_task` or `my_task:level=2`; a model need not be given.
        plugins: Plugin modules or files to load.
        **options: Fields of `RunOptions`, such as `data_dir`.
    """
    from evalkit.checks.gold_answers import validate_run, with_stand_in
    from evalkit.runs.load import load_instances
    from evalkit.runs.options import RunOptions
    from evalkit.runs.plan import make_plan, open_plan_context

    chosen = RunOptions(run_entries=(run_entry,), plugins=tuple(plugins), **options)
    context = with_stand_in(open_plan_context(chosen))
    plan = make_plan(context, fetch=True)
    for run in plan.runs:
        first, second = load_instances(run, context), load_instances(run, context)
        assert first.instances == second.instances, f"{run.name}: the instances differ when made twice"
        assert first.train == second.train, f"{run.name}: the train instances differ when made twice"
        validation = validate_run(run, context)
        assert validation.ok, f"{run.name}: " + "; ".join(validation.problems)
