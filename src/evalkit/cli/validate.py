"""`evalkit validate`: the right answers must get full marks through prompt and metric; asks no model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from evalkit.cli.options import takes_run_options
from evalkit.cli.output import echo, remark
from evalkit.runs.options import RunOptions


@takes_run_options
def validate_command(
    *,
    options: RunOptions,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per run spec.")] = False,
) -> None:
    """Check benchmarks: right answers, fed back as completions, must score 1.0 (else exit code 1)."""
    from evalkit.checks.gold_answers import distinct_runs, validate_run, with_stand_in
    from evalkit.cli.output import print_json, print_table
    from evalkit.runs.plan import make_plan, open_plan_context

    context = with_stand_in(open_plan_context(options))
    plan = make_plan(context, fetch=True)
    found = []
    for run in distinct_runs(plan):
        validation = validate_run(run, context)
        found.append(validation)
        if as_json:
            print_json({"ok": validation.ok, **asdict(validation)})
    if not as_json:
        print_table(
            ("run", "right answers", "instances", "requests"),
            [
                (
                    v.name,
                    "full marks" if v.ok else "NOT ok",
                    str(v.num_instances),
                    str(v.num_requests),
                )
                for v in found
            ],
            num_labels=2,
        )
        for validation in found:
            for problem in validation.problems:
                echo(f"{validation.name}: {problem}", err=True)
            for warning in validation.warnings:
                echo(remark("note", f"{validation.name}: {warning}"), err=True)
    if not all(validation.ok for validation in found):
        raise typer.Exit(1)
