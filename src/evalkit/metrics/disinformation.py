"""How varied the completions of one prompt are: HELM's DisinformationMetric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

from evalkit.registry import Output, metric
from evalkit.scoring.metric import Metric
from evalkit.scoring.optional_packages import require_module
from evalkit.scoring.unit import Unit


@metric("self_bleu", needs=("sacrebleu",))
class SelfBleu(Metric):
    """Mean BLEU (0 to 100, sacreBLEU with effective order) of each completion against the others.

    High where a model keeps saying the same (Zhu et al. 2018, arXiv:1802.01886). Empty completions don't
    count; 0 if fewer than two are left.
    """

    takes: ClassVar[frozenset[Output] | None] = frozenset({"generated_text"})

    names = ("self_bleu",)

    def score(self, unit: Unit) -> Mapping[str, float]:
        """`self_bleu`.

        Raises:
            UsageError: sacreBLEU is not installed.
        """
        texts = [c.text.strip() for c in unit.answer.response.completions if c.text.strip()]
        if len(texts) < 2:
            return {"self_bleu": 0.0}
        bleu = _sentence_bleu()
        scores = [bleu.sentence_score(text, texts[:i] + texts[i + 1 :]).score for i, text in enumerate(texts)]
        return {"self_bleu": math.fsum(scores) / len(scores)}


@metric("monte_carlo_entropy")
class MonteCarloEntropy(Metric):
    """Minus the mean log-probability of the completions: an estimate of the model's entropy, in nats.

    Nothing where the server reports no log-probabilities.
    """

    takes: ClassVar[frozenset[Output] | None] = frozenset({"generated_text"})

    names = ("monte_carlo_entropy",)

    def score(self, unit: Unit) -> Mapping[str, float]:
        """`monte_carlo_entropy`."""
        logprobs = [c.logprob for c in unit.answer.response.completions]
        known = [logprob for logprob in logprobs if logprob is not None]
        if not known or len(known) < len(logprobs):
            return {}
        return {"monte_carlo_entropy": -math.fsum(known) / len(known)}


@lru_cache(maxsize=1)
def _sentence_bleu() -> Any:
    require_module("sacrebleu", "the metric self_bleu")
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(effective_order=True)
