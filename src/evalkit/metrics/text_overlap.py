"""ROUGE and BLEU as HELM defines them, on one right answer and one prediction."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

from evalkit.metrics.english_words import words
from evalkit.registry import metric
from evalkit.scoring.optional_packages import require_module

RougeVariant = Literal["rouge1", "rouge2", "rougeL", "rougeLsum"]


def rouge(variant: RougeVariant, gold: str, prediction: str, *, stemmer: bool) -> float:
    """The F-measure of Google's `rouge_score` 0.1.2 (Lin 2004), from 0 to 1.

    Args:
        variant: Single words, pairs of words, longest common subsequence, or that line by line.
        gold: The right answer.
        prediction: The answer given.
        stemmer: Whether words longer than three letters go through the Porter stemmer.

    Raises:
        UsageError: `rouge_score` is not installed.
    """
    return float(_rouge_scorer(variant, stemmer).score(gold, prediction)[variant].fmeasure)


def clipped_precision(gold: Sequence[str], prediction: Sequence[str], n: int) -> float:
    """The share of the prediction's n-grams that the gold text has as well, each as often as it has it."""
    wanted, given = ngrams(gold, n), ngrams(prediction, n)
    total = sum(given.values())
    return sum((wanted & given).values()) / total if total else 0.0


def ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """How often each run of `n` tokens occurs."""
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


@metric("rouge_1", full_marks=None, needs=("rouge_score",))
def rouge_1(gold: str, prediction: str) -> float:
    """ROUGE-1 F-measure with stemming."""
    return rouge("rouge1", gold, prediction, stemmer=True)


@metric("rouge_2", full_marks=None, needs=("rouge_score",))
def rouge_2(gold: str, prediction: str) -> float:
    """ROUGE-2 F-measure with stemming; 0 for equal texts of a single word, which have no pair."""
    return rouge("rouge2", gold, prediction, stemmer=True)


@metric("rouge_l", full_marks=None, needs=("rouge_score",))
def rouge_l(gold: str, prediction: str) -> float:
    """ROUGE-L F-measure with stemming."""
    return rouge("rougeL", gold, prediction, stemmer=True)


@metric("bleu_1", full_marks=None, needs=("nltk",))
def bleu_1(gold: str, prediction: str) -> float:
    """Precision of single words times the brevity penalty (NLTK's sentence BLEU, weights 1, 0, 0, 0)."""
    return _single_bleu(gold, prediction, 1)


@metric("bleu_4", full_marks=None, needs=("nltk",))
def bleu_4(gold: str, prediction: str) -> float:
    """Precision of runs of four words times the brevity penalty.

    HELM's weights are 0, 0, 0, 1, so this is not the usual BLEU-4, which also counts shorter runs. Without
    smoothing, and 0 for a prediction of fewer than four words.
    """
    return _single_bleu(gold, prediction, 4)


def _single_bleu(gold: str, prediction: str, n: int) -> float:
    wanted, given = words(gold), words(prediction)
    if not given:
        return 0.0
    penalty = 1.0 if len(given) > len(wanted) else math.exp(1 - len(wanted) / len(given))
    return penalty * clipped_precision(wanted, given, n)


@lru_cache(maxsize=8)
def _rouge_scorer(variant: RougeVariant, stemmer: bool) -> Any:
    require_module("rouge_score", "ROUGE")
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([variant], use_stemmer=stemmer)
