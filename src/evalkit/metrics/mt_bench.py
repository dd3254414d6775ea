"""Ratings of MT-Bench: by turn, and their means by each of the definitions in use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from evalkit.registry import Output, metric
from evalkit.scoring.metric import Metric
from evalkit.scoring.rating_means import mean, mean_names, means_of, turn_score
from evalkit.scoring.run_level import Row
from evalkit.scoring.unit import Unit

JUDGEMENTS = "judgements"
"""Where an instance keeps published judgements in `extra`: rows of FastChat's files, in their order."""
TURNS = "turns"
"""Where such an instance keeps all turns of its question, asked or not."""
NO_RATING = -1
"""What FastChat writes where the judge's reply has no rating."""
RATING = "rating"
MEAN_OF_ITEMS, MEAN_OF_CATEGORIES = mean_names(RATING)
MEAN_OF_ROWS = f"{RATING}_mean_of_rows"


@metric("mt_bench_ratings", full_marks=None)
class MtBenchRatings(Metric):
    """The ratings in published judgement files of MT-Bench.

    An item is a turn of a question. Of several judgements of an item the last one with a rating counts:
    `rating_turn_1`, `rating_turn_2`, `rating_mean_of_items`, and `rating_mean_of_categories` (the mean over
    categories of the mean of their items). `rating_mean_of_rows` is over all judgements with a rating, as
    FastChat's `show_result` counts. An item that has no rating at all has failed.

    Args:
        turns: The turns that were judged.
    """

    takes: ClassVar[frozenset[Output] | None] = frozenset({"generated_text"})

    def __init__(self, turns: tuple[int, ...] = (1, 2)) -> None:
        self._turns = turns
        self.names = tuple(turn_score(RATING, turn) for turn in turns)
        self.run_level_names = (MEAN_OF_ITEMS, MEAN_OF_CATEGORIES, MEAN_OF_ROWS)

    def score(self, unit: Unit) -> Mapping[str, float]:
        """The last rating of each turn that was judged."""
        judged = _judged(unit)
        return {
            turn_score(RATING, turn): judged[turn][-1] if judged[turn] else math.nan
            for turn in self._turns
            if turn in judged
        }

    def run_level_row(self, unit: Unit) -> Row | None:
        """The category, and the ratings of each turn that has some."""
        ratings = tuple(tuple(of_turn) for of_turn in _judged(unit).values() if of_turn)
        return (unit.instance.sub_split, ratings) if ratings else None

    def run_level_scores(self, rows: Sequence[Row]) -> Mapping[str, float]:
        """The means; that of categories only where all questions have one."""
        last = [(category, [ratings[-1] for ratings in of_turns]) for category, of_turns in rows]
        every = (rating for _, of_turns in rows for ratings in of_turns for rating in ratings)
        return {**means_of(RATING, last), MEAN_OF_ROWS: mean(every)}


def _judged(unit: Unit) -> dict[int, list[float]]:
    """The ratings of each turn that was judged, in the order of the judgements."""
    judgements: Sequence[Mapping[str, Any]] = (unit.instance.extra or {}).get(JUDGEMENTS, ())
    judged: dict[int, list[float]] = {}
    for judgement in judgements:
        ratings = judged.setdefault(int(judgement["turn"]), [])
        if judgement["score"] != NO_RATING:
            ratings.append(float(judgement["score"]))
    return judged
