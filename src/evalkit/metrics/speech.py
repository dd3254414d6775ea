"""How far a transcript is from what was said: HELM's error rates for speech recognition, through `jiwer`.

Both texts are compared in lower case, without ASCII punctuation and with single blanks between words.

Two of HELM's rules are surprising, and kept so that the numbers agree. An empty prediction gets 0, which is
the best error rate there is: look at how many answers are empty before trusting a low one. And of several
right answers (or several predictions, in `name@k`) the highest number counts, which for an error rate is the
worst.
"""

from __future__ import annotations

from typing import Literal

from evalkit.errors import DataError
from evalkit.metrics.text import normalize_text
from evalkit.registry import metric
from evalkit.scoring.optional_packages import require_module

Measure = Literal["wer", "mer", "wip", "cer"]


@metric("wer_score", full_marks=0.0, needs=("jiwer",))
def wer_score(gold: str, prediction: str) -> float:
    """Word error rate: words replaced, left out or put in, per word of the gold text; may exceed 1.

    Less is better, but an empty prediction gets 0, as in HELM.
    """
    return measured("wer", gold, prediction)


@metric("mer_score", full_marks=0.0, needs=("jiwer",))
def mer_score(gold: str, prediction: str) -> float:
    """Match error rate (Morris et al. 2004): the share of errors among aligned words, from 0 to 1.

    Less is better, but an empty prediction gets 0, as in HELM.
    """
    return measured("mer", gold, prediction)


@metric("wip_score", needs=("jiwer",))
def wip_score(gold: str, prediction: str) -> float:
    """Word information preserved (Morris et al. 2004): matched words per gold word times per predicted word.

    From 0 to 1, and more is better; 0 for an empty prediction.
    """
    return measured("wip", gold, prediction)


@metric("cer_score", full_marks=0.0, needs=("jiwer",))
def cer_score(gold: str, prediction: str) -> float:
    """Character error rate: characters replaced, left out or put in, per character of the gold text.

    Blanks between words are characters. Less is better, but an empty prediction gets 0, as in HELM.
    """
    return measured("cer", gold, prediction)


def measured(measure: Measure, gold: str, prediction: str) -> float:
    """One of `jiwer`'s measures on the normalised texts; 0 for an empty prediction.

    Raises:
        DataError: Nothing is left of the gold text, so there is nothing to count errors per.
        UsageError: `jiwer` is not installed.
    """
    if not prediction:
        return 0.0
    wanted = normalize_text(gold, keep_articles=True)
    if not wanted:
        raise DataError(f"an error rate needs a right answer with at least one word; '{gold}' has none")
    require_module("jiwer", f"the measure {measure}")
    import jiwer

    return float(getattr(jiwer, measure)(wanted, normalize_text(prediction, keep_articles=True)))
