"""CIDEr-D: how well a caption agrees with what several people wrote of the same picture."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

from evalkit.metrics.text import normalize_text
from evalkit.metrics.text_overlap import ngrams
from evalkit.registry import metric
from evalkit.scoring.metric import RunLevelMetric
from evalkit.scoring.run_level import Row
from evalkit.scoring.unit import Unit

CIDER = "cider"
MAX_N = 4
SIGMA = 6.0

Ngram = tuple[str, ...]
Profile = tuple[Counter[Ngram], ...]
"""The n-grams of a text by length, from 1 to `MAX_N`."""


@metric(CIDER)
class Cider(RunLevelMetric):
    """CIDEr-D (Vedantam et al. 2015) over all units of a run, from 0 to 10; more is better.

    N-grams that many instances' right answers share count less, so the number exists only over a whole
    run, and not for fewer than two units. All right answers of an instance are compared with, and the
    likeliest completion. Texts are in lower case and without ASCII punctuation; there is no stemming, as in
    the official script, whose Java tokenizer also splits contractions.

    HELM computes the same formula for each pair of texts by itself. A corpus of one has no rare n-grams, so
    HELM's `cider` is 0 for every answer. This is a deliberate difference.
    """

    run_level_names = (CIDER,)

    def run_level_row(self, unit: Unit) -> Row | None:
        """The normalised prediction, and the normalised right answers."""
        if unit.per_reference:
            return None
        prediction = unit.predictions()[0] or ""
        golds = tuple(normalize_text(gold, keep_articles=True) for gold in unit.golds)
        return normalize_text(prediction, keep_articles=True), golds

    def run_level_scores(self, rows: Sequence[Row]) -> Mapping[str, float]:
        """`cider`; nothing for a single unit."""
        if len(rows) < 2:
            return {}
        return {CIDER: math.fsum(cider_d(rows)) / len(rows)}


def cider_d(rows: Sequence[Row]) -> list[float]:
    """CIDEr-D of each row of (prediction, gold texts), from 0 to 10, with words parted by blanks.

    An n-gram weighs log(number of rows / rows with it in any gold text). For each length from 1 to 4 the
    vectors of weighted counts are compared by cosine, with the prediction's counts cut to the gold text's,
    and multiplied by a Gaussian of the difference in length (σ = 6); then the mean over lengths and gold
    texts, times 10.
    """
    weights = _squared_weights(rows)
    scores = []
    for prediction, golds in rows:
        likeness = math.fsum(_likeness(prediction, gold, weights) for gold in golds)
        scores.append(10 * likeness / (MAX_N * len(golds)))
    return scores


def _squared_weights(rows: Sequence[Row]) -> dict[Ngram, float]:
    """Of every n-gram of the rows; what no gold text has weighs as if one had it."""
    found_in: Counter[Ngram] = Counter()
    for _, golds in rows:
        found_in.update(_held_by_any(golds))
    squares = {n: math.log(len(rows) / n) ** 2 for n in {1, *found_in.values()}}
    weights = {ngram: squares[n] for ngram, n in found_in.items()}
    for prediction, _ in rows:
        for counts in _profile(prediction):
            for ngram in counts:
                weights.setdefault(ngram, squares[1])
    return weights


def _likeness(prediction: str, gold: str, weights: Mapping[Ngram, float]) -> float:
    """The sum over the lengths of the clipped cosines, times the penalty for another length."""
    given, wanted = _profile(prediction), _profile(gold)
    cosines = 0.0
    for mine, theirs in zip(given, wanted, strict=True):
        common = [(ngram, n, theirs[ngram]) for ngram, n in mine.items() if ngram in theirs]
        product = sum([min(n, m) * m * weights[ngram] for ngram, n, m in common])
        if product:
            cosines += product / math.sqrt(_square(mine, weights) * _square(theirs, weights))
    # The official script counts pairs of words, which differs from words only for a text without any.
    difference = given[1].total() - wanted[1].total()
    return cosines * math.exp(-(difference**2) / (2 * SIGMA**2))


def _square(counts: Mapping[Ngram, int], weights: Mapping[Ngram, float]) -> float:
    return sum([n * n * weights[ngram] for ngram, n in counts.items()])


# The bootstrap comes back to the same texts a hundred times.
@lru_cache(maxsize=1 << 12)
def _held_by_any(texts: Sequence[str]) -> frozenset[Ngram]:
    return frozenset(ngram for text in texts for counts in _profile(text) for ngram in counts)


@lru_cache(maxsize=1 << 14)
def _profile(text: str) -> Profile:
    words = text.split()
    return tuple(ngrams(words, n) for n in range(1, MAX_N + 1))
