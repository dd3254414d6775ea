"""The example of conversations does what it says."""

from __future__ import annotations

from pathlib import Path

import evalkit
from evalkit.checks.gold_answers import validate_run, with_stand_in
from evalkit.registry import isolated_registries
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import make_plan, open_plan_context

PLUGIN = Path(__file__).parents[2] / "examples" / "running_total.py"


def test_right_answers_to_every_turn_get_full_marks() -> None:
    with isolated_registries():
        options = RunOptions(run_entries=("running_total",), plugins=(str(PLUGIN),))
        context = with_stand_in(open_plan_context(options))
        (run,) = make_plan(context).runs
        validation = validate_run(run, context)
    assert validation.ok, validation.problems
    assert (validation.num_instances, validation.num_requests) == (100, 300)
    assert validation.means == {"turns_right": 1.0, "exact_match": 1.0}


def test_a_run_asks_three_turns(tmp_path: Path) -> None:
    with isolated_registries():
        (result,) = evalkit.run(
            "running_total:num_instances=7,model=simple/model1", plugins=(str(PLUGIN),), output_path=tmp_path
        )
    assert result.status == "complete"
    assert result.counts["num_answered"] == 21
