"""GSM8K: word problems of grade-school mathematics (Cobbe et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalkit.data import DataFile, DataStore
from evalkit.data.rows import json_rows
from evalkit.instance import CORRECT, TEST, TRAIN, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario

_COMMIT = "3101c7d5072418e28b9008a6636bde82a006892c"
_SHA256 = {
    TRAIN: "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
    TEST: "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
}


def _file(split: str) -> DataFile:
    return DataFile(
        path=f"gsm8k/{split}.jsonl",
        url=(
            f"https://raw.githubusercontent.com/openai/grade-school-math/{_COMMIT}"
            f"/grade_school_math/data/{split}.jsonl"
        ),
        sha256=_SHA256[split],
    )


@scenario("gsm")
class GSM8KScenario(Scenario):
    """Word problems of grade-school mathematics, with worked answers that end in the number."""

    def files(self) -> Sequence[DataFile]:
        """Train and test, pinned."""
        return tuple(_file(split) for split in _SHA256)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """7473 train and 1319 test problems; the reference is the worked answer on one line."""
        for split in _SHA256:
            for row in json_rows(data.path(_file(split)), {"question": str, "answer": str}):
                answer = row["answer"].replace("####", "The answer is").replace("\n", " ") + "."
                yield Instance(row["question"], (Reference(answer, (CORRECT,)),), split)
