"""`evalkit plan`: what a run would do, with every spec resolved; sends nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from evalkit.cli.console import nobody_reads
from evalkit.cli.nejumi import Select, ToConf, show_entries, with_model_file
from evalkit.cli.options import takes_run_options
from evalkit.cli.output import echo, echo_note, remark
from evalkit.runs.options import RunOptions

if TYPE_CHECKING:
    from evalkit.models.deployment import ModelDeployment, Prices
    from evalkit.runs.load import LoadedRun
    from evalkit.runs.plan import Plan, PlanContext, PlannedRun
    from evalkit.runs.stored_answers import StoredAnswers

# Where a scenario knows its size, this many instances are enough to estimate tokens.
SAMPLE_SIZE = 100
# This many prompts, spread evenly, are tokenised to see how far the estimate of a run's tokens is off.
NUM_COUNTED = 256


@takes_run_options
def plan_command(
    *,
    options: RunOptions,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per run spec.")] = False,
    requests: Annotated[
        bool, typer.Option("--requests", help="Show every request as it would be sent.")
    ] = False,
    to_conf: ToConf = None,
    select: Select = False,
) -> None:
    """Show what `run` would do: resolved run specs, request counts, token and cost estimates."""
    from evalkit.runs.plan import make_plan, open_plan_context

    options = with_model_file(options, select=select, to_conf=to_conf)
    context = open_plan_context(options)
    show_entries(context, to_conf, quiet=False)
    plan = make_plan(context)
    if requests:
        show_requests(plan, context, as_json=as_json)
        raise typer.Exit(1 if plan.bad_entries else 0)
    raise typer.Exit(show_plan(plan, context, as_json=as_json))


def show_plan(plan: Plan, context: PlanContext, *, as_json: bool) -> int:
    """Print one line (or JSON object) per run spec; returns the exit code, 3 if one's data is damaged."""
    from evalkit.cli.output import print_json, print_table

    rows = [describe_run(run, context) for run in plan.runs]
    for note in (*plan.notes, *dict.fromkeys(note for row in rows for note in row["notes"])):
        echo(remark("note", note), err=True)
    if as_json:
        for row in rows:
            print_json(row)
        for bad in plan.bad_entries:
            print_json({"bad_entry": asdict(bad)})
        return _code(plan, rows)
    print_table(
        ("run", "digest", "instances", "requests", "prompt tokens", "completion tokens", "cost", "at most"),
        [
            (
                row["name"],
                (row["digest"] or "?")[:8],
                _number(row["num_instances"]),
                _number(row["num_requests"]),
                _bound("≈", row["prompt_tokens"]),
                _bound("≤", row["max_completion_tokens"]),
                _usd("≈", row["max_cost_usd"]),
                _usd("≤", row["max_cost_usd_by_bytes"]),
            )
            for run_row in rows
            for row in (run_row, *judge_lines(run_row))
        ],
        dropped=("digest", "instances"),
    )
    for row in rows:
        if row["problem"]:
            echo(remark("error", f"{row['name']}: {row['problem']}"), err=True)
    for note in cost_notes(rows):
        echo_note(note)
    missing = [row["name"] for row in rows if row["num_requests"] is None and not row["problem"]]
    if missing:
        echo(
            f"{len(missing)} of {len(rows)} runs need data that is not local yet; `run` downloads it",
            err=True,
        )
    return _code(plan, rows)


def judge_lines(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A run's judges as rows of the table below it: each with all that unclear replies may add."""
    for judge in row["judges"]:
        yield {
            **judge,
            "name": f"  {judge['stage']} by {', '.join(judge['deployments'])}",
            "digest": "-",
            "num_instances": row["num_instances"],
            "num_requests": judge["num_requests"],
        }


def _code(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> int:
    """As `run` ends with what is known before anything is sent: the highest code of all its runs."""
    if any(row["problem"] for row in rows):
        return 3
    return 1 if plan.bad_entries else 0


def cost_notes(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What the bounds of a plan have in them, in words."""
    thinking = {row["thinking_tokens_per_completion"]: row["name"] for row in reversed(rows)}
    for tokens, name in thinking.items():
        if tokens:
            yield f"thinking may take {tokens:,} more completion tokens per request (in {name})"
    priced = [each for row in rows for each in (row, *row["judges"]) if each["max_cost_usd"] is not None]
    if any(row["judges"] for row in rows):
        yield (
            "tokens and cost of judges at most: each question three times, since the same question "
            "follows an unclear reply"
        )
    if priced:
        about_usd, most_usd = (
            sum(row[name] for row in priced) for name in ("max_cost_usd", "max_cost_usd_by_bytes")
        )
        yield (
            f"in all ≈ ${about_usd:.4f} with estimated prompt tokens and completions of full length, "
            f"≤ ${most_usd:.4f} with one token per byte of the prompts"
        )
    if any(row["num_requests"] is not None and row["max_completion_tokens"] is None for row in rows):
        yield (
            "evalkit sends a model no length limit, and does not know its window: the cost has no upper bound"
        )


def show_requests(plan: Plan, context: PlanContext, *, as_json: bool) -> None:
    """Print every request as it would be sent, in order."""
    from evalkit.cli.output import print_json

    for run in plan.runs:
        for row in describe_requests(run, context):
            if nobody_reads():
                return
            if as_json:
                print_json(row)
            else:
                echo(f"── {row['run']} {row['key']}", style="dim")
                echo(row["prompt"])
                for number, text in enumerate(row.get("follow_ups", ()), start=2):
                    echo(f"── turn {number}, after the answer", style="dim")
                    echo(text)


def describe_run(run: PlannedRun, context: PlanContext) -> dict[str, Any]:
    """A planned run as plain data; counts are None where its data is not local."""
    from evalkit.errors import DataError, UsageError
    from evalkit.results.scores import make_scorer
    from evalkit.runs.judge_bounds import judge_bounds
    from evalkit.runs.load import data_is_local, load_instances, num_evaluated
    from evalkit.runs.routing import shares_of

    row: dict[str, Any] = {
        "entry": run.entry,
        "name": run.name,
        "digest": run.digest.full if run.digest else None,
        "num_instances": None,
        "num_requests": None,
        "prompt_tokens": None,
        "max_completion_tokens": None,
        "thinking_tokens_per_completion": None,
        "max_cost_usd": None,
        "max_cost_usd_by_bytes": None,
        "judges": [],
        "problem": run.problem or None,
        "notes": [],
        "fixups": [asdict(fixup) for fixup in run.fixups],
        "run_spec": run.run_spec.model_dump(mode="json"),
    }
    if run.problem:
        return row
    if run.stored is not None:
        return {**row, **_describe_stored(run, run.stored, context)}
    if not data_is_local(run, context):
        return row
    known = num_evaluated(run)
    loaded = load_instances(run, context, at_most=SAMPLE_SIZE if known else None)
    try:
        make_scorer(run.run_spec, loaded.instances)  # says what no metric can score
    except (DataError, UsageError) as error:
        row["problem"] = str(error)
        return row
    scale = known / len(loaded.instances) if known else 1
    try:
        shares = list(shares_of(run, loaded))
    except DataError as error:
        row["problem"] = str(error)
        return row
    judges, judge_notes = judge_bounds(run, loaded, scale, context)
    estimates = [(prices, estimate_tokens_of(share, member)) for member, prices, share in shares]
    row.update(
        num_instances=known or len(loaded.instances),
        num_requests=round(scale * loaded.num_requests),
        notes=[*loaded.notes, *_bound_notes(loaded), *judge_notes],
        judges=judges,
        **_bounds(estimates, scale),
    )
    return row


def _describe_stored(run: PlannedRun, stored: StoredAnswers, context: PlanContext) -> dict[str, Any]:
    """What judging a stored run asks: nothing of its model, and the questions about the answers it has."""
    from evalkit.runs.judge_bounds import judge_bounds

    loaded = stored.load(run)
    judges, notes = judge_bounds(run, loaded, 1, context)
    if not stored.has_ended:
        notes.append(f"{stored.directory.path.name} has not ended; counted are the answers that it has")
    return {
        "num_instances": len(loaded.instances),
        "num_requests": 0,
        "prompt_tokens": 0,
        "max_completion_tokens": 0,
        "thinking_tokens_per_completion": 0,
        "max_cost_usd": 0.0,
        "max_cost_usd_by_bytes": 0.0,
        "judges": judges,
        "notes": [*notes, "`judge` sends no question again that has its reply already"],
    }


def _bound_notes(loaded: LoadedRun) -> Iterator[str]:
    """What of a plan's numbers depends on the answers, in words: the same for all runs, to be said once."""
    if loaded.adapter.has_turns:
        yield (
            "requests and tokens of conversations are at most these; each turn sends the answers before it "
            "again, counted here at their longest"
        )


def _bounds(estimates: Sequence[tuple[Prices | None, RunTokens]], scale: float) -> dict[str, Any]:
    """Tokens and money of a run, as far as they are known, from those of each member that answers."""
    from evalkit.response import Usage

    rows = []
    for prices, tokens in estimates:
        completion = tokens.completion and round(scale * tokens.completion)
        prompt = round(scale * tokens.prompt)
        row: dict[str, float | None] = {"prompt_tokens": prompt, "max_completion_tokens": completion}
        prompts = {"max_cost_usd": prompt, "max_cost_usd_by_bytes": round(scale * tokens.prompt_most)}
        for name, number in prompts.items():
            row[name] = None
            if prices is not None and completion is not None:
                row[name] = prices.cost_usd(Usage(number, completion))
        rows.append(row)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    known = {name: [value for value in values if value is not None] for name, values in columns.items()}
    summed = {name: sum(known[name]) if len(known[name]) == len(rows) else None for name in known}
    return {**summed, "thinking_tokens_per_completion": max(tokens.thinking_each for _, tokens in estimates)}


class RunTokens(NamedTuple):
    """The tokens of a run's requests; of conversations, as if none ended early.

    Attributes:
        prompt: About how many they send.
        prompt_most: How many these can be at most.
        completion: How many they let the model generate at most; None where no limit is sent.
        thinking_each: The most by which one completion may be longer than the run asks for.
    """

    prompt: float
    prompt_most: int
    completion: int | None
    thinking_each: int


def estimate_tokens_of(loaded: LoadedRun, deployment: ModelDeployment) -> RunTokens:
    """What the requests of a run come to.

    Where the model's tokenizer is at hand, an even sample of the prompts is counted in one call, and the
    estimate of all is put right by it.
    """
    from evalkit.clients.factory import allowances
    from evalkit.execution.budget import TokenEstimator
    from evalkit.models.tokenizers import counting_tokenizer, estimate_tokens

    allowance = allowances(deployment)
    bounds = TokenEstimator(allowance=allowance)
    tokenizer = counting_tokenizer(deployment.tokenizer_name)
    stride = max(1, loaded.num_requests // NUM_COUNTED)
    prompt = prompt_most = completion = thinking = 0
    # Answers that are sent again, at their longest.
    sent_again = 0
    is_limited = True
    sample: list[str] = []
    requests = chain.from_iterable(map(loaded.longest, loaded.requests()))
    for position, (request, num_answers) in enumerate(requests):
        allowed = allowance(request)
        prompt += estimate_tokens(request.text) * allowed.sends
        sent_again += num_answers * (allowed.completion_tokens or 0) * allowed.sends
        prompt_most += bounds.most_prompt_tokens(request)
        is_limited = is_limited and allowed.completion_tokens is not None
        completion += allowed.completion_tokens or 0
        thinking = max(thinking, allowed.thinking_tokens)
        if tokenizer is not None and position % stride == 0:
            sample.append(request.text)
    ratio = 1.0
    if tokenizer is not None and prompt:
        ratio = sum(tokenizer.count_many(sample)) / max(1, sum(map(estimate_tokens, sample)))
    return RunTokens(
        prompt * ratio + sent_again, prompt_most + sent_again, completion if is_limited else None, thinking
    )


def describe_requests(run: PlannedRun, context: PlanContext) -> Iterator[dict[str, Any]]:
    """The requests of a run as plain data, every field written out."""
    from evalkit.runs.load import load_instances

    loaded = load_instances(run, context)
    splits = {instance.id: instance.split for instance in loaded.instances}
    for state in loaded.requests():
        row = {
            "run": run.name,
            "key": state.key,
            "instance_id": state.instance_id,
            "perturbation": state.perturbation,
            "split": splits[state.instance_id],
            "train_trial": state.trial,
            "sample": state.sample,
            "reference_index": state.reference_index,
            "request_mode": state.request_mode,
            **state.request.described(),
            "output_mapping": dict(state.output_mapping) if state.output_mapping else None,
            "num_train_instances": state.num_train_instances,
            "prompt_truncated": state.prompt_truncated,
        }
        if state.turn is not None:
            *_, (last, _) = loaded.longest(state)
            said = (last.messages or ())[len(state.request.messages or ()) :]
            row |= {"turn": state.turn, "follow_ups": [m.content for m in said if m.role == "user"]}
        yield row


def _usd(sign: str, value: float | None) -> str:
    return "?" if value is None else f"{sign} ${value:.4f}"


def _bound(sign: str, value: int | None) -> str:
    return "?" if value is None else f"{sign} {value:,}"


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
