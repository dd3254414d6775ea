"""IFEval: instructions whose following can be verified (Zhou et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from evalkit.data import DataFile, DataStore, HubSplit
from evalkit.data.huggingface import hub_file
from evalkit.data.rows import json_rows
from evalkit.errors import DataError
from evalkit.instance import TEST, Instance
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario

_FILE = hub_file(HubSplit("google/IFEval", "train", "966cd89545d6b6acfd7638bc708b98261ca58e84"))
_FIELDS = {"key": int, "prompt": str, "instruction_id_list": list, "kwargs": list}


@scenario("ifeval")
class IFEvalScenario(Scenario):
    """Prompts with instructions such as "do not use any commas".

    `extra` has `instruction_ids` and, for each, `instruction_kwargs` without those that are null.
    """

    has_examples: ClassVar[bool] = False

    def files(self) -> Sequence[DataFile]:
        """One split at a pinned revision."""
        return (_FILE,)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """All 541 as test, without references."""
        return instructed(data.path(_FILE))


def instructed(path: Path) -> Iterator[Instance]:
    """The prompts of a file in the format of IFEval, in order.

    Raises:
        DataError: A prompt has not as many mappings of arguments as instructions.
    """
    for row in json_rows(path, _FIELDS):
        names, arguments = row["instruction_id_list"], row["kwargs"]
        if len(names) != len(arguments) or not all(isinstance(given, dict) for given in arguments):
            raise DataError(f"{path}: prompt {row['key']} needs one mapping in kwargs per instruction")
        extra = {
            "instruction_ids": names,
            "instruction_kwargs": [
                {name: value for name, value in given.items() if value is not None} for given in arguments
            ],
        }
        yield Instance(row["prompt"].strip(), (), TEST, id=f"id{row['key']}", extra=extra)
