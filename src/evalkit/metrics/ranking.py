"""How well a model orders passages by relevance, one yes-or-no request each: HELM's RankingMetric."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from evalkit.errors import DataError, UsageError, nearest_names
from evalkit.instance import Instance, Reference
from evalkit.registry import Output, metric
from evalkit.scoring.metric import Metric
from evalkit.scoring.unit import Answer, Unit
from evalkit.specs.run_spec import AdapterSpec

Measure = Callable[[Sequence[int], Sequence[int], int], float]


def reciprocal_rank(ranked: Sequence[int], judged: Sequence[int], k: int) -> float:
    """One over the place of the first relevant passage among the first `k`; 0 if there is none.

    Args:
        ranked: The relevance of each passage, in the order of the ranking.
        judged: All relevances, in any order.
        k: Where the ranking is cut.
    """
    return next((1 / place for place, gain in enumerate(ranked[:k], start=1) if gain > 0), 0.0)


def ndcg(ranked: Sequence[int], judged: Sequence[int], k: int) -> float:
    """Discounted gain of the first `k` passages over that of the best order (Järvelin & Kekäläinen 2002).

    Gains are the relevances and discounts log2(place + 1), as in trec_eval. Arguments as above.
    """
    best = _discounted(sorted(judged, reverse=True)[:k])
    return _discounted(ranked[:k]) / best if best else 0.0


def success(ranked: Sequence[int], judged: Sequence[int], k: int) -> float:
    """Whether a relevant passage is among the first `k`. Arguments as above."""
    return float(any(gain > 0 for gain in ranked[:k]))


def recall(ranked: Sequence[int], judged: Sequence[int], k: int) -> float:
    """The share of the relevant passages that are among the first `k`; 0 if none is. Arguments as above."""
    relevant = sum(gain > 0 for gain in judged)
    return sum(gain > 0 for gain in ranked[:k]) / relevant if relevant else 0.0


# trec_eval's name to HELM's, the measure, and whether it only knows relevant and not.
_MEASURES: dict[str, tuple[str, Measure, bool]] = {
    "recip_rank": ("RR", reciprocal_rank, True),
    "ndcg_cut": ("NDCG", ndcg, False),
    "success": ("success", success, True),
    "recall": ("recall", recall, True),
}


@metric("ranking")
class Ranking(Metric):
    """Measures of the order in which the model's answers put an instance's passages.

    Each reference is a passage with a tag such as `relevance=2` (0 without it) and had its own request
    (`ranking_binary`). A "yes" comes before a "no" before anything else; among the yeses the likelier come
    first, otherwise the less likely; equals keep their order.

    Gives `RR@k`, `NDCG@k`, `success@k` or `recall@k` for each measure, `ref{i}_rank` (the place of each
    passage, from 1) and, if `rank` is set, each measure again as `… (topk=N)` over the passages alone
    whose tag `rank=…` is at most N. Requests of other adapters give nothing.

    Args:
        measure_names: Such as `recip_rank.10`, `ndcg_cut.10`, `success.5`, `recall.100`.
        correct_output: What the model says of a relevant passage.
        wrong_output: What it says of another.
        rank: N of the second set of measures.
        multiple_relevance_values: Relevance has grades: all measures but NDCG count 1 as not relevant.
    """

    takes: ClassVar[frozenset[Output] | None] = frozenset({"reference_answers"})

    def __init__(
        self,
        adapter_spec: AdapterSpec,
        measure_names: list[str] | None = None,
        correct_output: str = "Yes",
        wrong_output: str = "No",
        rank: int | None = None,
        multiple_relevance_values: bool = False,
    ) -> None:
        self._applies = adapter_spec.method == "ranking_binary"
        self._measures = [_parse_measure(name) for name in measure_names or ["recip_rank.10", "ndcg_cut.10"]]
        self._yes, self._no = correct_output.strip().lower(), wrong_output.strip().lower()
        self._rank, self._graded = rank, multiple_relevance_values
        if self._applies:
            suffixes = ("",) if rank is None else ("", f" (topk={rank})")
            self.names = tuple(shown + suffix for suffix in suffixes for shown, _, _, _ in self._measures)

    def check(self, instance: Instance) -> None:
        """Refuse an instance whose passages have no places, if those are needed, or malformed tags.

        Raises:
            DataError: A tag is missing or no whole number.
        """
        if self._applies:
            for reference in instance.references:
                _tag(reference, "relevance", instance)
            if self._rank is not None:
                self._top(instance)

    def score(self, unit: Unit) -> Mapping[str, float]:
        """The measures and places listed above.

        Raises:
            DataError: A passage has no answer.
        """
        if not self._applies:
            return {}
        instance = unit.instance
        order = self._order(unit)
        relevance = [_tag(reference, "relevance", instance) or 0 for reference in instance.references]
        scores = self._measured(order, relevance, "")
        if self._rank is not None:
            top = self._top(instance)
            kept = [gain for index, gain in enumerate(relevance) if index in top]
            ranked = [index for index in order if index in top]
            scores |= self._measured(ranked, relevance, f" (topk={self._rank})", kept)
        for place, index in enumerate(order, start=1):
            scores[f"ref{index}_rank"] = float(place)
        return scores

    def _measured(
        self, order: Sequence[int], relevance: Sequence[int], suffix: str, judged: Sequence[int] | None = None
    ) -> dict[str, float]:
        ranked, judged = [relevance[index] for index in order], relevance if judged is None else judged
        scores = {}
        for shown, measure, binary, k in self._measures:
            lowered = binary and self._graded
            scores[shown + suffix] = measure(
                [0 if lowered and gain == 1 else gain for gain in ranked],
                [0 if lowered and gain == 1 else gain for gain in judged],
                k,
            )
        return scores

    def _order(self, unit: Unit) -> list[int]:
        answers = {answer.state.reference_index: answer for answer in unit.answers}
        keys: list[tuple[int, float]] = []
        for index in range(len(unit.instance.references)):
            answer = answers.get(index)
            if answer is None or not answer.response.completions:
                raise DataError(f"passage {index} of instance '{unit.instance.id}' has no answer")
            keys.append(self._key(answer))
        return sorted(range(len(keys)), key=lambda index: (-keys[index][0], -keys[index][1]))

    def _key(self, answer: Answer) -> tuple[int, float]:
        completion = answer.response.completions[0]
        if completion.logprob is None:
            raise DataError(f"the answer to '{answer.state.key}' has no log-probability to rank by")
        text = completion.text.strip().lower()
        if text == self._yes:
            return 2, completion.logprob
        return int(text == self._no), -completion.logprob

    def _top(self, instance: Instance) -> set[int]:
        top = set()
        for index, reference in enumerate(instance.references):
            place = _tag(reference, "rank", instance)
            if place is not None and self._rank is not None and place <= self._rank:
                top.add(index)
        if not top:
            raise DataError(f"no passage of instance '{instance.id}' has a tag rank=1 to rank={self._rank}")
        return top


def _discounted(gains: Sequence[int]) -> float:
    return math.fsum(max(gain, 0) / math.log2(place + 1) for place, gain in enumerate(gains, start=1))


def _parse_measure(name: str) -> tuple[str, Measure, bool, int]:
    known, _, cut = name.rpartition(".")
    if known not in _MEASURES or not cut.isdecimal() or int(cut) < 1:
        nearest = nearest_names(known or name, _MEASURES)
        hint = f"; did you mean '{nearest[0]}.10'?" if nearest else ""
        raise UsageError(
            f"metric 'ranking': '{name}' is not a measure such as recip_rank.10 or ndcg_cut.10{hint}"
        )
    shown, measure, binary = _MEASURES[known]
    return f"{shown}@{cut}", measure, binary, int(cut)


def _tag(reference: Reference, name: str, instance: Instance) -> int | None:
    """The whole number of the tag `name=…`; None without such a tag."""
    for tag in reference.tags:
        if tag.startswith(f"{name}="):
            try:
                return int(tag.partition("=")[2])
            except ValueError:
                raise DataError(f"instance '{instance.id}': the tag '{tag}' is not a whole number") from None
    return None
