"""Entities and their labels in answers: chABSA of llm-jp-eval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from evalkit.metrics.jaster_answers import AnswerMetric, Answers
from evalkit.registry import metric
from evalkit.scoring.run_level import Row
from evalkit.scoring.unit import Unit
from evalkit.specs.run_spec import AdapterSpec

Form = Literal["lines", "colon_commas", "colon_blanks"]
Pair = tuple[str, str]


@metric("entity_labelling")
class EntityLabelling(AnswerMetric):
    """Pairs of an entity and its label that are found exactly, as sets.

    Gives `entity_labelling_acc`, the share of the right pairs that the answer has (llm-jp-eval's
    `entity_labeling_acc`), and `entity_labelling_f1`; over all units `entity_labelling_micro_f1`, from the
    sums of pairs. What is not a pair in an answer counts as a wrong one. Where there is no right pair, an
    empty answer has 1 and any other 0.

    Args:
        dataset: The jaster dataset, which decides how a completion is cleaned.
        answers: How the answer is read; see `evalkit.metrics.jaster_answers.AnswerReader`.
        pattern: A regular expression that finds the answer in the completion.
        form: How pairs are written. `lines`: one a line, the label behind the last blank (jaster from
            1.2). `colon_commas`: `entity:label,entity:label`. `colon_blanks`: the same with blanks between
            pairs (earlier versions).
    """

    stat = "entity_labelling"
    mark: ClassVar[float | None] = None

    def __init__(
        self,
        adapter_spec: AdapterSpec,
        dataset: str = "",
        answers: Answers = "original",
        pattern: str = "",
        form: Form = "lines",
    ) -> None:
        super().__init__(adapter_spec, dataset, answers, pattern)
        self._form: Form = form
        if self._applies:
            self.names = (f"{self.stat}_acc", f"{self.stat}_f1")
            self.full_marks = dict.fromkeys(self.names, 1.0)
            self.run_level_names = (f"{self.stat}_micro_f1",)

    def score(self, unit: Unit) -> Mapping[str, float]:
        """Accuracy and F1 of the likeliest completion, each the best over the right answers."""
        if unit.per_reference:
            return {}
        counts = self._counts(unit)
        best = (max(_accuracy(*c) for c in counts), max(_f1(*c) for c in counts))
        return dict(zip(self.names, best, strict=True))

    def run_level_row(self, unit: Unit) -> Row | None:
        """Pairs shared, right and given; of several right answers, with the one of the best F1."""
        return None if unit.per_reference else max(self._counts(unit), key=lambda counts: _f1(*counts))

    def run_level_scores(self, rows: Sequence[Row]) -> Mapping[str, float]:
        """`entity_labelling_micro_f1`."""
        shared, right, given = (sum(column) for column in zip(*rows, strict=True))
        return {self.run_level_names[0]: _f1(shared, right, given)}

    def _counts(self, unit: Unit) -> list[tuple[int, int, int]]:
        given = pairs(self.predictions(unit)[0], self._form)
        rights = [pairs(gold, self._form) for gold in self.golds(unit)]
        return [(len(given & right), len(right), len(given)) for right in rights]


def pairs(text: str, form: Form) -> frozenset[Pair]:
    """The pairs that a text names; what is not a pair becomes one with the label ""."""
    if form == "lines":
        found = [_at_last_blank(line) for line in text.split("\n") if line.strip()]
    else:
        items = text.split(",") if form == "colon_commas" else text.split()
        found = [_at_last_colon(item) for item in items if item.strip()]
    return frozenset(found)


def _at_last_blank(line: str) -> Pair:
    parts = line.strip().rsplit(None, 1)
    return (parts[0], parts[1]) if len(parts) == 2 else (parts[0], "")


def _at_last_colon(item: str) -> Pair:
    entity, colon, label = item.rpartition(":")
    return (entity.strip(), label.strip()) if colon else (item.strip(), "")


def _accuracy(shared: int, right: int, given: int) -> float:
    return shared / right if right else float(not given)


def _f1(shared: int, right: int, given: int) -> float:
    return 2 * shared / (right + given) if right or given else 1.0
