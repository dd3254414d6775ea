"""Right answers of a benchmark with judges are checked without asking a judge."""

from __future__ import annotations

from pathlib import Path

from evalkit.checks.gold_answers import validate_run, with_stand_in
from evalkit.registry import isolated_registries
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import make_plan, open_plan_context

PLUGIN = Path(__file__).parents[2] / "examples" / "second_opinion.py"


def test_judges_are_left_out_of_validation() -> None:
    with isolated_registries():
        options = RunOptions(run_entries=("second_opinion:num_test=7",), plugins=(str(PLUGIN),))
        context = with_stand_in(open_plan_context(options))
        (run,) = make_plan(context).runs
        validation = validate_run(run, context)
    assert validation.ok, validation.problems
    assert (validation.num_requests, validation.means) == (7, {"exact_match": 1.0})
