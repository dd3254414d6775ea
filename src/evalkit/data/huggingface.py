"""Splits of Hugging Face datasets as JSON lines, one row a line.

A mirror may hold them as `hf/<dataset with / as _>/[<config>/]<split>.jsonl`. Otherwise the `datasets`
library fetches the pinned revision, and its rows are written into the cache once: what is read, and what a
digest covers, is the same file on every machine.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from evalkit.data.download import appearing
from evalkit.data.file import DataFile, HubSplit
from evalkit.errors import DataError

_INSTALL = "pip install 'evalkit[datasets]'"
_INSTALL_FOR_SCRIPTS = "pip install 'datasets>=3.6,<4'"
_FIRST_WITHOUT_SCRIPTS = 4


def hub_file(hub: HubSplit, path: str | None = None) -> DataFile:
    """A split of a Hugging Face dataset as a data file.

    Args:
        hub: Which split.
        path: Its place in a mirror, if not `hf/<dataset with / as _>/[<config>/]<split>.jsonl`.
    """
    if path is None:
        folder = hub.dataset.replace("/", "_")
        path = "/".join(part for part in ("hf", folder, hub.config, f"{hub.split}.jsonl") if part)
    return DataFile(path=path, hub=hub)


def export(hub: HubSplit, target: Path) -> None:
    """Fetch a split with the `datasets` library and write its rows to `target`, which appears when complete.

    Raises:
        DataError: The library is not installed or too new for this dataset, the split is missing, or its
            rows hold more than JSON can say.
    """
    rows = _load(hub)
    with appearing(target) as stream:
        for number, row in enumerate(rows):
            try:
                line = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
            except TypeError as error:
                raise DataError(f"row {number} of {hub.source} can't be written as JSON: {error}") from None
            # As it is in UTF-8; only half a character, which UTF-8 can't hold, is escaped.
            stream.write(f"{line}\n".encode("utf-8", "backslashreplace"))


def shuffled(count: int, seed: int, limit: int | None = None) -> list[int]:
    """The order in which `Dataset.shuffle(seed)` of the `datasets` library puts rows: positions from 0.

    Args:
        count: How many rows there are.
        seed: As in `shuffle`.
        limit: Only this many, from the start of the order.

    Raises:
        DataError: numpy is not installed.
    """
    try:
        numpy = importlib.import_module("numpy")
    except ImportError:
        raise DataError(f"shuffling as the library datasets does needs numpy: {_INSTALL}") from None
    order: list[int] = numpy.random.default_rng(seed).permutation(count)[:limit].tolist()
    return order


def _load(hub: HubSplit) -> Any:
    """The rows, from the library."""
    library = _library(hub)
    options = {"trust_remote_code": True} if hub.script else {}
    try:
        return library.load_dataset(
            hub.dataset, hub.config, split=hub.split, revision=hub.revision, **options
        )
    except (OSError, ValueError, RuntimeError, library.exceptions.DatasetsError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"can't load {hub.source}: {reason[0]}") from None


def _library(hub: HubSplit) -> Any:
    try:
        library = importlib.import_module("datasets")
    except ImportError:
        raise DataError(f"{hub.source} needs the library datasets: {_INSTALL}") from None
    if hub.script and int(library.__version__.split(".")[0]) >= _FIRST_WITHOUT_SCRIPTS:
        raise DataError(
            f"{hub.source} comes with a loading script, which datasets {library.__version__} does not "
            f"run: {_INSTALL_FOR_SCRIPTS}"
        )
    return library
