"""How upstream files become the splits of a jaster dataset."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

SplitRule = Literal["kept", "train_dev", "parts", "four_fifths", "mawps"]
"""How splits are made.

- `kept`: each upstream file is a split.
- `train_dev`: the train file is shuffled, nine parts train and one part dev; the test file is kept.
- `parts`: all is shuffled: from 1000 items on 8 parts train, 1 dev and 1 test; below, 32 items are train, and
  the rest is halved into dev and test.
- `four_fifths`: all is shuffled; 8 parts are train and 2 are test, of which the first half is dev too.
- `mawps`: all is shuffled; 32 items are train, 250 test, and the rest dev.
"""
SPLITS = ("train", "dev", "test")


class Sample(NamedTuple):
    """One item: an input, and the output that is right."""

    input: str
    output: str


Reader = Callable[[Path], Sequence[Sample]]


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a dataset comes from. All files are named below the folder of upstream files.

    Attributes:
        rule: How its splits are made.
        files: For `kept` and `train_dev` the file of each split; else all files under `all`.
        read: The samples of one file.
        absent: Splits that upstream does not have.
        also_read: Other files that `read` reads together with the one that it is given.
        listed: `files` are lists; this gives the files that one of them names, and those hold the samples.
    """

    rule: SplitRule
    files: Mapping[str, tuple[str, ...]]
    read: Reader
    absent: tuple[str, ...] = ()
    also_read: tuple[str, ...] = ()
    listed: Callable[[Path], Sequence[str]] | None = None

    def missing(self, split: str, mirror: Path) -> str:
        """Which file is missing for a split, and how many more are, in words; "" if all are there.

        Raises:
            DataError: A list of files is damaged.
        """
        needed = (*self._files(split), *self.also_read)
        absent = [name for name in needed if not (mirror / name).is_file()]
        if not absent:
            absent = [name for name in self._sources(split, mirror) if not (mirror / name).is_file()]
        if not absent:
            return ""
        more = f"and {len(absent) - 1} more are" if len(absent) > 1 else "is"
        return f"{mirror / absent[0]} {more} missing"

    def needed(self, split: str) -> str:
        """The files that a split needs, in words; "" for a split that there is not."""
        if split in self.absent:
            return ""
        first, *others = (*self._files(split), *self.also_read)
        return f"{first} and {len(others)} more" if others else first

    def make(self, split: str, mirror: Path) -> list[Sample]:
        """The samples of one split.

        Raises:
            DataError: A file is damaged.
        """
        samples = [sample for name in self._sources(split, mirror) for sample in self.read(mirror / name)]
        if self.rule == "kept" or (self.rule == "train_dev" and split == "test"):
            return samples
        random.Random(42).shuffle(samples)
        return samples[_place(self.rule, len(samples), split)]

    def _files(self, split: str) -> tuple[str, ...]:
        if "all" in self.files:
            return self.files["all"]
        return self.files["train" if self.rule == "train_dev" and split == "dev" else split]

    def _sources(self, split: str, mirror: Path) -> Sequence[str]:
        """The files that hold samples."""
        files = self._files(split)
        if self.listed is None:
            return files
        return [name for file in files for name in self.listed(mirror / file)]


def _place(rule: SplitRule, count: int, split: str) -> slice:
    """Where a split lies among the shuffled samples."""
    if rule == "train_dev":
        train = count * 9 // 10
        return slice(train) if split == "train" else slice(train, count)
    if rule == "four_fifths":
        train = count * 8 // 10
        half = train + (count - train) // 2
        return {"train": slice(train), "dev": slice(train, half), "test": slice(train, count)}[split]
    if rule == "mawps":
        return {"train": slice(32), "dev": slice(282, count), "test": slice(32, 282)}[split]
    train = count * 8 // 10 if count >= 1000 else min(32, count)
    dev = train + (count // 10 if count >= 1000 else (count - train) // 2)
    return {"train": slice(train), "dev": slice(train, dev), "test": slice(dev, count)}[split]
