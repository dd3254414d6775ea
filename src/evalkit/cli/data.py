"""`evalkit data`: benchmark files made from those of others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evalkit.cli.output import echo

data_app = typer.Typer(help="Make benchmark files.", no_args_is_help=True)
build_app = typer.Typer(help="Build the files of a benchmark from its upstream files.", no_args_is_help=True)
data_app.add_typer(build_app, name="build")


@data_app.callback()
def _group() -> None:
    """Make benchmark files."""


@build_app.callback()
def _build_group() -> None:
    """Build the files of a benchmark from its upstream files."""


@build_app.command("jaster")
def build_jaster_command(
    data_dir: Annotated[Path, typer.Option("--data-dir", help="The folder with the upstream files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write VERSION/evaluation/….")],
    datasets: Annotated[
        list[str] | None, typer.Option("--dataset", help="Only this dataset (several: repeat it).")
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", help="The name of the folder to write.  [1.2.6]")
    ] = None,
) -> None:
    """Write jaster's files for each split whose upstream files are there, and name those that are missing.

    Ends with 1 if a split of a dataset named by --dataset was not built, or nothing was.
    """
    from evalkit.cli.output import print_table
    from evalkit.data.jaster_build import build_jaster
    from evalkit.errors import DataError, UnknownNameError
    from evalkit.folder_names import checked_suite
    from evalkit.plural import counted
    from evalkit.run_specs.jaster_datasets import DATASETS, DEFAULT_VERSION

    for name in datasets or ():
        if name not in DATASETS:
            raise UnknownNameError("dataset of jaster", name, DATASETS)
    if not data_dir.is_dir():
        raise DataError(f"{data_dir} is not a folder; give the one with the upstream files as --data-dir")
    folder = checked_suite(version or DEFAULT_VERSION)
    found = list(build_jaster(data_dir, output, folder, datasets or tuple(DATASETS)))
    rows = [(each.dataset, each.split, str(each.count or ""), each.refused) for each in found]
    print_table(("dataset", "split", "items", "not built, because"), rows, num_labels=2)
    built = [each for each in found if not each.refused]
    echo(f"wrote {counted(len(built), 'file')} to {output / folder / 'evaluation'}")
    if not built or (datasets and len(built) < len(found)):
        raise typer.Exit(1)
    echo(f"try: evalkit run --data-dir {output} --run-entries {built[0].dataset}:model=evalkit/majority")
