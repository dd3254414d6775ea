"""`evalkit export`: stored runs in the layout of another harness."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evalkit.cli.output import echo, echo_note, remark

if TYPE_CHECKING:
    from evalkit.interchange.helm_export import Exported
    from evalkit.results.run_directory import RunDirectory

export_app = typer.Typer(help="Write runs in the layout of another harness.", no_args_is_help=True)


@export_app.callback()
def _group() -> None:
    """Write runs in the layout of another harness."""


@export_app.command("helm")
def export_helm(
    path: Annotated[Path, typer.Argument(help="A run, a suite or an output path.")],
    output_path: Annotated[Path, typer.Option("--output-path", "-o", help="HELM's output path to write to.")],
    suite: Annotated[
        str | None, typer.Option("--suite", help="Name of the suite there (default: as here).")
    ] = None,
    plugins: Annotated[
        list[str] | None, typer.Option("--plugin", "--plugins", help="Plugins that describe the scenarios.")
    ] = None,
) -> None:
    """Write runs as HELM would have, for helm-summarize and helm-server.

    Leaves out damaged runs. Ends with 1 if it left out such a run or wrote nothing.
    """
    from evalkit.folder_names import checked_suite
    from evalkit.plugins import load_plugins
    from evalkit.plural import counted
    from evalkit.results.copies import count_once
    from evalkit.results.run_directory import find_runs

    load_plugins(plugins or ())
    if suite is not None:
        checked_suite(suite)
    counted_runs = count_once(find_runs(path))
    for note in counted_runs.notes:
        echo_note(note)
    done, num_damaged = _exported(counted_runs.runs, output_path, suite)
    if not done:
        why = (
            "every run is damaged" if num_damaged == len(counted_runs.runs) else "no run here can be exported"
        )
        echo(remark("error", f"wrote 0 runs: {why}; see above"), err=True)
        raise typer.Exit(1)
    suites = sorted({str(each.path.parent) for each in done})
    echo(f"wrote {counted(len(done), 'run')} to {', '.join(suites)}")
    for each in sorted({each.path.parent.name for each in done}):
        echo(f"try: helm-summarize --output-path {output_path} --suite {each}")
    if num_damaged:
        raise typer.Exit(1)


@export_app.command("mt-bench")
def export_mt_bench(
    path: Annotated[Path, typer.Argument(help="A run, a suite or an output path.")],
    output_path: Annotated[
        Path, typer.Option("--output-path", "-o", help="The folder to write a folder per benchmark to.")
    ],
) -> None:
    """Write questions, answers and judgements in FastChat's format, as references or opponents of other runs.

    Leaves out failed conversations, and says how many.
    """
    from evalkit.errors import DamageError, UsageError
    from evalkit.interchange.mt_bench_export import MtBenchExport
    from evalkit.interchange.mt_bench_export import export_mt_bench as write
    from evalkit.plural import counted
    from evalkit.results.copies import count_once
    from evalkit.results.run_directory import find_runs

    counted_runs = count_once(find_runs(path))
    for note in counted_runs.notes:
        echo_note(note)
    done: dict[Path, MtBenchExport] = {}
    for directory in counted_runs.runs:
        try:
            exported = write(directory, output_path)
        except DamageError as error:
            echo(remark("error", f"left out a damaged run: {error}"), err=True)
            continue
        if exported.answers in done:
            raise UsageError(
                f"two runs give {exported.answers}, of which the last was written; export one run at a time"
            )
        done[exported.answers] = exported
        echo(f"wrote {exported.answers}: answers to {counted(exported.num_questions, 'question')}")
        if exported.num_judgements:
            unrated = f", {exported.num_unrated} of them without a rating" if exported.num_unrated else ""
            echo(f"  with {counted(exported.num_judgements, 'judgement')}{unrated}")
        if exported.num_left_out:
            left_out = counted(exported.num_left_out, "conversation")
            echo(remark("note", f"{directory.path.name}: {left_out} without all answers left out"), err=True)
    if len(done) < len(counted_runs.runs):
        raise typer.Exit(1)


def _exported(
    directories: Sequence[RunDirectory], output_path: Path, suite: str | None
) -> tuple[list[Exported], int]:
    """The runs that were written, and how many are damaged; runs without instances are left out."""
    from evalkit.errors import DamageError, UsageError
    from evalkit.folder_names import folder_of
    from evalkit.interchange.helm_export import export_run
    from evalkit.results.integrity import should_have_instances

    done = []
    num_damaged = 0
    for directory in directories:
        if not directory.instances_path.exists() and not should_have_instances(
            directory, directory.sound_manifest()
        ):
            echo(f"left out {directory.path.name}: it has no instances, only numbers", err=True)
            continue
        home = directory.path.parent.resolve()
        suite_path = output_path / "runs" / (suite or folder_of(home.name))
        if suite_path.resolve() == home:
            raise UsageError(f"{suite_path} holds the runs themselves; give another --output-path or --suite")
        try:
            exported = export_run(directory, suite_path)
        except DamageError as error:
            num_damaged += 1
            echo(remark("error", f"left out a damaged run: {error}"), err=True)
            continue
        done.append(exported)
        _report_left_out(directory.path.name, exported)
    return done, num_damaged


def _report_left_out(name: str, exported: Exported) -> None:
    from evalkit.plural import counted

    failed = exported.failed_scores
    for count, noun, what in (
        (exported.num_left_out, "request", "without an answer left out; HELM's files have no failures"),
        (exported.num_unscored, "instance", "without scores left out of the numbers"),
        *((n, "instance", f"left out of {score}: its metric failed") for score, n in failed.items()),
    ):
        if count:
            echo(remark("note", f"{name}: {counted(count, noun)} {what}"), err=True)
