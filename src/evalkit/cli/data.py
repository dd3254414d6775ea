"""`evalkit data`: benchmark files made from those of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evalkit.cli.output import echo

if TYPE_CHECKING:
    from evalkit.data.jaster_build import BuiltSplit
    from evalkit.run_specs.jaster_datasets import JasterDataset

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
        list[str] | None,
        typer.Option("--dataset", help="Only this dataset; several after one flag or one each."),
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
    from evalkit.data.jaster_splits import SPLITS
    from evalkit.errors import DataError, UnknownNameError
    from evalkit.folder_names import checked_suite
    from evalkit.plural import counted
    from evalkit.run_specs.jaster_datasets import DATASETS, DEFAULT_VERSION

    names = tuple(dict.fromkeys(datasets or DATASETS))
    for name in names:
        if name not in DATASETS:
            raise UnknownNameError("dataset of jaster", name, DATASETS)
    if not data_dir.is_dir():
        raise DataError(f"{data_dir} is not a folder; give the one with the upstream files as --data-dir")
    folder = checked_suite(version or DEFAULT_VERSION)
    found = list(build_jaster(data_dir, output, folder, names))
    rows = list(_rows([DATASETS[name] for name in names], found))
    print_table(("dataset", *SPLITS), [(label, *map(_items, by_split)) for label, by_split in rows])
    for label, by_split in rows:
        for line in _not_built(label, by_split):
            echo(line)
    built = [each for each in found if not each.refused]
    echo(f"wrote {counted(len(built), 'file')} to {output / folder / 'evaluation'}")
    if not built or (datasets and len(built) < len(found)):
        raise typer.Exit(1)
    echo(f"try: evalkit run --data-dir {output} --run-entries {built[0].dataset}:model=evalkit/majority")


def _rows(
    datasets: Sequence[JasterDataset], found: Sequence[BuiltSplit]
) -> Iterator[tuple[str, list[list[BuiltSplit]]]]:
    """A row for each dataset, and for the one file of all subjects: its name, and its files by split."""
    by_file: dict[str, list[BuiltSplit]] = {}
    for each in found:
        by_file.setdefault(each.dataset, []).append(each)
    for dataset in datasets:
        label = f"{dataset.name} ({len(dataset.files)} files)" if dataset.subjects else dataset.name
        yield label, [list(splits) for splits in zip(*(by_file[name] for name in dataset.files), strict=True)]
        if dataset.is_single_later:
            yield f"{dataset.name}.json", [[each] for each in by_file[dataset.name]]


def _items(files: Sequence[BuiltSplit]) -> str:
    built = [each.count for each in files if not each.refused]
    return f"{sum(built):,}" if built else "-"


def _not_built(label: str, by_split: Sequence[Sequence[BuiltSplit]]) -> Iterator[str]:
    """Why splits of a dataset are not built; a line for each reason, with the first file's alone."""
    splits_of: dict[tuple[str, int], list[str]] = {}
    for files in by_split:
        refused = [each for each in files if each.refused]
        if refused:
            splits_of.setdefault((refused[0].refused, len(refused)), []).append(refused[0].split)
    for (reason, num_files), splits in splits_of.items():
        more = f" (and {num_files - 1} more files are not built)" if num_files > 1 else ""
        yield f"not built: {label}, {' and '.join(splits)}: {reason}{more}"
