"""SQuAD v2.0, where the right answer may be that there is none (Rajpurkar et al. 2018, arXiv:1806.03822)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from evalkit.metrics.official import squad_v1_em, squad_v2_best, squad_v2_f1_of
from evalkit.registry import Output, metric
from evalkit.scoring.metric import Metric, asks_per_reference, compile_mapping_pattern
from evalkit.scoring.unit import Unit
from evalkit.specs.run_spec import AdapterSpec


class SquadV2(Metric):
    """A score against all right answers; without any, or with empty ones only, no answer is right."""

    takes: ClassVar[frozenset[Output] | None] = frozenset({"generated_text"})

    def __init__(self, adapter_spec: AdapterSpec, no_answer: str, score: Callable[[str, str], float]) -> None:
        self._pattern = compile_mapping_pattern(adapter_spec.output_mapping_pattern)
        self._no_answer, self._score = no_answer.strip().lower(), score

    def score(self, unit: Unit) -> Mapping[str, float]:
        """The best score over the right answers, for the likeliest completion."""
        if unit.per_reference:
            return {}
        prediction = unit.predictions(self._pattern)[0] or ""
        if self._no_answer and prediction.lower() == self._no_answer:
            prediction = ""
        return {self.name: squad_v2_best(self._score, unit.golds, prediction)}


@metric("squad_v2_em")
class SquadV2ExactMatch(SquadV2):
    """SQuAD v2.0 exact match (`evaluate-v2.0.py`).

    Args:
        no_answer: What the model writes, case aside, if there is no answer; the empty text always counts so.
    """

    def __init__(self, adapter_spec: AdapterSpec, no_answer: str = "") -> None:
        super().__init__(adapter_spec, no_answer, squad_v1_em)
        self.names = () if asks_per_reference(adapter_spec) else ("squad_v2_em",)


@metric("squad_v2_f1")
class SquadV2F1(SquadV2):
    """SQuAD v2.0 F1 (`evaluate-v2.0.py`).

    Args:
        no_answer: What the model writes, case aside, if there is no answer; the empty text always counts so.
    """

    def __init__(self, adapter_spec: AdapterSpec, no_answer: str = "") -> None:
        super().__init__(adapter_spec, no_answer, squad_v2_f1_of)
        self.names = () if asks_per_reference(adapter_spec) else ("squad_v2_f1",)
