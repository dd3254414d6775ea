"""`evalkit judge`: judge the answers of stored runs; asks nobody but the judges."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evalkit.cli.options import takes_run_options
from evalkit.runs.options import RunOptions
from evalkit.specs.run_spec import Pooling

if TYPE_CHECKING:
    from evalkit.runs.plan import Plan, PlanContext
    from evalkit.specs.run_spec import JudgeSpec


# What the runs say themselves: what was asked, and where they are kept.
_OF_THE_RUNS = (
    "run_entries",
    "conf_paths",
    "nejumi_config",
    "models_to_run",
    "groups_to_run",
    "priority",
    "max_eval_instances",
    "num_train_trials",
    "skip_bad_entries",
    "suite",
    "output_path",
)


@partial(takes_run_options, but=_OF_THE_RUNS)
def judge_command(  # noqa: PLR0913 - one argument per flag
    *,
    paths: Annotated[list[Path], typer.Argument(help="Runs whose answers are judged; imported ones too.")],
    options: RunOptions,
    judges: Annotated[
        list[str] | None,
        typer.Option("--judge", help="Who judges: a model or deployment; several are a jury."),
    ] = None,
    judge_spec: Annotated[
        str | None,
        typer.Option(
            "--judge-spec",
            help="The judge, such as rating:low=1,high=5, or a YAML file with name and args. "
            "Default: those of the run's own spec, or rating.",
        ),
    ] = None,
    pooling: Annotated[
        Pooling | None,
        typer.Option(
            "--pooling",
            help="How several opinions become one score. Default: as the judge's spec says, or mean.",
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="Compare each answer with that of this run, in both orders."),
    ] = None,
    all_pairs: Annotated[
        bool,
        typer.Option("--all-pairs", help="Compare the answers of each two of these runs, in both orders."),
    ] = False,
    template: Annotated[
        Path | None,
        typer.Option("--template", help="With --against or --all-pairs: a file with the judge's prompt."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table's rows as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, only the table.")] = False,
) -> None:
    """Judge the answers of stored runs. Each gets a new run next to it; the stored run stays as it is."""
    from evalkit.runs.pairs import plan_pairs
    from evalkit.runs.plan import open_plan_context
    from evalkit.runs.stored_answers import place_of, plan_judging

    pairs = all_pairs or against is not None
    _refuse_contradictions(pairs, all_pairs=all_pairs and against is not None, judge_spec=judge_spec,
                           template=template)  # fmt: skip
    directories = _directories(paths, against)
    output_path, suite = place_of(directories)
    context = open_plan_context(options.model_copy(update={"output_path": output_path, "suite": suite}))
    deployments = tuple(judges or ())
    if pairs:
        plan = plan_pairs(directories, against, template, deployments, pooling, context)
    else:
        plan = plan_judging(directories, _specs(judge_spec), deployments, context, pooling)
    raise typer.Exit(_show_or_judge(plan, context, as_json=as_json, quiet=quiet))


def _show_or_judge(plan: Plan, context: PlanContext, *, as_json: bool, quiet: bool) -> int:
    """Do the runs, or only show them with `--dry-run`; returns the exit code."""
    import asyncio

    from evalkit.cli.output import echo, echo_note
    from evalkit.cli.plan import show_plan
    from evalkit.cli.progress import progress_for
    from evalkit.cli.table import show_results
    from evalkit.runs.runner import exit_code, run_all
    from evalkit.trackers.tracking import tracking

    if context.options.dry_run:
        return show_plan(plan, context, as_json=as_json)
    with tracking(context.trackers, echo_note) as tracked:
        with progress_for(quiet=quiet) as observer:
            results = asyncio.run(run_all(plan, context, observer, *tracked))
        show_results(results, context.options.suite_path, as_json=as_json, bad_entries=())
    for run, result in zip(plan.runs if not as_json else (), results, strict=not as_json):
        for spec in run.run_spec.judge_specs:
            if against := spec.args.get("against"):
                echo(f"{result.name} compares with {Path(against).name}")
    return exit_code(results)


def _directories(paths: list[Path], against: Path | None) -> list[Path]:
    """The runs whose answers are judged; a note says which are left out."""
    from evalkit.cli.output import echo_note
    from evalkit.results.run_directory import find_runs
    from evalkit.runs.same_answers import without_copies

    found = without_copies([run.path for path in paths for run in find_runs(path)], against)
    for note in found.notes:
        echo_note(note)
    return found.paths


def _refuse_contradictions(
    pairs: bool, *, all_pairs: bool, judge_spec: str | None, template: Path | None
) -> None:
    """Refuse flags that exclude each other, and one that changes nothing without another."""
    from evalkit.errors import UsageError

    if all_pairs:
        raise UsageError("--against and --all-pairs exclude each other")
    if pairs and judge_spec is not None:
        raise UsageError(
            "--judge-spec names another judge than --against and --all-pairs do; leave one out, or write "
            "--judge-spec pairwise:against=RUN"
        )
    if template is not None and not pairs:
        raise UsageError("--template is for --against and --all-pairs; a judge spec has its own template=")


def _specs(text: str | None) -> tuple[JudgeSpec, ...]:
    """The judge that the user names, if there is one."""
    from evalkit.errors import EntryError, UsageError
    from evalkit.specs.judge_spec_file import SUFFIXES, read_judge_spec
    from evalkit.specs.plugin_call import parse_plugin_call
    from evalkit.specs.run_spec import JudgeSpec

    if text is None:
        return ()
    if text.endswith(SUFFIXES):
        return (read_judge_spec(Path(text)),)
    try:
        call = parse_plugin_call("judge", text)
    except EntryError as error:
        raise UsageError(
            f"{error}\narguments that have parts, such as `verdict`, are written in a file: "
            "--judge-spec judge.yaml"
        ) from None
    return (JudgeSpec(name=call.name, args=dict(call.args)),)
