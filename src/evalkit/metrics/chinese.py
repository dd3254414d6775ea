"""HELM's metrics for Chinese: error rates over words that `jieba` finds, BLEU and ROUGE over characters."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from typing import Any

from evalkit.metrics.speech import cer_score, mer_score, wer_score, wip_score
from evalkit.metrics.text_overlap import clipped_precision, ngrams
from evalkit.registry import metric
from evalkit.scoring.optional_packages import require_module

_NEEDS = ("jiwer", "jieba")


@metric("chinese_wer_score", full_marks=0.0, needs=_NEEDS)
def chinese_wer_score(gold: str, prediction: str) -> float:
    """`wer_score` of the texts with blanks between their words; an empty prediction gets 0, as in HELM."""
    return wer_score(spaced(gold), spaced(prediction))


@metric("chinese_mer_score", full_marks=0.0, needs=_NEEDS)
def chinese_mer_score(gold: str, prediction: str) -> float:
    """`mer_score` of the texts with blanks between their words; an empty prediction gets 0, as in HELM."""
    return mer_score(spaced(gold), spaced(prediction))


@metric("chinese_wip_score", needs=_NEEDS)
def chinese_wip_score(gold: str, prediction: str) -> float:
    """`wip_score` of the texts with blanks between their words; more is better."""
    return wip_score(spaced(gold), spaced(prediction))


@metric("chinese_cer_score", full_marks=0.0, needs=_NEEDS)
def chinese_cer_score(gold: str, prediction: str) -> float:
    """`cer_score` of the texts with blanks between their words; an empty prediction gets 0, as in HELM.

    HELM counts those blanks as characters of both texts, so this is not the usual character error rate.
    """
    return cer_score(spaced(gold), spaced(prediction))


@metric("chinese_bleu_1", full_marks=None)
def chinese_bleu_1(gold: str, prediction: str) -> float:
    """Precision of single characters, blanks and punctuation among them, times the brevity penalty."""
    if not prediction:
        return 0.0
    penalty = math.exp(min(0.0, 1 - len(gold) / len(prediction)))
    return penalty * clipped_precision(gold, prediction, 1)


@metric("chinese_rouge_1", full_marks=None)
def chinese_rouge_1(gold: str, prediction: str) -> float:
    """ROUGE-1 F-measure over characters, blanks and punctuation among them."""
    return _rouge_n(gold, prediction, 1)


@metric("chinese_rouge_2", full_marks=None)
def chinese_rouge_2(gold: str, prediction: str) -> float:
    """ROUGE-2 F-measure over pairs of characters; 0 for a text of a single one."""
    return _rouge_n(gold, prediction, 2)


def spaced(text: str) -> str:
    """The text with a blank after each word, by `jieba`'s dictionary and its model for unknown words.

    Raises:
        UsageError: `jieba` is not installed.
    """
    return " ".join(_segmenter().cut(text))


def _rouge_n(gold: str, prediction: str, n: int) -> float:
    wanted, given = ngrams(gold, n), ngrams(prediction, n)
    shared = (wanted & given).total()
    return 2 * shared / (wanted.total() + given.total()) if shared else 0.0


@lru_cache(maxsize=1)
def _segmenter() -> Any:
    """A segmenter of our own: the shared one talks on stderr and keeps its cache in the temporary folder."""
    require_module("jieba", "splitting Chinese into words")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jieba's sources have old escapes, and import pkg_resources
        from jieba import Tokenizer

    segmenter = Tokenizer()
    segmenter.FREQ, segmenter.total = segmenter.gen_pfdict(segmenter.get_dict_file())
    segmenter.initialized = True
    return segmenter
