"""`evalkit validate`: the right answers must get full marks through prompt and metric; asks no model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from evalkit.cli.options import takes_run_options
from evalkit.options import RunOptions


@takes_run_options
def validate_command(
    *,
    options: RunOptions,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per run spec.")] = False,
) -> None:
    """Check benchmarks: right answers, fed back as completions, must score 1.0 (else exit code 1)."""
    from evalkit.cli.output import print_json, print_table
    from evalkit.planning import make_plan, open_workplace
    from evalkit.validation import validate_run

    if not options.models_to_run:
        options = options.model_copy(update={"models_to_run": ("evalkit/echo",)})  # none is asked
    place = open_workplace(options)
    plan = make_plan(place, fetch=True)
    found = []
    for run in plan.runs:
        validation = validate_run(run, place)
        found.append(validation)
        if as_json:
            print_json({"ok": validation.ok, **asdict(validation)})
    if not as_json:
        print_table(
            ("run", "right answers", "instances", "requests", "means"),
            [
                (
                    v.name,
                    "full marks" if v.ok else "NOT ok",
                    str(v.num_instances),
                    str(v.num_requests),
                    ", ".join(f"{name} {mean:.3f}" for name, mean in v.means.items()),
                )
                for v in found
            ],
        )
        for validation in found:
            for problem in validation.problems:
                typer.echo(f"{validation.name}: {problem}", err=True)
            for warning in validation.warnings:
                typer.echo(f"note: {validation.name}: {warning}", err=True)
    if not all(validation.ok for validation in found):
        raise typer.Exit(1)
