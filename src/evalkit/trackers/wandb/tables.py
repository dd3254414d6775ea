"""Typed tables of a stored run: each column has one type, whatever the run holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from evalkit.codec import encode
from evalkit.results.stored_run import InstanceRecord, StoredRun
from evalkit.scoring.stat import Stat

MOST_ROWS = 200_000
"""A table of W&B holds no more."""
_COLUMNS: tuple[tuple[str, type], ...] = (
    *(("instance_id", str), ("perturbation", str), ("trial", int), ("sample", int), ("split", str)),
    *(
        ("status", str),
        ("reason", str),
        ("input", str),
        ("references", str),
        ("prompt", str),
        ("output", str),
    ),
    *(("prompt_tokens", int), ("completion_tokens", int), ("latency_s", float), ("detail", str)),
)
_STATS: tuple[tuple[str, type], ...] = (
    *(("task", str), ("metric", str), ("kind", str), ("split", str), ("perturbation", str)),
    *(("mean", float), ("stderr", float), ("ci95_low", float), ("ci95_high", float), ("ci95_method", str)),
    *(("n", int), ("n_failed", int), ("n_total", int)),
)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns.

    Attributes:
        columns: The name and the type of each; a cell is of this type, or None.
    """

    columns: tuple[tuple[str, type], ...]
    rows: list[list[Any]]


def instance_tables(run: StoredRun) -> Iterator[Table]:
    """One row per instance and trial with its answer and a column per score, in tables of `MOST_ROWS`.

    Raises:
        DamageError: The run is damaged.
    """
    names = _score_names(run.stats)
    fixed = {name for name, _ in _COLUMNS}
    columns = [(f"score_{name}" if name in fixed else name, float) for name in names]
    records = run.records()
    while rows := [_row(record, names) for record in islice(records, MOST_ROWS)]:
        yield Table((*_COLUMNS, *columns), rows)


def stats_table(stats: Iterable[tuple[str, Stat]]) -> Table:
    """One row per number, with its interval and what it is over.

    Args:
        stats: Tasks and their numbers.
    """
    return Table(_STATS, [_stat_row(task, stat) for task, stat in stats])


def _score_names(stats: Sequence[Stat]) -> list[str]:
    return list(dict.fromkeys(stat.name for stat in stats if stat.kind == "score"))


def _row(record: InstanceRecord, names: Sequence[str]) -> list[Any]:
    joined_texts = {"prompt": joined(record.prompts), "output": joined(record.outputs)}
    cells = {**joined_texts, "references": joined(record.references)}
    fixed = [cells[name] if name in cells else _cell(getattr(record, name), kind) for name, kind in _COLUMNS]
    return fixed + [float_of(record.scores.get(name)) for name in names]


def _cell(value: Any, kind: type) -> Any:
    if kind is int:
        return int(value)
    return float_of(value) if kind is float else text_of(value)


def _stat_row(task: str, stat: Stat) -> list[Any]:
    low, high = stat.ci95 or (None, None)
    perturbation = None if stat.perturbation is None else str(stat.perturbation)
    place = stat.split if stat.sub_split is None else f"{stat.split}/{stat.sub_split}"
    numbers = [float_of(value) for value in (stat.mean, stat.stderr, low, high)]
    texts = [text_of(task), text_of(stat.name), stat.kind, text_of(place), text_of(perturbation)]
    return [*texts, *numbers, stat.ci95_method, stat.n, stat.n_failed, stat.n_total]


def joined(texts: Sequence[str | None]) -> str | None:
    """One text for several: itself where there is one, else a JSON list."""
    if not texts:
        return None
    return text_of(texts[0] if len(texts) == 1 else encode(list(texts)).decode("utf-8", "replace"))


def text_of(value: Any) -> str | None:
    """A value as a text that UTF-8 can write; what it can't is `?`."""
    return None if value is None else str(value).encode("utf-8", "replace").decode()


def float_of(value: Any) -> float | None:
    """A number as a float; None for what is not a finite number."""
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    return None
