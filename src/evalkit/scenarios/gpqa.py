"""GPQA: questions of science that a search engine does not answer (Rein et al. 2023)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from evalkit.data import DataFile, DataStore, HubSplit
from evalkit.data.huggingface import hub_file
from evalkit.data.rows import json_rows
from evalkit.errors import UnknownNameError
from evalkit.instance import CORRECT, TEST, TRAIN, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario

_REVISION = "90b8e5be2b1d3d2dbfe016cdab47981150600c4a"
# The rows that are shown as examples.
_EXAMPLES = {"gpqa_main": (339, 105), "gpqa_diamond": (124, 39), "gpqa_extended": (146, 330, 436)}
_RIGHT, *_WRONG = "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"
_FIELDS = dict.fromkeys(("Question", "Explanation", _RIGHT, *_WRONG), str)
_SEED = 42


@scenario("gpqa")
class GPQAScenario(Scenario):
    """Questions of physics, chemistry and biology with four options. The data needs a login at Hugging Face.

    Args:
        subset: `gpqa_main`, `gpqa_diamond` or `gpqa_extended`.
    """

    def __init__(self, subset: str) -> None:
        if subset not in _EXAMPLES:
            raise UnknownNameError("GPQA subset", subset, _EXAMPLES)
        self.examples = _EXAMPLES[subset]
        hub = HubSplit("Idavidrein/gpqa", "train", _REVISION, config=subset)
        self._file = hub_file(hub, path=f"hf/Idavidrein_gpqa/{subset}.jsonl")

    def files(self) -> Sequence[DataFile]:
        """The subset at a pinned revision."""
        return (self._file,)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """In file order with shuffled options: two or three as train, with reasoning, the others as test."""
        rng = random.Random(_SEED)
        for number, row in enumerate(json_rows(data.path(self._file), _FIELDS)):
            references = [Reference(row[_RIGHT].strip(), (CORRECT,))]
            references += [Reference(row[name].strip()) for name in _WRONG]
            rng.shuffle(references)
            is_example = number in self.examples
            yield Instance(
                row["Question"].strip(),
                tuple(references),
                TRAIN if is_example else TEST,
                extra={"chain_of_thought": row["Explanation"]} if is_example else None,
            )
