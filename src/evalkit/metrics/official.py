"""The metrics of question answering, arithmetic and code-summary benchmarks as their own scripts define them.

Scores are shares from 0 to 1 (the SQuAD and TriviaQA scripts print percent), but for CodeXGLUE's BLEU, which
is 0 to 100 as published. Several right answers: the best one counts, as in all of these scripts.
"""

from __future__ import annotations

import math
import re
import string
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

from evalkit.metrics.text import normalize_text
from evalkit.metrics.text_overlap import ngrams, rouge
from evalkit.registry import metric

_TRIVIAQA_SPACES = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " "))
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_GSM8K_ANSWER = re.compile(r"#### (-?[0-9.,]+)")
_FLEXIBLE_NUMBER = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
_CODEXGLUE_TOKEN = re.compile(r"[^\W_]+|_|[^\s\w]")
INVALID = "[invalid]"


@metric("squad_v1_em")
def squad_v1_em(gold: str, prediction: str) -> float:
    """SQuAD v1.1 exact match (`evaluate-v1.1.py`): equal without case, punctuation, articles and blanks."""
    return float(normalize_text(gold) == normalize_text(prediction))


@metric("squad_v1_f1", full_marks=None)
def squad_v1_f1(gold: str, prediction: str) -> float:
    """SQuAD v1.1 F1 (`evaluate-v1.1.py`) over words as often as they occur; 0 if nothing is shared."""
    return multiset_f1(normalize_text(gold).split(), normalize_text(prediction).split())


def squad_v2_best(score: Callable[[str, str], float], golds: Sequence[str], prediction: str) -> float:
    """The best score over the golds that SQuAD v2.0 keeps (`evaluate-v2.0.py`).

    Golds of which normalising leaves nothing are dropped; if none is left, the right answer is not an answer.
    """
    kept = [gold for gold in golds if normalize_text(gold)] or [""]
    return max(score(gold, prediction) for gold in kept)


def squad_v2_f1_of(gold: str, prediction: str) -> float:
    """SQuAD v2.0 F1 of one gold: as v1.1, but 1 if nothing is left of either after normalising."""
    wanted, given = normalize_text(gold).split(), normalize_text(prediction).split()
    return multiset_f1(wanted, given) if wanted and given else float(wanted == given)


@metric("triviaqa_em")
def triviaqa_em(gold: str, prediction: str) -> float:
    """TriviaQA exact match (`triviaqa_evaluation.py`): like SQuAD's, but punctuation becomes blanks."""
    return float(_normalize_triviaqa(gold) == _normalize_triviaqa(prediction))


@metric("triviaqa_f1", full_marks=None)
def triviaqa_f1(gold: str, prediction: str) -> float:
    """TriviaQA F1 (`triviaqa_evaluation.py`) over words as often as they occur."""
    return multiset_f1(_normalize_triviaqa(gold).split(), _normalize_triviaqa(prediction).split())


@metric("nq_open_em")
def nq_open_em(gold: str, prediction: str) -> float:
    """NQ-open exact match (`eval_utils.py` of ORQA): SQuAD's, after splitting letters from their accents."""
    wanted, given = (normalize_text(unicodedata.normalize("NFD", text)) for text in (gold, prediction))
    return float(wanted == given)


@metric("gsm8k_official", full_marks=None)
def gsm8k_official(gold: str, prediction: str) -> float:
    """GSM8K as its repository scores it: equal numbers after the first `#### `, commas aside.

    A prediction without one is wrong. A gold text without one is taken as the number itself, or as a text
    that ends with it.
    """
    return float(gsm8k_answer(prediction) == _gsm8k_gold(gold))


@metric("gsm8k_strict", full_marks=None)
def gsm8k_strict(gold: str, prediction: str) -> float:
    """GSM8K as lm-evaluation-harness's `strict-match`: the official rule, but a final full stop is cut."""
    return float(gsm8k_strict_answer(prediction) == _without_ending(_gsm8k_gold(gold)))


@metric("gsm8k_flexible")
def gsm8k_flexible(gold: str, prediction: str) -> float:
    """GSM8K as lm-evaluation-harness's `flexible-extract`: the last number of the prediction counts."""
    return float(gsm8k_flexible_answer(prediction) == _without_ending(_gsm8k_gold(gold)))


@metric("codexglue_bleu", full_marks=100.0)
def codexglue_bleu(gold: str, prediction: str) -> float:
    """CodeXGLUE code-to-text BLEU (`evaluator.py`), 0 to 100: smoothed sentence BLEU-4 (Lin & Och 2004).

    One is added to matches and totals of runs of two to four tokens, and to both lengths in the brevity
    penalty.
    """
    wanted, given = (_CODEXGLUE_TOKEN.findall(text.strip().lower()) for text in (gold, prediction))
    logs = []
    for n in range(1, 5):
        matches = sum((ngrams(wanted, n) & ngrams(given, n)).values())
        added = sys.float_info.min + (n > 1)
        logs.append(math.log(matches + added) - math.log(max(len(given) - n + 1, 0) + added))
    penalty = min(0.0, 1 - (len(wanted) + 1) / (len(given) + 1))
    return 100 * math.exp(math.fsum(logs) / 4 + penalty)


@metric("rouge1", full_marks=None, needs=("rouge_score",))
def rouge1(gold: str, prediction: str, stemmer: bool = False) -> float:
    """ROUGE-1 F-measure of `rouge_score`, by default without stemming.

    Args:
        gold: The right answer.
        prediction: The answer given.
        stemmer: Whether words longer than three letters are stemmed.
    """
    return rouge("rouge1", gold, prediction, stemmer=stemmer)


@metric("rouge2", full_marks=None, needs=("rouge_score",))
def rouge2(gold: str, prediction: str, stemmer: bool = False) -> float:
    """ROUGE-2 F-measure of `rouge_score`, by default without stemming.

    Args:
        gold: The right answer.
        prediction: The answer given.
        stemmer: Whether words longer than three letters are stemmed.
    """
    return rouge("rouge2", gold, prediction, stemmer=stemmer)


@metric("rougeL", full_marks=None, needs=("rouge_score",))
def rouge_l_plain(gold: str, prediction: str, stemmer: bool = False) -> float:
    """ROUGE-L F-measure of `rouge_score`, by default without stemming.

    Args:
        gold: The right answer.
        prediction: The answer given.
        stemmer: Whether words longer than three letters are stemmed.
    """
    return rouge("rougeL", gold, prediction, stemmer=stemmer)


@metric("rougeLsum", full_marks=None, needs=("rouge_score",))
def rouge_lsum(gold: str, prediction: str, stemmer: bool = False) -> float:
    """ROUGE-L F-measure of `rouge_score` line by line, by default without stemming.

    Args:
        gold: The right answer.
        prediction: The answer given.
        stemmer: Whether words longer than three letters are stemmed.
    """
    return rouge("rougeLsum", gold, prediction, stemmer=stemmer)


def multiset_f1(gold: Sequence[str], prediction: Sequence[str]) -> float:
    """The harmonic mean of precision and recall over tokens as often as they occur; 0 if none is shared."""
    shared = sum((Counter(gold) & Counter(prediction)).values())
    return 2 * shared / (len(gold) + len(prediction)) if shared else 0.0


def gsm8k_answer(text: str) -> str:
    """The number after the first `#### `, without commas; "[invalid]" if there is none."""
    found = _GSM8K_ANSWER.search(text)
    return found[1].replace(",", "") if found else INVALID


def gsm8k_strict_answer(text: str) -> str:
    """What `gsm8k_strict` compares; "[invalid]" if there is no number after `#### `."""
    return _without_ending(gsm8k_answer(text))


def gsm8k_flexible_answer(text: str) -> str:
    """What `gsm8k_flexible` compares: the last number, without "$", commas and final full stop."""
    numbers = _FLEXIBLE_NUMBER.findall(text)
    return _without_ending(numbers[-1].replace(",", "")) if numbers else INVALID


def _gsm8k_gold(gold: str) -> str:
    official = gsm8k_answer(gold)
    return official if official != INVALID else gsm8k_flexible_answer(gold)


def _without_ending(number: str) -> str:
    return number.replace("$", "").removesuffix(".")


def _normalize_triviaqa(text: str) -> str:
    spaced = text.replace("_", " ").lower().translate(_TRIVIAQA_SPACES)
    return " ".join(_ARTICLE.sub(" ", spaced).split())
