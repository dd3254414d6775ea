"""jaster: the datasets of llm-jp-eval in one format, as the Nejumi leaderboard evaluates them."""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from evalkit.codec import decode_foreign
from evalkit.data import DataFile, DataStore
from evalkit.data.rows import text_of
from evalkit.errors import DataError, UnknownNameError, UsageError
from evalkit.instance import CORRECT, TEST, TRAIN, VALID, Instance, Reference
from evalkit.registry import scenario
from evalkit.run_specs.jaster_datasets import DATASETS, DEFAULT_VERSION
from evalkit.scenarios.scenario import Scenario

# Where the method `template` looks for them.
INSTRUCTION, EXAMPLES = "instruction", "examples"
_SPLITS = {"test": TEST, "dev": VALID}


@scenario("jaster")
class JasterScenario(Scenario):
    """One dataset in jaster's format; the first items of each file are evaluated, as the originals do.

    Args:
        dataset: Which, such as `jnli`; `jmmlu` and `mmlu_en` are one file for each subject.
        folder: Where `train`, `dev` and `test` are: below the data directory, or a path that begins with
            `/`, `~` or `.`.
        split: `test` or `dev`.
        max_items: How many items of each file; None: all.
        shots: How many examples a prompt shows, of the train file of the same name; with 0 none is read.
        in_one_file: Whether `jmmlu` is the one file `jmmlu.json`, as in Nejumi 4.
    """

    def __init__(
        self,
        dataset: str,
        folder: str = f"{DEFAULT_VERSION}/evaluation",
        split: str = "test",
        max_items: int | None = None,
        shots: int = 0,
        in_one_file: bool = False,
    ) -> None:
        if dataset not in DATASETS:
            raise UnknownNameError("dataset of jaster", dataset, DATASETS)
        if split not in _SPLITS:
            raise UnknownNameError("split of jaster", split, _SPLITS)
        if max_items is not None and max_items < 1:
            raise UsageError(f"max_items={max_items}: at least 1 item must be evaluated")
        self.dataset, self.folder, self.split = DATASETS[dataset], folder, split
        if in_one_file and not self.dataset.is_single_later:
            raise UsageError(f"in_one_file=true: {dataset} is not one file in any edition")
        self.max_items, self.shots = max_items, shots
        self.names = (dataset,) if in_one_file else self.dataset.files
        if shots and len(self.names) > 1:
            # In version 1 the questions of all subjects had the examples of the first.
            self.version = 2  # type: ignore[misc]

    def files(self) -> Sequence[DataFile]:
        """The evaluated files, and those of the train split where examples are shown."""
        splits = (self.split, TRAIN) if self.shots else (self.split,)
        return tuple(self._file(split, name) for split in splits for name in self.names)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """Train items where examples are shown, then the first items of each file, in file order.

        Raises:
            DataError: A file is not in jaster's format, or the train split has fewer items than are shown.
        """
        for name in self.names if self.shots else ():
            yield from self._train(data.path(self._file(TRAIN, name)), name)
        for name in self.names:
            yield from self._evaluated(data.path(self._file(self.split, name)), name)

    def _train(self, path: Path, name: str) -> Iterator[Instance]:
        content = _content(path)
        if len(content["samples"]) < self.shots:
            most = len(content["samples"])
            raise DataError(f"{path}: {most} items, {self.shots} are to be shown; give shots={most} or fewer")
        for position, sample in enumerate(content["samples"]):
            references = (Reference(sample["output"], (CORRECT,)),)
            extra = self._pool(name) or None
            yield Instance(sample["input"], references, TRAIN, id=f"{name}-train-{position}", extra=extra)

    def _evaluated(self, path: Path, name: str) -> Iterator[Instance]:
        content = _content(path)
        labels = tuple(content.get("label_list") or self.dataset.labels)
        subject = name.removeprefix(f"{self.dataset.name}_") if len(self.names) > 1 else None
        for position, sample in enumerate(content["samples"][: self.max_items]):
            gold = sample["output"]
            wrong = tuple(Reference(label) for label in labels if label != gold) if gold in labels else ()
            extra: dict[str, Any] = {INSTRUCTION: content["instruction"], **self._pool(name)}
            if self.dataset.name == "jhumaneval":
                extra["test_cases"] = _tests(path, position, sample["output"])
            yield Instance(
                sample["input"],
                _in_order((Reference(gold, (CORRECT,)), *wrong), labels),
                _SPLITS[self.split],
                id=f"{name}-{position}",
                sub_split=subject,
                group=_passage(sample["input"]) if self.dataset.name == "jsquad" else None,
                extra=extra,
            )

    def _pool(self, name: str) -> dict[str, str]:
        """Which examples a question is asked with, where there are several files of them."""
        return {EXAMPLES: name} if self.shots and len(self.names) > 1 else {}

    def _file(self, split: str, name: str) -> DataFile:
        if self.dataset.name == "mgsm" and split == "dev":
            split = TRAIN  # it has no dev split, and Nejumi 4 shows its train items
        place = f"{self.folder.rstrip('/')}/{split}/{name}.json"
        how_made = partial(_how_made, self.dataset.name, split, name)
        if self.folder.startswith(("/", "~", ".")):
            local = DataFile.local(os.path.expanduser(place))
            return DataFile(f"{split}/{name}.json", url=local.url, how_made=how_made)
        return DataFile(place, how_made=how_made)


def _how_made(dataset: str, split: str, name: str) -> str:
    from evalkit.data.jaster_upstream import UPSTREAMS  # reads formats that no run reads

    upstream = UPSTREAMS.get(name)
    if upstream is None or not (needed := upstream.needed(split)):
        return f"upstream, {dataset} has no such split"
    return (
        f"`evalkit data build jaster --dataset {dataset}` makes it below --output, and needs the upstream's "
        f"{needed}"
    )


def _content(path: Path) -> Mapping[str, Any]:
    """A file in jaster's format, checked.

    Raises:
        DataError: It is not.
    """
    try:
        content = decode_foreign(text_of(path).encode())
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}); the file may be truncated") from None
    if not isinstance(content, dict) or not isinstance(content.get("instruction"), str):
        raise DataError(f"{path}: not in jaster's format: there is no text 'instruction'")
    samples = content.get("samples")
    if not isinstance(samples, list) or not samples:
        raise DataError(f"{path}: not in jaster's format: there is no list 'samples' with items in it")
    for position, sample in enumerate(samples):
        fields = sample if isinstance(sample, dict) else {}
        if not isinstance(fields.get("input"), str) or not isinstance(fields.get("output"), str):
            raise DataError(f"{path}: sample {position} needs the texts 'input' and 'output'")
    return content


def _in_order(references: tuple[Reference, ...], labels: Sequence[str]) -> tuple[Reference, ...]:
    """The references in the order of the labels, so that the right one has no place of its own."""
    if len(references) == 1:
        return references
    return tuple(sorted(references, key=lambda reference: labels.index(reference.text)))


def _passage(text: str) -> str:
    """Which passage a question of JSQuAD is about."""
    passage, _, _ = text.rpartition("\n質問：")
    return hashlib.sha256(passage.encode()).hexdigest()[:12]


def _tests(path: Path, position: int, output: str) -> Mapping[str, list[str]]:
    """The tests of an item of jhumaneval, a Python list of assertions, as a row of MBPP has them.

    Raises:
        DataError: They are none.
    """
    try:
        lines = ast.literal_eval(output)
        trees = [ast.parse(line) for line in lines]
        if not any(isinstance(node, ast.Call) for tree in trees for node in ast.walk(tree)):
            raise ValueError("no assertion calls a function")
    except (ValueError, SyntaxError, TypeError):
        raise DataError(f"{path}: sample {position}: 'output' is not a list of assertions") from None
    return {"test_list": list(lines)}
