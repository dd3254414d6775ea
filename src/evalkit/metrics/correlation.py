"""How well the numbers in answers go with the right ones over a run: jsts of llm-jp-eval."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import ClassVar, Literal

from evalkit.errors import DataError
from evalkit.instance import Instance
from evalkit.metrics.jaster_answers import AnswerMetric, Answers
from evalkit.plural import counted
from evalkit.registry import metric
from evalkit.scoring.run_level import Row
from evalkit.scoring.unit import Unit
from evalkit.specs.run_spec import AdapterSpec

Unparsable = Literal["original", "left_out"]

_NOT_IN_NUMBERS = re.compile(r"[^0-9.]")
_INSTEAD = -2.0


class Correlation(AnswerMetric):
    """A correlation over a run; the base of the metrics below.

    Per unit `<name>_unparsable` is 1 where the answer holds no number, so its mean is their share, and
    the run says how many there were.
    """

    mark: ClassVar[float | None] = 0.0

    def __init__(
        self,
        adapter_spec: AdapterSpec,
        dataset: str = "",
        answers: Answers = "original",
        pattern: str = "",
        unparsable: Unparsable = "original",
    ) -> None:
        super().__init__(adapter_spec, dataset, answers, pattern)
        self._left_out = unparsable == "left_out"
        self._num_unparsable = self._num_seen = 0
        if self._applies:
            self.names = (f"{self.stat}_unparsable",)
            self.full_marks = {f"{self.stat}_unparsable": 0.0}
            self.run_level_names = (self.stat,)

    def measure(self, right: Sequence[float], given: Sequence[float]) -> float | None:
        """The correlation of at least two pairs; None if it is not defined."""
        raise NotImplementedError

    def check(self, instance: Instance) -> None:
        """Refuse an instance whose right answer is not a number.

        Raises:
            DataError: It has none, or it is not a number.
        """
        super().check(instance)
        if self._applies:
            self._right(instance)

    def score(self, unit: Unit) -> Mapping[str, float]:
        """Whether the answer holds no number."""
        if unit.per_reference:
            return {}
        is_unparsable = answered_number(self.predictions(unit)[0]) is None
        self._num_seen += 1
        self._num_unparsable += is_unparsable
        return {self.names[0]: float(is_unparsable)}

    def detail(self, unit: Unit) -> str:
        """That the answer holds no number, where it holds none."""
        if unit.per_reference or answered_number(self.predictions(unit)[0]) is not None:
            return ""
        return "no number in the answer"

    def remarks(self) -> tuple[str, ...]:
        """How many answers held no number, and what became of them."""
        if not self._num_unparsable:
            return ()
        how = "left out" if self._left_out else f"counted as {_INSTEAD:g}, as in llm-jp-eval"
        seen = counted(self._num_seen, "answer")
        return (f"{self.stat}: {self._num_unparsable} of {seen} held no number; {how}",)

    def run_level_row(self, unit: Unit) -> Row | None:
        """The right number and the one in the answer, which may be None."""
        if unit.per_reference:
            return None
        return self._right(unit.instance), answered_number(self.predictions(unit)[0])

    def run_level_scores(self, rows: Sequence[Row]) -> Mapping[str, float]:
        """The correlation over the rows; where it is not defined 0, or nothing if answers may be left out."""
        if self._left_out:
            rows = [row for row in rows if row[1] is not None]
        if len(rows) < 2:
            return {}
        given = [_INSTEAD if row[1] is None else row[1] for row in rows]
        found = self.measure([row[0] for row in rows], given)
        if found is None and self._left_out:
            return {}
        return {self.stat: found or 0.0}

    def _right(self, instance: Instance) -> float:
        text = next(r.text for r in instance.references if r.is_correct)
        try:
            number = float(self._reader.right(text))
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise DataError(
                f"metric '{self.name}' needs numbers as right answers; instance '{instance.id}' has '{text}'"
            )
        return number


@metric("pearson")
class Pearson(Correlation):
    """Pearson's correlation of the numbers in the answers with the right ones, over all units.

    A number is what is left of an answer without all but ASCII digits and dots, so `-3` is 3. Not defined
    where all answers are alike: 0, as in the original. `pearson_unparsable` is the share of answers without
    a number.

    Args:
        dataset: The jaster dataset, which decides how a completion is cleaned.
        answers: How the answer is read; see `evalkit.metrics.jaster_answers.AnswerReader`.
        pattern: A regular expression that finds the answer in the completion.
        unparsable: `original`: an answer without a number counts as -2. `left_out`: the correlation is over
            the others, and missing where it is not defined.
    """

    stat = "pearson"

    def measure(self, right: Sequence[float], given: Sequence[float]) -> float | None:
        """Pearson's r."""
        return pearson(right, given)


@metric("spearman")
class Spearman(Correlation):
    """Spearman's rank correlation of the numbers in the answers with the right ones, over all units.

    Equal numbers share the mean of their ranks. Otherwise as `pearson`; `spearman_unparsable` is the share of
    answers without a number.

    Args:
        dataset: The jaster dataset, which decides how a completion is cleaned.
        answers: How the answer is read; see `evalkit.metrics.jaster_answers.AnswerReader`.
        pattern: A regular expression that finds the answer in the completion.
        unparsable: `original`: an answer without a number counts as -2. `left_out`: the correlation is over
            the others, and missing where it is not defined.
    """

    stat = "spearman"

    def measure(self, right: Sequence[float], given: Sequence[float]) -> float | None:
        """Spearman's rho."""
        return pearson(ranks(right), ranks(given))


def answered_number(text: str) -> float | None:
    """The number that the original reads; None if there is none, or more than one dot."""
    try:
        number = float(_NOT_IN_NUMBERS.sub("", text))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def pearson(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Pearson's r; None where either has no two different numbers."""
    if min(first) == max(first) or min(second) == max(second):
        return None
    one, other = _centred(first), _centred(second)
    product = math.fsum(x * y for x, y in zip(one, other, strict=True))
    return max(-1.0, min(1.0, product))


def ranks(numbers: Sequence[float]) -> list[float]:
    """The rank of each, from 1; equal ones share the mean of theirs."""
    found = [0.0] * len(numbers)
    seen = 0
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    for _, group in groupby(order, key=numbers.__getitem__):
        places = list(group)
        for place in places:
            found[place] = seen + (len(places) + 1) / 2
        seen += len(places)
    return found


def _centred(numbers: Sequence[float]) -> list[float]:
    """Deviations from the mean, scaled to the length 1."""
    largest = max(map(abs, numbers))
    scaled = [number / largest for number in numbers]
    mean = math.fsum(scaled) / len(scaled)
    deviations = [number - mean for number in scaled]
    length = math.hypot(*deviations)
    return [deviation / length for deviation in deviations]
