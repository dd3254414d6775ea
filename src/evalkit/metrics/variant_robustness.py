"""Whether three forms of one question get one answer: Nejumi's robustness of JMMLU."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import ClassVar

from evalkit.errors import DataError
from evalkit.instance import Instance
from evalkit.metrics.jaster_answers import AnswerMetric, Answers
from evalkit.registry import metric
from evalkit.scoring.run_level import Row
from evalkit.scoring.unit import Unit
from evalkit.specs.run_spec import AdapterSpec

VARIANT, VARIANT_OF = "variant", "variant_of"
"""Where an instance says in `extra` which variant it is, and of which item."""

_AS_LETTERS: Mapping[str, Mapping[str, str]] = {
    "normal": {},
    "symbol": {"$": "A", "&": "B", "#": "C", "@": "D"},
    "incorrect": {"B,C,D": "A", "A,C,D": "B", "A,B,D": "C", "A,B,C": "D"},
}


@metric("variant_robustness")
class VariantRobustness(AnswerMetric):
    """Whether the three variants of a JMMLU item get the same answer, right or wrong, over all items.

    `extra["variant"]` is `normal` (the letter of the right option), `symbol` (`$`, `&`, `#`, `@` in place of
    `A` to `D`) or `incorrect` (the three letters of the wrong options with commas), and
    `extra["variant_of"]` is the same text for the three of an item; `Instance.group` should be that text
    too, so that standard errors see the three as one. An item scores 1 if all three answers mean the same
    letter, 0.5 if two of them do, else 0. Items of which an answer is missing do not count.

    Args:
        dataset: How completions are cleaned, the same for all three, so that they can be compared.
        answers: How the answer is read; see `evalkit.metrics.jaster_answers.AnswerReader`.
        pattern: A regular expression that finds the answer in the completion.
    """

    stat = "variant_robustness"
    mark: ClassVar[float | None] = None

    def __init__(
        self,
        adapter_spec: AdapterSpec,
        dataset: str = "jmmlu_",
        answers: Answers = "original",
        pattern: str = "",
    ) -> None:
        super().__init__(adapter_spec, dataset, answers, pattern)
        self.names, self.full_marks = (), {}
        if self._applies:
            self.run_level_names = (self.stat,)

    def check(self, instance: Instance) -> None:
        """Refuse an instance that does not say which variant it is.

        Raises:
            DataError: It does not.
        """
        _variant(instance)

    def score(self, unit: Unit) -> Mapping[str, float]:
        """Nothing: there is not a number for a single variant."""
        return {}

    def run_level_row(self, unit: Unit) -> Row | None:
        """The item, the variant, and the letter that the answer means."""
        if unit.per_reference:
            return None
        item, variant = _variant(unit.instance)
        answer = self.predictions(unit)[0]
        return item, variant, _AS_LETTERS[variant].get(answer, answer)

    def run_level_scores(self, rows: Sequence[Row]) -> Mapping[str, float]:
        """The mean over the items with all three variants; missing without any."""
        answers: defaultdict[str, dict[str, str]] = defaultdict(dict)
        # A resample of the bootstrap may have an item several times, always with all its rows.
        times: Counter[str] = Counter()
        for item, variant, answer in rows:
            answers[item][variant] = answer
            times[item] += variant == "normal"
        whole = {item: found for item, found in answers.items() if len(found) == len(_AS_LETTERS)}
        total = sum(times[item] for item in whole)
        if not total:
            return {}
        return {self.stat: sum(times[item] * agreement(list(whole[item].values())) for item in whole) / total}


def agreement(answers: Sequence[str]) -> float:
    """1 if three answers are the same, 0.5 if two of them are, else 0."""
    same = sum(one == other for one, other in combinations(answers, 2))
    return {3: 1.0, 1: 0.5}.get(same, 0.0)


def _variant(instance: Instance) -> tuple[str, str]:
    extra = instance.extra or {}
    variant, item = extra.get(VARIANT), extra.get(VARIANT_OF)
    if not isinstance(variant, str) or variant not in _AS_LETTERS or not isinstance(item, str):
        known = ", ".join(_AS_LETTERS)
        raise DataError(
            f"variant_robustness needs extra['{VARIANT}'] ({known}) and extra['{VARIANT_OF}']; "
            f"instance '{instance.id}' lacks one"
        )
    return item, variant
