"""Which config of Nejumi a user has: Neo's one file, or a base file with the file of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evalkit.errors import ConfigError, UsageError, nearest_names
from evalkit.interchange.nejumi.config_file import checked, read_config_text
from evalkit.interchange.nejumi.nejumi_runs import NejumiRuns
from evalkit.interchange.nejumi.neo import neo_runs
from evalkit.interchange.nejumi.neo_config import NeoConfig
from evalkit.models.catalog import ModelCatalog

BASE = "base_config.yaml"
NEO = "config.yaml"
_SUFFIX = ".yaml"
_MOST_FILES = 2


def read_nejumi(
    paths: Sequence[Path],
    selected: Sequence[Path],
    catalog: ModelCatalog,
    mirror: Path | None,
    *,
    skip_bad: bool = False,
) -> NejumiRuns:
    """The runs that a config of Nejumi asks for.

    Args:
        paths: Neo's file; or a base file and a model's; or one of these two; or the folder that holds them.
        selected: The model's file as `-c` names it: a path, or a name next to the base file, with or without
            `.yaml`.
        catalog: The deployments that there are.
        mirror: The data directory, if there is one.
        skip_bad: Leave out the benchmarks that evalkit does not have, in place of refusing the config.

    Raises:
        UsageError: It is not clear which files are meant; or a file is wrong (`ConfigError`, with its place).
    """
    files = config_files(paths, selected)
    text = read_config_text(*files)
    if "run" in text.data:
        from evalkit.interchange.nejumi.later import later_runs

        return later_runs(text, catalog, mirror, skip_bad=skip_bad)
    if len(files) > 1:
        raise ConfigError(f"{files[0]}: it has no 'run', so it is not a base file; Neo's config is one file")
    return neo_runs(checked(NeoConfig, text), catalog, mirror)


def config_files(paths: Sequence[Path], selected: Sequence[Path]) -> tuple[Path, ...]:
    """The files that are read: Neo's, or the base file and the model's.

    Raises:
        UsageError: There are too many, or the model's file is missing or is not named.
    """
    if len(paths) + len(selected) > _MOST_FILES or len(selected) > 1:
        raise UsageError("--nejumi-config takes one file, or a base file and the file of one model")
    first = paths[0]
    if first.is_dir():
        first = base_of(first)
    models = [*paths[1:], *(_named(name, first.parent) for name in selected)]
    if models:
        return (first, *models)
    data = read_config_text(first).data
    if "run" in data:
        known = ", ".join(path.name for path in model_files(first.parent)) or "none is there"
        raise UsageError(
            f"{first} is a base file: name the file of a model with -c, or choose one with -s (in "
            f"{first.parent}: {known})"
        )
    base = first.parent / BASE
    is_neo = any(str(key).startswith(("run_", "llm")) or key in ("mtbench", "testmode") for key in data)
    return (base, first) if not is_neo and base.is_file() else (first,)


def base_of(folder: Path) -> Path:
    """The file that a folder of configs begins with.

    Raises:
        UsageError: There is none.
    """
    for name in (BASE, NEO):
        if (folder / name).is_file():
            return folder / name
    raise UsageError(f"{folder} has no {BASE} (Nejumi 3 and 4) and no {NEO} (Neo)")


def model_files(folder: Path) -> list[Path]:
    """The files of models next to a base file."""
    return sorted(path for path in folder.glob(f"*{_SUFFIX}") if path.name not in (BASE, NEO))


def _named(name: Path, folder: Path) -> Path:
    """The model's file: a path, or a name next to the base file.

    Raises:
        UsageError: There is no such file.
    """
    names = [name] if name.suffix == _SUFFIX else [name, name.with_name(f"{name.name}{_SUFFIX}")]
    for place in (*names, *(folder / each for each in names)):
        if place.is_file():
            return place
    known = [path.name for path in model_files(folder)]
    nearest = nearest_names(names[-1].name, known, limit=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    raise UsageError(f"-c {name}: there is no such file, nor in {folder}{hint}")
