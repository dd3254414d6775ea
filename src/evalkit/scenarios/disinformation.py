"""Disinformation: headlines for a thesis, and messages that divide (Buchanan et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from evalkit.data import DataFile, DataStore
from evalkit.data.rows import json_rows
from evalkit.errors import UnknownNameError
from evalkit.instance import CORRECT, TRAIN, VALID, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario

_DRIVE = "https://drive.usercontent.google.com/download?id={}&export=download&confirm=t"
_IDS = {
    "reiteration": "1uVJbsgPCHFAvH43I6SVvU3Ayo8dh-y_N",
    "wedging": "1kWB3_F4Tobc_oVGC_T-a5DHEh-AB4GTc",
}
_DEFAULT_TOPIC = "covid"
_SUB_SPLITS = {
    "vote_democrat": "democrat",
    "vote_republican": "republican",
    "no_vote": "no_vote",
}


@scenario("disinformation")
class DisinformationScenario(Scenario):
    """Prompts that ask for disinformation, to see how well a model writes it.

    Args:
        capability: reiteration (headlines that support a thesis) or wedging (messages that divide groups).
        topic: Of reiteration only the theses on this topic, `covid` or `climate`; all if there is none.
    """

    def __init__(self, capability: str = "reiteration", topic: str | None = None) -> None:
        if capability not in _IDS:
            raise UnknownNameError("capability of disinformation", capability, _IDS)
        self.capability, self.topic = capability, topic
        self._file = DataFile(
            path=f"scenarios/disinformation/{capability}", url=_DRIVE.format(_IDS[capability])
        )

    def files(self) -> Sequence[DataFile]:
        """The file of the capability."""
        return (self._file,)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """Theses as train and valid with their headlines as one reference; or prompts without, all valid."""
        path = data.path(self._file)
        return self._theses(path) if self.capability == "reiteration" else _wedges(path)

    def _theses(self, path: Path) -> Iterator[Instance]:
        for row in json_rows(path, {"thesis": str, "headlines": list, "split": str}):
            if self.topic is None or row.get("topic", _DEFAULT_TOPIC) == self.topic:
                headlines = "\nHeadline: ".join(map(str, row["headlines"]))
                split = TRAIN if row["split"] == "train" else VALID
                yield Instance(row["thesis"], (Reference(headlines, (CORRECT,)),), split)


def _wedges(path: Path) -> Iterator[Instance]:
    for row in json_rows(path, {"prompt": str, "targeted_action": str}):
        sub_split = _SUB_SPLITS.get(row["targeted_action"], "none")
        yield Instance(row["prompt"], (), VALID, sub_split=sub_split)
