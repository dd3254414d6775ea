"""F1 over classes, as HELM's ClassificationMetric has it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from evalkit.metrics.text import normalize_text
from evalkit.registry import metric
from evalkit.scoring.metric import RunLevelMetric
from evalkit.scoring.run_level import Row
from evalkit.scoring.unit import Unit
from evalkit.specs.run_spec import AdapterSpec

MACRO, MICRO = "classification_macro_f1", "classification_micro_f1"


class ClassF1(RunLevelMetric):
    """F1 over all units; the classes are the right answers that occur, normalised as in `quasi_exact_match`.

    A unit is in the classes of its right answers, and is put into the one that the likeliest completion
    names. A completion that names no class is a miss of the right one and a false alarm of none, as in HELM.
    With a single class HELM's numbers are others: its library then counts "not of that class" as one too.
    """

    def __init__(self, adapter_spec: AdapterSpec, delimiter: str) -> None:
        super().__init__(adapter_spec)
        self._delimiter = delimiter

    def run_level_row(self, unit: Unit) -> Row | None:
        """The right classes and the named ones, both normalised and sorted."""
        if unit.per_reference:
            return None
        text = unit.predictions()[0] or ""
        named = text.split(self._delimiter) if self._delimiter else [text]
        return _classes(unit.golds), _classes(named)


@metric("classification_macro_f1")
class MacroF1(ClassF1):
    """The mean over the classes of F1 in each; see `evalkit.metrics.classification.ClassF1`.

    Args:
        delimiter: What stands between several classes in a completion; empty: it names one.
    """

    run_level_names = (MACRO,)

    def __init__(self, adapter_spec: AdapterSpec, delimiter: str = "") -> None:
        super().__init__(adapter_spec, delimiter)

    def run_level_scores(self, rows: Sequence[Row]) -> Mapping[str, float]:
        """`classification_macro_f1`."""
        counts = _counts(rows)
        return {MACRO: math.fsum(_f1(*c) for c in counts.values()) / len(counts)} if counts else {}


@metric("classification_micro_f1")
class MicroF1(ClassF1):
    """F1 over hits, misses and false alarms of all classes; see `evalkit.metrics.classification.ClassF1`.

    Args:
        delimiter: What stands between several classes in a completion; empty: it names one.
    """

    run_level_names = (MICRO,)

    def __init__(self, adapter_spec: AdapterSpec, delimiter: str = "") -> None:
        super().__init__(adapter_spec, delimiter)

    def run_level_scores(self, rows: Sequence[Row]) -> Mapping[str, float]:
        """`classification_micro_f1`."""
        counts = list(_counts(rows).values())
        return {MICRO: _f1(*(sum(column) for column in zip(*counts, strict=True)))} if counts else {}


def _classes(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({normalize_text(text) for text in texts if text}))


def _counts(rows: Sequence[Row]) -> dict[str, list[int]]:
    """Hits, misses and false alarms of each class that is right somewhere."""
    counts = {label: [0, 0, 0] for right, _ in rows for label in right}
    for right, named in rows:
        for label in right:
            counts[label][0 if label in named else 1] += 1
        for label in named:
            if label in counts and label not in right:
                counts[label][2] += 1
    return counts


def _f1(hits: int, misses: int, false_alarms: int) -> float:
    return 2 * hits / (2 * hits + misses + false_alarms) if hits else 0.0
