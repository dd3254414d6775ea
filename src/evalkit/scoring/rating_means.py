"""Means of what was rated turn by turn, by the two definitions in use: over items, and over categories."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from evalkit.scoring.run_level import MeanOfParts, Row

OF_ITEMS, OF_CATEGORIES = "mean_of_items", "mean_of_categories"


def mean_names(score: str) -> tuple[str, str]:
    """The names of both means of a score: `rating_mean_of_items`, `rating_mean_of_categories`."""
    return f"{score}_{OF_ITEMS}", f"{score}_{OF_CATEGORIES}"


def turn_score(score: str, turn: int) -> str:
    """The name of a score of one turn: `rating_turn_1`."""
    return f"{score}_turn_{turn}"


def means_of(score: str, rows: Sequence[tuple[object, Sequence[float]]]) -> dict[str, float]:
    """Both means of a score; that of categories only where all items have one.

    Args:
        score: Its name.
        rows: The category of each question, or None, and the scores of its items: its turns.
    """
    of_items, of_categories = mean_names(score)
    means: dict[str, float] = {of_items: MeanOfParts.of([(None, values) for _, values in rows])}
    if all(category is not None for category, _ in rows):
        means[of_categories] = MeanOfParts.of(rows)
    return means


def item_row(category: str | None, score: str, scores: Mapping[str, float]) -> Row | None:
    """The row of a question, from its scores turn by turn; None where it has none."""
    values = tuple(value for name, value in scores.items() if name.startswith(f"{score}_turn_"))
    return (category, values) if values else None


def mean(values: Iterable[float]) -> float:
    """The mean of at least one number."""
    known = list(values)
    return math.fsum(known) / len(known)
