"""`evalkit import`: runs of other harnesses, into run directories of evalkit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evalkit.cli.output import echo, remark
from evalkit.plural import counted
from evalkit.redaction import without_controls

if TYPE_CHECKING:
    from evalkit.interchange.foreign_files import ForeignFiles
    from evalkit.interchange.import_writer import ImportReport
    from evalkit.interchange.imported_run import ImportedRun

import_app = typer.Typer(help="Read runs of another harness.", no_args_is_help=True)

_Output = Annotated[Path, typer.Option("--output-path", "-o", help="The output path to write to.")]
_Suite = Annotated[str | None, typer.Option("--suite", help="The suite to put them in.")]
_Plugins = Annotated[
    list[str] | None, typer.Option("--plugin", "--plugins", help="Plugins with the metrics to compute.")
]
_MaxFileMb = Annotated[
    float | None,
    typer.Option("--max-file-mb", help="Largest file to read, in MB, unpacked if it is packed.  [256]"),
]
_DEFAULT_OUTPUT = Path("benchmark_output")


@import_app.callback()
def _group() -> None:
    """Read runs of another harness; what a run directory has no field for goes to imported/."""


@import_app.command("helm")
def import_helm(
    path: Annotated[Path, typer.Argument(help="A HELM run, suite or output path.")],
    output_path: _Output = _DEFAULT_OUTPUT,
    suite: _Suite = None,
    plugins: _Plugins = None,
    max_file_mb: _MaxFileMb = None,
) -> None:
    """Read HELM runs, those of its public results included; each goes into the suite it was in."""
    from evalkit.errors import UsageError
    from evalkit.folder_names import folder_of
    from evalkit.interchange.helm_import import find_helm_runs, read_helm_run

    files = _prepare(suite, plugins, max_file_mb)
    sources = []
    for each in find_helm_runs(path):
        home = each.resolve().parent
        target = output_path / "runs" / (suite or folder_of(home.name))
        if target.resolve() == home:
            raise UsageError(f"{target} holds HELM's runs themselves; give another --output-path or --suite")
        sources.append((each, target))
    num = _keep_all(sources, lambda each: [read_helm_run(each, files())])
    echo(f"imported {counted(num, 'run')} to {output_path}")


@import_app.command("lm-eval")
def import_lm_eval(
    path: Annotated[Path, typer.Argument(help="A results_*.json, or a folder with some.")],
    output_path: _Output = _DEFAULT_OUTPUT,
    suite: _Suite = None,
    plugins: _Plugins = None,
    max_file_mb: _MaxFileMb = None,
) -> None:
    """Read results of lm-eval, and the samples next to them (lm-eval writes those with --log_samples)."""
    from evalkit.interchange.lm_eval_import import find_lm_eval_results, read_lm_eval

    files = _prepare(suite, plugins, max_file_mb)
    target = output_path / "runs" / (suite or "lm-eval")
    sources = [(each, target) for each in find_lm_eval_results(path)]
    num = _keep_all(sources, lambda each: read_lm_eval(each, files()))
    echo(f"imported {counted(num, 'run')} to {target}")


@import_app.command("inspect")
def import_inspect(
    path: Annotated[Path, typer.Argument(help="A log (.eval or .json), or a folder of logs.")],
    output_path: _Output = _DEFAULT_OUTPUT,
    suite: _Suite = None,
    plugins: _Plugins = None,
    max_file_mb: _MaxFileMb = None,
) -> None:
    """Read logs of Inspect."""
    from evalkit.interchange.inspect_import import find_inspect_logs, read_inspect_log

    files = _prepare(suite, plugins, max_file_mb)
    target = output_path / "runs" / (suite or "inspect")
    sources = [(each, target) for each in find_inspect_logs(path)]
    num = _keep_all(sources, lambda each: [read_inspect_log(each, files())])
    echo(f"imported {counted(num, 'run')} to {target}")


@import_app.command("mt-bench")
def import_mt_bench(
    path: Annotated[Path, typer.Argument(help="A judgement file, or a folder with some.")],
    output_path: _Output = _DEFAULT_OUTPUT,
    suite: _Suite = None,
    questions: Annotated[
        Path | None, typer.Option(help="The question file.  [next to model_judgment/]")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="The folder of answer files.  [model_answer/ next to model_judgment/]")
    ] = None,
    max_file_mb: _MaxFileMb = None,
) -> None:
    """Read judgements of MT-Bench in FastChat's format: a run for each model and judge."""
    from evalkit.interchange.mt_bench_import import MtBenchFiles, find_judgement_files, read_mt_bench

    files = _prepare(suite, None, max_file_mb)
    target = output_path / "runs" / (suite or "mt_bench")
    found = MtBenchFiles(tuple(find_judgement_files(path)), questions, answers)
    num = _keep_all([(path, target)], lambda _: read_mt_bench(found, files()))
    echo(f"imported {counted(num, 'run')} to {target}")


def _prepare(
    suite: str | None, plugins: list[str] | None, max_file_mb: float | None
) -> Callable[[], ForeignFiles]:
    """Check the options; returns what makes a reader of files."""
    from evalkit.bounded_reads import JSON_BYTES, limit_bytes, mb_to_bytes
    from evalkit.folder_names import checked_suite
    from evalkit.interchange.foreign_files import ForeignFiles
    from evalkit.plugins import load_plugins

    if suite is not None:
        checked_suite(suite)
    limit = limit_bytes(JSON_BYTES) if max_file_mb is None else mb_to_bytes(max_file_mb, "--max-file-mb")
    load_plugins(plugins or ())
    return lambda: ForeignFiles(limit)


def _keep_all(sources: Sequence[tuple[Path, Path]], read: Callable[[Path], Iterable[ImportedRun]]) -> int:
    """Import each source into its suite, and count the runs. One that can't be read does not stop the others.

    Args:
        sources: Where each is, and the folder of its suite.
        read: Gives the runs of a source.

    Raises:
        EvalkitError: One of them could not be imported; nothing of it was written.
    """
    from evalkit.errors import EvalkitError, StoreError
    from evalkit.interchange.import_writer import keep_runs

    num, num_failed = 0, 0
    for path, suite_path in sources:
        try:
            reports = keep_runs(read(path), suite_path)
        except EvalkitError as error:
            if len(sources) == 1:
                raise
            num_failed += 1
            echo(remark("error", error), err=True)
            continue
        _print(reports)
        num += sum(not each.already_there for each in reports)
    if num_failed:
        raise StoreError(
            f"{num_failed} of {len(sources)} could not be imported; {counted(num, 'run')} imported"
        )
    return num


def _print(reports: Iterable[ImportReport]) -> None:
    """Tell what became of each run."""
    for report in reports:
        _say(f"{report.path.name}")
        if report.already_there:
            echo("  already imported")
            continue
        for line in _compared(report):
            _say(f"  {line}")
        if report.uncompared:
            names = ", ".join(report.uncompared)
            _say(f"  not compared, since the source has no number over the whole run: {names}")
        if report.num_carried:
            numbers = counted(report.num_carried, "number")
            _say(f"  carried over as given: {numbers} over the whole run that evalkit did not compute")
        for name, count in report.differences.items():
            _say(f"  {name}: other than given: {counted(count, 'score')}; see imported/differences.jsonl")
        if report.failed:
            _say(f"  {counted(report.failed, 'request')} without an answer, and so without a score")
        if report.leftovers:
            fields = ", ".join(f"{name} ({count})" for name, count in report.leftovers.items())
            _say(f"  written to imported/ only: {fields}")
        for note in report.notes:
            _say(f"  note: {note}")


def _compared(report: ImportReport) -> Iterator[str]:
    """Where the scores come from, and what was compared with the given ones."""
    for label, what in (("computed anew", report.recomputed), ("carried over", report.carried)):
        if what:
            yield f"{label}: {', '.join(what)}"
    if report.num_scores_compared:
        yield f"compared: {counted(report.num_scores_compared, 'score')} of instances with evalkit's own"
    if report.num_compared:
        outcome = f"different: {report.num_different}" if report.num_different else "all agree"
        yield f"compared: {counted(report.num_compared, 'number')} over the whole run, {outcome}"


def _say(line: str) -> None:
    """Print one line; a line break in a name from elsewhere begins no other."""
    echo(without_controls(line))
