"""The Japanese part of M-IFEval: instructions whose following can be verified (arXiv:2502.04688)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from evalkit.data import DataFile, DataStore
from evalkit.instance import Instance
from evalkit.registry import scenario
from evalkit.scenarios.ifeval import instructed
from evalkit.scenarios.scenario import Scenario

_COMMIT = "06f08ff3b2681a7e875124aa6946bcc93739aced"
_FILE = DataFile(
    "m_ifeval/ja_input_data.jsonl",
    url=f"https://raw.githubusercontent.com/shisa-ai/M-IFEval/{_COMMIT}/data/ja_input_data.jsonl",
    sha256="12bf6df416255a86bc0b8e911e05fadc713b4b06f66232299dbf9ea51f172daa",
)


@scenario("m_ifeval_ja")
class MIfEvalJaScenario(Scenario):
    """Japanese prompts with instructions such as "answer in hiragana only", of 33 kinds.

    `extra` has `instruction_ids` and, for each, `instruction_kwargs` without those that are null.
    """

    has_examples: ClassVar[bool] = False

    def files(self) -> Sequence[DataFile]:
        """One file at a pinned revision."""
        return (_FILE,)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """All 172 as test, without references."""
        return instructed(data.path(_FILE))
