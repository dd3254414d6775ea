"""Metrics that compare two texts with the standard library alone. Names and results are HELM's."""

from __future__ import annotations

import re
import string
from fractions import Fraction
from functools import lru_cache

from evalkit.notation.boxes import boxed_answer
from evalkit.notation.numbers import last_number, numbers_in
from evalkit.registry import metric

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
# The dot matches any character, as in HELM: "1/2" is one number, and scores must agree.
_NUMBER = re.compile(r"-?[\d,]+(?:.\d+)?")
_EMPTY_SET = "Nothing."


@lru_cache(maxsize=1024)
def normalize_text(text: str, keep_articles: bool = False) -> str:
    """Lower case, without ASCII punctuation and (unless kept) English articles, single blanks between words.

    The last thousand results are remembered, since several metrics normalise the same two texts.
    """
    text = text.lower().translate(_NO_PUNCTUATION)
    if not keep_articles:
        text = _ARTICLE.sub(" ", text)
    return " ".join(text.split())


@metric("exact_match")
def exact_match(gold: str, prediction: str) -> float:
    """Whether the texts are equal, apart from blanks around them."""
    return float(bool(prediction) and gold.strip() == prediction.strip())


@metric("quasi_exact_match")
def quasi_exact_match(gold: str, prediction: str) -> float:
    """Whether the texts are equal, apart from case, punctuation, articles and blanks."""
    return float(bool(prediction) and normalize_text(gold) == normalize_text(prediction))


@metric("quasi_leave_articles_exact_match")
def quasi_leave_articles_exact_match(gold: str, prediction: str) -> float:
    """Whether the texts are equal, apart from case, punctuation and blanks."""
    return float(bool(prediction) and normalize_text(gold, True) == normalize_text(prediction, True))


@metric("prefix_exact_match")
def prefix_exact_match(gold: str, prediction: str) -> float:
    """Whether the prediction begins with the gold text."""
    return float(bool(prediction) and prediction.strip().startswith(gold.strip()))


@metric("quasi_prefix_exact_match")
def quasi_prefix_exact_match(gold: str, prediction: str) -> float:
    """Whether the prediction begins with the gold text, apart from case, punctuation, articles and blanks."""
    return float(bool(prediction) and normalize_text(prediction).startswith(normalize_text(gold)))


@metric("exact_match_indicator")
def exact_match_indicator(gold: str, prediction: str) -> float:
    """Whether what stands after the last blank is equal."""
    return exact_match(gold.rpartition(" ")[2], prediction.rpartition(" ")[2])


@metric("final_number_exact_match")
def final_number_exact_match(gold: str, prediction: str) -> float:
    """Whether the last numbers in the texts are equal, thousands commas aside; 0 without a number.

    HELM's rule, to the letter: a comma after the number counts as a number, and numbers are compared as
    texts. `final_number_match` does better.
    """
    return exact_match(_final_number(gold), _final_number(prediction))


@metric("final_number_match")
def final_number_match(gold: str, prediction: str) -> float:
    r"""Whether the final numbers in the texts have one value (`$72.00` and `72,` do); 0 without a number.

    Final is the number in the last `\boxed{…}`, without one the first after the last `####`, else the last.
    """
    wanted, given = _final_value(gold), _final_value(prediction)
    return float(wanted is not None and wanted == given)


@metric("f1_score")
def f1_score(gold: str, prediction: str) -> float:
    """The harmonic mean of precision and recall over the sets of normalised words."""
    return _set_f1(frozenset(normalize_text(gold).split()), frozenset(normalize_text(prediction).split()))


@metric("exact_set_match")
def exact_set_match(gold: str, prediction: str) -> float:
    """Whether both texts name the same set, as in "The fruit is red and sweet."."""
    return float(_gold_set(gold) == _predicted_set(prediction))


@metric("iou_set_match")
def iou_set_match(gold: str, prediction: str) -> float:
    """Size of the intersection over size of the union of the sets that the texts name."""
    wanted, named = _gold_set(gold), _predicted_set(prediction)
    if not wanted:
        return float(not named)
    return len(wanted & named) / len(wanted | named)


@metric("f1_set_match")
def f1_set_match(gold: str, prediction: str) -> float:
    """The harmonic mean of precision and recall over the sets that the texts name."""
    wanted, named = _gold_set(gold), _predicted_set(prediction)
    if not wanted:
        return float(not named)
    return _set_f1(wanted, named)


@metric("absolute_value_difference", full_marks=0.0)
def absolute_value_difference(gold: str, prediction: str) -> float:
    """How far apart the whole numbers are that the texts spell (commas allowed); no number counts as 0."""
    return float(abs(_whole_number(gold) - _whole_number(prediction)))


def _final_number(text: str) -> str:
    numbers = _NUMBER.findall(text)
    return numbers[-1].replace(",", "") if numbers else ""


def _final_value(text: str) -> Fraction | None:
    boxed = boxed_answer(text)
    if boxed and (value := last_number(boxed)) is not None:
        return value
    _, mark, answer = text.rpartition("####")
    if mark and (value := next(numbers_in(answer), None)) is not None:
        return value
    return last_number(text)


def _gold_set(text: str) -> frozenset[str]:
    if _EMPTY_SET in text:
        return frozenset()
    return frozenset(text.replace(".", "").split(" is ")[-1].split(" and "))


def _predicted_set(text: str) -> frozenset[str]:
    return _gold_set(text.split("\n", 1)[0])


def _set_f1(gold: frozenset[str], prediction: frozenset[str]) -> float:
    if not gold or not prediction:
        return 0.0
    return 2 * len(gold & prediction) / (len(gold) + len(prediction))


def _whole_number(text: str) -> int:
    try:
        return int(text.replace(",", ""))
    except ValueError:
        return 0
