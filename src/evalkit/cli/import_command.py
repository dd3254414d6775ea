"""`evalkit import`: runs of other harnesses, into run directories of evalkit."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evalkit.cli.output import echo

if TYPE_CHECKING:
    from evalkit.interchange.imported_run import ImportedRun

import_app = typer.Typer(help="Read runs of another harness.", no_args_is_help=True)

_Output = Annotated[Path, typer.Option("--output-path", "-o", help="Where runs are kept.")]
_Suite = Annotated[str | None, typer.Option("--suite", help="The suite to put them in.")]
_Plugins = Annotated[
    list[str] | None, typer.Option("--plugin", "--plugins", help="Plugins with metrics to compute anew.")
]
_DEFAULT_OUTPUT = Path("benchmark_output")


@import_app.callback()
def _group() -> None:
    """Read runs of another harness; what has no place in a run directory is kept beside it and counted."""


@import_app.command("helm")
def import_helm(
    path: Annotated[Path, typer.Argument(help="A HELM run, suite or output path.")],
    output_path: _Output = _DEFAULT_OUTPUT,
    suite: _Suite = None,
    plugins: _Plugins = None,
) -> None:
    """Read HELM runs, those of its public results included; each goes into the suite it was in."""
    from evalkit.errors import UsageError
    from evalkit.folder_names import folder_of
    from evalkit.interchange.helm_import import find_helm_runs, read_helm_run

    _prepare(suite, plugins)
    found = find_helm_runs(path)
    for each in found:
        home = each.resolve().parent
        target = output_path / "runs" / (suite or folder_of(home.name))
        if target.resolve() == home:
            raise UsageError(f"{target} holds HELM's runs themselves; give another --output-path or --suite")
        _keep([read_helm_run(each)], target)
    echo(f"imported {len(found)} runs to {output_path}")


@import_app.command("lm-eval")
def import_lm_eval(
    path: Annotated[Path, typer.Argument(help="A results_*.json, or a folder with some.")],
    output_path: _Output = _DEFAULT_OUTPUT,
    suite: _Suite = None,
    plugins: _Plugins = None,
) -> None:
    """Read results of lm-eval, and the samples beside them (lm-eval writes those with --log_samples)."""
    from evalkit.interchange.lm_eval_import import find_lm_eval_results, read_lm_eval

    _prepare(suite, plugins)
    target = output_path / "runs" / (suite or "lm-eval")
    num = sum(_keep(read_lm_eval(each), target) for each in find_lm_eval_results(path))
    echo(f"imported {num} runs to {target}")


@import_app.command("inspect")
def import_inspect(
    path: Annotated[Path, typer.Argument(help="A log (.eval or .json), or a folder of logs.")],
    output_path: _Output = _DEFAULT_OUTPUT,
    suite: _Suite = None,
    plugins: _Plugins = None,
) -> None:
    """Read logs of Inspect."""
    from evalkit.interchange.inspect_import import find_inspect_logs, read_inspect_log

    _prepare(suite, plugins)
    target = output_path / "runs" / (suite or "inspect")
    num = sum(_keep([read_inspect_log(each)], target) for each in find_inspect_logs(path))
    echo(f"imported {num} runs to {target}")


def _prepare(suite: str | None, plugins: list[str] | None) -> None:
    from evalkit.folder_names import checked_suite
    from evalkit.plugins import load_plugins

    if suite is not None:
        checked_suite(suite)
    load_plugins(plugins or ())


def _keep(runs: Iterable[ImportedRun], suite_path: Path) -> int:
    """Write runs, tell what became of each, and count them."""
    from evalkit.interchange.imported_run import keep_run

    num = 0
    for num, run in enumerate(runs, 1):  # noqa: B007 - the count is the result
        kept = keep_run(run, suite_path)
        echo(f"{kept.path.name}")
        if kept.already_there:
            echo("  already imported")
            continue
        for label, what in (("computed anew", kept.recomputed), ("carried over", kept.carried)):
            if what:
                echo(f"  {label}: {', '.join(what)}")
        if kept.num_compared:
            outcome = f"{kept.num_different} differ" if kept.num_different else "all agree"
            echo(f"  compared: {kept.num_compared} numbers over the whole run, {outcome}")
        if kept.num_carried:
            echo(f"  carried over as given: {kept.num_carried} numbers over the whole run")
        for name, count in kept.differences.items():
            echo(f"  {name}: {count} scores differ from those given; see imported/differences.jsonl")
        if kept.failed:
            echo(f"  {kept.failed} requests without an answer; they are no scores here")
        if kept.leftovers:
            fields = ", ".join(f"{name} ({count})" for name, count in kept.leftovers.items())
            echo(f"  kept under imported/ only: {fields}")
        for note in kept.notes:
            echo(f"  note: {note}")
    return num
