r"""What llm-jp-eval and the Nejumi leaderboard read as the answer in a completion, before they compare it.

In this order: cleaning by dataset, the text before the first blank line, blanks, then `'`, then `"` cut from
both ends, and Unicode NFKC, which makes `１` a `1` and `（` a `(`. A right answer only goes through NFKC.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import ClassVar, Literal

from evalkit.errors import DataError, UsageError
from evalkit.instance import Instance
from evalkit.registry import Output
from evalkit.scoring.metric import (
    Metric,
    asks_per_reference,
    compile_mapping_pattern,
    require_correct_reference,
)
from evalkit.scoring.unit import Unit, likeliest_first
from evalkit.specs.run_spec import AdapterSpec

Answers = Literal["original", "corrected", "as_generated"]

_INFERENCE = frozenset({"jamp", "janli", "jnli", "jsem", "jsick"})
_STRIPPED = frozenset({"jcommonsenseqa", "commonsensemoralja", "mawps"})
_QUESTIONS = frozenset({"jemhopqa", "jsquad", "niilc"})
_LABELS_JA = ("応答:", "回答:", "答え:")
_LABELS_EN = ("ANSWER:", "RESPONSE:")


class AnswerReader:
    r"""Reads the answer in a completion, and the right answer, as the original does.

    Args:
        dataset: The jaster dataset, which decides how a completion is cleaned; "": it is not.
        answers: `original`: as above. `corrected`: the same, but blank lines before the answer are dropped
            first, the right answer gets the case that the dataset's cleaning gives, and `jmmlu` and
            `mmlu_en` are cleaned like `jmmlu_…` and `mmlu_en_…`. `as_generated`: only blanks around it are
            cut and NFKC applied.
        pattern: A regular expression in which `.` matches line ends too; its first group, or the whole
            match, is taken in place of the text before the first blank line. A text without a match counts
            as empty. "": no pattern.

    Raises:
        UsageError: The pattern is not a regular expression.
    """

    def __init__(self, dataset: str = "", answers: Answers = "original", pattern: str = "") -> None:
        self._dataset, self._answers = dataset, answers
        if answers == "corrected" and dataset in ("jmmlu", "mmlu_en"):
            self._dataset = f"{dataset}_"
        try:
            self._pattern = re.compile(pattern, re.DOTALL) if pattern else None
        except re.error as error:
            raise UsageError(f"pattern '{pattern}' is not a regular expression: {error}") from None

    def predicted(self, completion: str) -> str:
        """The answer in a completion."""
        text = completion
        if self._answers == "corrected":
            text = text.lstrip()
        if self._answers != "as_generated":
            text = clean(text, self._dataset)
        if self._pattern is not None:
            text = _first_match(self._pattern, text)
        elif self._answers != "as_generated":
            text = text.split("\n\n", 1)[0]
        text = text.strip()
        if self._answers != "as_generated":
            text = text.strip("'").strip('"').strip()
        return unicodedata.normalize("NFKC", text)

    def right(self, text: str) -> str:
        """A right answer in the form in which answers are compared with it."""
        if self._answers == "corrected":
            text = _cased(text, self._dataset)
        return unicodedata.normalize("NFKC", text)


def clean(text: str, dataset: str) -> str:
    """A completion as the original cleans it for a dataset; of a dataset that it does not know, unchanged."""
    if dataset in _INFERENCE:
        return text.strip().lower()
    if dataset in _STRIPPED or dataset.startswith("wiki_"):
        return text.strip()
    labels: tuple[str, ...] = ()
    if dataset in _QUESTIONS or dataset.startswith("jmmlu_"):
        labels = _LABELS_JA
    elif dataset.startswith("mmlu_en_"):
        labels = _LABELS_EN
    for label in labels:
        text = text.replace(label, "")
    return _cased(text.strip() if labels else text, dataset)


def _cased(text: str, dataset: str) -> str:
    if dataset in _INFERENCE or dataset in _QUESTIONS:
        return text.lower()
    return text.upper() if dataset.startswith(("jmmlu_", "mmlu_en_")) else text


def _first_match(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    if match is None:
        return ""
    return (match[1] or "") if pattern.groups else match[0]


class AnswerMetric(Metric):
    """Compares the answer in a completion with the right ones; the base of the metrics of jaster datasets.

    Gives one score by the metric's name, the best over the right answers, and with several outputs
    `name@k`, the best of all of them.
    """

    takes: ClassVar[frozenset[Output] | None] = frozenset({"generated_text"})

    stat: ClassVar[str]
    mark: ClassVar[float | None] = 1.0

    def __init__(
        self, adapter_spec: AdapterSpec, dataset: str = "", answers: Answers = "original", pattern: str = ""
    ) -> None:
        self._reader = AnswerReader(dataset, answers, pattern)
        self._letter = compile_mapping_pattern(adapter_spec.output_mapping_pattern)
        self._applies = not asks_per_reference(adapter_spec)
        if not self._applies:
            return
        self.names = (self.stat,)
        if adapter_spec.num_outputs != 1:
            self.names = (self.stat, f"{self.stat}@{adapter_spec.num_outputs}")
        if self.mark is not None:
            self.full_marks = dict.fromkeys(self.names, self.mark)

    @property
    def shares(self) -> frozenset[str]:
        """All scores with full marks; the others, such as COMET, have other scales."""
        return frozenset(self.full_marks)

    def compare(self, gold: str, prediction: str) -> float:
        """The score of one answer against one right answer, both as the reader leaves them."""
        raise NotImplementedError

    def check(self, instance: Instance) -> None:
        """Refuse an instance without a right answer.

        Raises:
            DataError: There is none.
        """
        if self._applies:
            require_correct_reference(self.name, instance)

    def score(self, unit: Unit) -> Mapping[str, float]:
        """The score, and `name@k` where several outputs were asked for.

        Raises:
            DataError: The answer holds no completion, or the instance has no right answer.
        """
        if unit.per_reference:
            return {}
        golds, predictions = self.golds(unit), self.predictions(unit)
        best = [max(self.compare(gold, prediction) for gold in golds) for prediction in predictions]
        return dict(zip(self.names, (best[0], max(best)), strict=False))

    def golds(self, unit: Unit) -> list[str]:
        """The right answers, as the reader leaves them.

        Raises:
            DataError: There is none.
        """
        golds = [self._reader.right(r.text) for r in unit.instance.references if r.is_correct]
        if not golds:
            require_correct_reference(self.name, unit.instance)
        return golds

    def predictions(self, unit: Unit) -> list[str]:
        """The answers in all completions, the likeliest first; of multiple choice, the text of the option.

        Raises:
            DataError: The answer holds no completion.
        """
        answer = unit.answer
        if answer.state.output_mapping is not None:
            return [self._reader.predicted(text or "") for text in unit.predictions(self._letter)]
        completions = likeliest_first(answer.response.completions)
        if not completions:
            raise DataError(f"the answer to '{answer.state.key}' holds no completion")
        return [self._reader.predicted(completion.text) for completion in completions]
