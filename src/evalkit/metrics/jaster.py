"""The metrics of single answers in llm-jp-eval's jaster datasets, with the original's exact semantics.

How an answer is read from a completion is described in `evalkit.metrics.jaster_answers`.
"""

from __future__ import annotations

import re
from typing import Literal

from evalkit.metrics.jaster_answers import AnswerMetric, Answers
from evalkit.notation.numbers import last_number
from evalkit.registry import metric
from evalkit.specs.run_spec import AdapterSpec

_NO_LATIN_1 = dict.fromkeys(range(0x80, 0x100))
_NO_WORD_CHARACTER = re.compile(r"\W")


@metric("jaster_exact_match")
class JasterExactMatch(AnswerMetric):
    """Whether the answer is the right one, character by character; an empty answer matches an empty one.

    Args:
        dataset: The jaster dataset, which decides how a completion is cleaned.
        answers: How the answer is read; see `evalkit.metrics.jaster_answers.AnswerReader`.
        pattern: A regular expression that finds the answer in the completion.
    """

    stat = "jaster_exact_match"

    def compare(self, gold: str, prediction: str) -> float:
        """1.0 or 0.0."""
        return float(gold == prediction)


@metric("exact_match_figure")
class ExactMatchFigure(AnswerMetric):
    """Whether answer and right answer are one number; 0 where one of them is not a number.

    Args:
        dataset: The jaster dataset, which decides how a completion is cleaned.
        answers: How the answer is read; see `evalkit.metrics.jaster_answers.AnswerReader`.
        pattern: A regular expression that finds the answer in the completion.
        numbers: `original`: the whole answer is read by Python's `float`, which takes `1e3` and not `1,000`
            or `3個`. `in_text`: the last number in the answer counts, thousands commas aside.
    """

    stat = "exact_match_figure"

    def __init__(
        self,
        adapter_spec: AdapterSpec,
        dataset: str = "",
        answers: Answers = "original",
        pattern: str = "",
        numbers: Literal["original", "in_text"] = "original",
    ) -> None:
        super().__init__(adapter_spec, dataset, answers, pattern)
        self._in_text = numbers == "in_text"

    def compare(self, gold: str, prediction: str) -> float:
        """1.0 or 0.0."""
        if self._in_text:
            wanted = last_number(gold)
            return float(wanted is not None and wanted == last_number(prediction))
        try:
            return float(float(gold) == float(prediction))
        except ValueError:
            return 0.0


@metric("char_f1")
class CharF1(AnswerMetric):
    """The similarity that llm-jp-eval calls `char_f1`: fuzzywuzzy's `token_sort_ratio`, from 0 to 1.

    It is not an F1 of characters: words are sorted, and the share of characters in the longest common
    subsequence counts, rounded to two decimals. See `evalkit.metrics.jaster.token_sort_similarity`.

    Args:
        dataset: The jaster dataset, which decides how a completion is cleaned.
        answers: How the answer is read; see `evalkit.metrics.jaster_answers.AnswerReader`.
        pattern: A regular expression that finds the answer in the completion.
    """

    stat = "char_f1"

    def compare(self, gold: str, prediction: str) -> float:
        """From 0 to 1."""
        return token_sort_similarity(gold, prediction)


@metric("set_f1")
class SetF1(AnswerMetric):
    """F1 over lines, blanks around them cut: of an answer's different lines, and of all right lines.

    A line that the right answer has twice can be found only once, so the right answer itself then has less
    than 1.

    Args:
        dataset: The jaster dataset, which decides how a completion is cleaned.
        answers: How the answer is read; see `evalkit.metrics.jaster_answers.AnswerReader`.
        pattern: A regular expression that finds the answer in the completion.
        right_lines: `original`: a line that occurs twice in the right answer counts twice. `once`: it counts
            once.
    """

    stat = "set_f1"

    def __init__(
        self,
        adapter_spec: AdapterSpec,
        dataset: str = "",
        answers: Answers = "original",
        pattern: str = "",
        right_lines: Literal["original", "once"] = "original",
    ) -> None:
        super().__init__(adapter_spec, dataset, answers, pattern)
        self._once = right_lines == "once"

    def compare(self, gold: str, prediction: str) -> float:
        """From 0 to 1."""
        right = [line.strip() for line in gold.split("\n")]
        return line_f1(list(dict.fromkeys(right)) if self._once else right, prediction)


def line_f1(right: list[str], prediction: str) -> float:
    """F1 of a text's different lines and of the right lines, each as often as it is there."""
    given = {line.strip() for line in prediction.split("\n")}
    num_shared = len(given.intersection(right))
    if not num_shared:
        return 0.0
    precision, recall = num_shared / len(given), num_shared / len(right)
    return 2 * precision * recall / (precision + recall)


def token_sort_similarity(first: str, second: str) -> float:
    """Fuzzywuzzy 0.18's `token_sort_ratio` over 100, with python-Levenshtein's ratio; 1 for equal texts.

    U+0080 to U+00FF are dropped, all but letters, digits and `_` become blanks, and words are put in lower
    case and sorted. Then 1 minus the characters to take out and put in over the characters of both, rounded
    to two decimals. Texts of which nothing is left are equal.
    """
    one, other = _sorted_words(first), _sorted_words(second)
    if one == other:
        return 1.0
    if not one or not other:
        return 0.0
    length = len(one) + len(other)
    distance = length - 2 * longest_common_subsequence(one, other)
    # The original's order of operations: some halves are rounded the other way by another one.
    return round(100 * (1.0 - distance / length)) / 100


def longest_common_subsequence(first: str, second: str) -> int:
    """Its length, by bit-parallel dynamic programming (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for position, character in enumerate(first):
        places[character] = places.get(character, 0) | 1 << position
    everything = (1 << len(first)) - 1
    row = everything
    for character in second:
        matches = row & places.get(character, 0)
        row = (row + matches | row - matches) & everything
    return len(first) - row.bit_count()


def _sorted_words(text: str) -> str:
    words = _NO_WORD_CHARACTER.sub(" ", text.translate(_NO_LATIN_1)).lower().split()
    return " ".join(sorted(words))
