"""`evalkit plan`: what a run would do, with every spec resolved; sends nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evalkit.cli.options import takes_run_options
from evalkit.options import RunOptions

if TYPE_CHECKING:
    from evalkit.planning import LoadedRun, Plan, PlannedRun, Workplace

# Where a scenario knows its size, so many instances are enough to estimate tokens.
SAMPLE_SIZE = 100
# So many prompts, spread evenly, are tokenised to see how far the estimate of a run's tokens is off.
NUM_COUNTED = 256


@takes_run_options
def plan_command(
    *,
    options: RunOptions,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per run spec.")] = False,
    requests: Annotated[
        bool, typer.Option("--requests", help="Show every request as it would be sent.")
    ] = False,
) -> None:
    """Show what `run` would do: resolved run specs, request counts, token and cost estimates."""
    from evalkit.planning import make_plan, open_workplace

    place = open_workplace(options)
    plan = make_plan(place)
    if requests:
        show_requests(plan, place, as_json=as_json)
    else:
        show_plan(plan, place, as_json=as_json)


def show_plan(plan: Plan, place: Workplace, *, as_json: bool) -> None:
    """Print one line (or JSON object) per run spec."""
    from evalkit.cli.output import print_json, print_table

    rows = [describe_run(run, place) for run in plan.runs]
    for note in (*plan.notes, *dict.fromkeys(note for row in rows for note in row["notes"])):
        typer.echo(f"note: {note}", err=True)
    if as_json:
        for row in rows:
            print_json(row)
        return
    print_table(
        ("run", "digest", "instances", "requests", "prompt tokens", "completion tokens", "cost"),
        [
            (
                row["name"],
                (row["digest"] or "?")[:8],
                _number(row["num_instances"]),
                _number(row["num_requests"]),
                _number(row["prompt_tokens"]),
                "≤ " + _number(row["max_completion_tokens"]),
                "?" if row["max_cost_usd"] is None else f"≤ ${row['max_cost_usd']:.4f}",
            )
            for row in rows
        ],
    )
    for row in rows:
        if row["problem"]:
            typer.echo(f"error: {row['name']}: {row['problem']}", err=True)
    missing = [row["name"] for row in rows if row["num_requests"] is None and not row["problem"]]
    if missing:
        typer.echo(
            f"{len(missing)} of {len(rows)} runs need data that is not local yet; `run` downloads it",
            err=True,
        )


def show_requests(plan: Plan, place: Workplace, *, as_json: bool) -> None:
    """Print every request as it would be sent, in order."""
    from evalkit.cli.output import print_json

    for run in plan.runs:
        for row in describe_requests(run, place):
            if as_json:
                print_json(row)
            else:
                typer.secho(f"── {row['run']} {row['key']}", dim=True)
                typer.echo(row["prompt"])


def describe_run(run: PlannedRun, place: Workplace) -> dict[str, Any]:
    """A planned run as plain data; counts are None where its data is not local."""
    from evalkit.planning import data_is_local, load_instances, num_evaluated

    row: dict[str, Any] = {
        "entry": run.entry,
        "name": run.name,
        "digest": run.digest.full if run.digest else None,
        "num_instances": None,
        "num_requests": None,
        "prompt_tokens": None,
        "max_completion_tokens": None,
        "max_cost_usd": None,
        "problem": run.problem or None,
        "notes": [],
        "fixups": [asdict(fixup) for fixup in run.fixups],
        "run_spec": run.run_spec.model_dump(mode="json"),
    }
    if run.problem or not data_is_local(run, place):
        return row
    known = num_evaluated(run)
    loaded = load_instances(run, place, at_most=SAMPLE_SIZE if known else None)
    scale = known / len(loaded.instances) if known else 1
    usage = estimate_usage(loaded, run.deployment.tokenizer_name)
    prompt_tokens, completion_tokens = (round(scale * number) for number in usage)
    row.update(
        num_instances=known or len(loaded.instances),
        num_requests=round(scale * loaded.num_requests),
        prompt_tokens=prompt_tokens,
        max_completion_tokens=completion_tokens,
        notes=list(loaded.notes),
    )
    if run.deployment.prices is not None:
        from evalkit.response import Usage

        row["max_cost_usd"] = run.deployment.prices.cost_usd(Usage(prompt_tokens, completion_tokens))
    return row


def estimate_usage(loaded: LoadedRun, tokenizer_name: str | None) -> tuple[float, int]:
    """About how many prompt tokens the requests of a run have, and how many completion tokens at most.

    Where the model's tokenizer is at hand, an even sample of the prompts is counted in one call, and the
    estimate of all is put right by it.
    """
    from evalkit.models.tokenizers import counting_tokenizer, estimate_tokens

    tokenizer = counting_tokenizer(tokenizer_name)
    stride = max(1, loaded.num_requests // NUM_COUNTED)
    prompt_tokens = completion_tokens = 0
    sample: list[str] = []
    for position, state in enumerate(loaded.requests()):
        prompt_tokens += estimate_tokens(state.request.prompt)
        completion_tokens += state.request.max_tokens * state.request.num_completions
        if tokenizer is not None and position % stride == 0:
            sample.append(state.request.prompt)
    if tokenizer is None or prompt_tokens == 0:
        return prompt_tokens, completion_tokens
    ratio = sum(tokenizer.count_many(sample)) / max(1, sum(map(estimate_tokens, sample)))
    return prompt_tokens * ratio, completion_tokens


def describe_requests(run: PlannedRun, place: Workplace) -> Iterator[dict[str, Any]]:
    """The requests of a run as plain data, every field written out."""
    from evalkit.planning import load_instances

    loaded = load_instances(run, place)
    splits = {instance.id: instance.split for instance in loaded.instances}
    for state in loaded.requests():
        request = state.request
        yield {
            "run": run.name,
            "key": state.key,
            "instance_id": state.instance_id,
            "perturbation": state.perturbation,
            "split": splits[state.instance_id],
            "train_trial": state.trial,
            "sample": state.sample,
            "reference_index": state.reference_index,
            "request_mode": state.request_mode,
            "prompt": request.prompt,
            "messages": request.to_json().get("messages"),
            "num_completions": request.num_completions,
            "top_k_per_token": request.top_k_per_token,
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            "stop_sequences": list(request.stop_sequences),
            "echo_prompt": request.echo_prompt,
            "random": request.random,
            "output_mapping": dict(state.output_mapping) if state.output_mapping else None,
            "num_train_instances": state.num_train_instances,
            "prompt_truncated": state.prompt_truncated,
        }


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
