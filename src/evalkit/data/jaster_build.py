"""Builds jaster's files from the upstream files of its datasets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from evalkit.data.download import appearing
from evalkit.data.jaster_splits import SPLITS, Sample, Upstream
from evalkit.data.jaster_upstream import UPSTREAMS
from evalkit.errors import DataError
from evalkit.run_specs.jaster_datasets import DATASETS, JasterDataset

_NUM_FEW_SHOTS = 4


@dataclass(frozen=True, slots=True)
class BuiltSplit:
    """What became of one split.

    Attributes:
        count: How many items were written.
        refused: Why it was not written; "" if it was.
    """

    dataset: str
    split: str
    count: int = 0
    refused: str = ""


def build_jaster(mirror: Path, root: Path, version: str, datasets: Sequence[str]) -> Iterator[BuiltSplit]:
    """Write `<root>/<version>/evaluation/<split>/<name>.json` for each split whose upstream files are there.

    The same upstream files give the same bytes. A file appears whole, in the place of an older one, or not at
    all.

    Args:
        mirror: The folder with the upstream files.
        root: Where to write.
        version: The name of the folder in it.
        datasets: Which datasets.

    Yields:
        Each split in order: written, or refused with the reason.
    """
    for name in datasets:
        for file in DATASETS[name].all_files:
            yield from _build_file(DATASETS[name], file, mirror, root / version / "evaluation")


def _build_file(dataset: JasterDataset, name: str, mirror: Path, folder: Path) -> Iterator[BuiltSplit]:
    """The splits of one file name; those before a damaged one stay."""
    # Several splits may be made of the same files, of which there may be thousands.
    upstream = replace(UPSTREAMS[name], read=cache(UPSTREAMS[name].read))
    few_shots: Sequence[Sample] = ()
    for split in SPLITS:
        if split in upstream.absent:
            yield BuiltSplit(name, split, refused="its upstream has no such split")
            continue
        samples, refused = _samples(upstream, split, mirror)
        if refused:
            yield BuiltSplit(name, split, refused=refused)
            continue
        if split == "train":
            few_shots = samples[:_NUM_FEW_SHOTS]
        _write(folder / split / f"{name}.json", dataset, few_shots, samples)
        yield BuiltSplit(name, split, count=len(samples))


def _samples(upstream: Upstream, split: str, mirror: Path) -> tuple[list[Sample], str]:
    """The samples of a split, or why there are none."""
    try:
        if missing := upstream.missing(split, mirror):
            return [], missing
        samples = upstream.make(split, mirror)
    except DataError as error:
        return [], str(error)
    return samples, "" if samples else "its upstream files hold no item"


def _write(
    path: Path, dataset: JasterDataset, few_shots: Sequence[Sample], samples: Sequence[Sample]
) -> None:
    content = {
        "instruction": dataset.instruction,
        "output_length": dataset.output_length,
        "metrics": list(dataset.metrics),
        "few_shots": [sample._asdict() for sample in few_shots],
        "label_list": list(dataset.labels),
        "language": dataset.language,
        "samples": [sample._asdict() for sample in samples],
    }
    with appearing(path) as stream:
        stream.write(json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n")
