"""Plans: estimates from part of a scenario agree with counting all of it."""

from __future__ import annotations

from typing import Any

import pytest

from evalkit.cli.plan import describe_run
from evalkit.runs.load import load_instances, num_evaluated
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import make_plan, open_plan_context


def planned(entry: str, **options: Any) -> Any:
    context = open_plan_context(RunOptions(run_entries=(entry,), models_to_run=("evalkit/echo",), **options))
    return context, make_plan(context).runs[0]


@pytest.mark.parametrize(
    "entry",
    [
        "arithmetic:num_test=333",
        "dyck_language:num_parenthesis_pairs=2",
        "synthetic_reasoning:mode=induction",
        "synthetic_reasoning:mode=induction,eval_split=test",
        "synthetic_reasoning_natural:difficulty=easy,max_eval_instances=250",
    ],
)
def test_known_sizes_are_the_true_ones_and_estimates_are_near(entry: str) -> None:
    context, run = planned(entry)
    loaded = load_instances(run, context)
    row = describe_run(run, context)
    assert num_evaluated(run) == len(loaded.instances) == row["num_instances"]
    assert row["num_requests"] == loaded.num_requests
    from evalkit.models.tokenizers import estimate_tokens

    tokens = sum(estimate_tokens(state.request.prompt) for state in loaded.requests())
    assert row["prompt_tokens"] == pytest.approx(tokens, rel=0.1)


def test_the_same_run_twice_is_told_even_where_data_is_missing(tmp_path: Any) -> None:
    context, _ = planned("simple_mcqa", data_dir=tmp_path)
    options = context.options.model_copy(
        update={"run_entries": ("mmlu:subject=anatomy", "mmlu:subject=anatomy")}
    )
    plan = make_plan(open_plan_context(options))
    assert len(plan.runs) == 1
    assert plan.runs[0].digest is None
    assert any("runs once" in note for note in plan.notes)


def test_a_slip_in_a_name_under_a_providers_prefix_is_pointed_out() -> None:
    options = RunOptions(run_entries=("simple_mcqa:model=openai/gpt-5-minni",))
    (note,) = make_plan(open_plan_context(options)).notes
    assert "did you mean 'openai/gpt-5-mini'" in note
    options = RunOptions(run_entries=("simple_mcqa:model=openai/something-new-7",))
    assert make_plan(open_plan_context(options)).notes == ()


def test_damaged_data_is_told_by_the_plan(tmp_path: Any) -> None:
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text("{}\n")
    options = RunOptions(run_entries=("gsm:model=evalkit/echo",), data_dir=tmp_path, offline=True)
    (run,) = make_plan(open_plan_context(options)).runs
    assert "test.jsonl is not the file that was pinned" in run.problem
