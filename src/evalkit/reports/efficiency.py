"""What runs took: time, tokens per second, padding, batches and memory, one row per run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from evalkit.results.manifest import FOUND
from evalkit.results.run_directory import RunDirectory
from evalkit.results.scores import read_numbers
from evalkit.results.summary import NOT_REPORTED
from evalkit.scoring.efficiency import RUN_STATS

Row = Mapping[str, Any]

_PREFIX = "run_"
_NO_NUMBER = "–"
# Servers say these; where one does not, that is said.
_REPORTED = frozenset({"prompt_tokens"})


def efficiency_rows(directories: Iterable[RunDirectory]) -> list[dict[str, Any]]:
    """One record per stored run: `suite`, `run`, `status`, and the numbers of `RUN_STATS` without `run_`.

    What is not known is None: all of it for a run of a baseline, or one that found all its answers in earlier
    runs or the cache. `num_found` says how many it found; the numbers are over the others.

    Raises:
        DamageError: A run is damaged.
    """
    rows = []
    for directory in directories:
        manifest, stats = read_numbers(directory)
        numbers = {stat.name: stat.mean for stat in stats if stat.kind == "efficiency"}
        rows.append(
            {
                "suite": directory.path.parent.name,
                "run": directory.path.name,
                "status": manifest.status,
                **{name.removeprefix(_PREFIX): numbers.get(name) for name in RUN_STATS},
                "num_found": manifest.counts.get(FOUND, 0),
            }
        )
    return rows


def has_numbers(row: Row) -> bool:
    """Whether anything is known of what a run took."""
    return row["requests"] is not None


def shown_rows(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headings and rows as texts, without columns that are empty for all runs."""
    several_suites = len({row["suite"] for row in rows}) > 1
    columns = [c for c in _COLUMNS if c[1] in _REPORTED or any(row[c[1]] is not None for row in rows)]
    texts = [
        (
            f"{row['suite']}/{row['run']}" if several_suites else row["run"],
            *(_unknown(name) if row[name] is None else text(row[name]) for _, name, text in columns),
        )
        for row in rows
    ]
    return ("run", *(title for title, _, _ in columns)), texts


def _unknown(name: str) -> str:
    return NOT_REPORTED if name in _REPORTED else _NO_NUMBER


def _seconds(value: float) -> str:
    return f"{value:.3f} s" if value < 10 else f"{value:,.1f} s"


def _number(value: float) -> str:
    return f"{value:,.1f}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _share(value: float) -> str:
    return f"{value:.1%}"


def _mebibytes(value: float) -> str:
    return f"{value / 2**20:,.0f} MiB"


_COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("requests", "requests", _count),
    ("busy", "busy_s", _seconds),
    ("requests/s", "requests_per_s", _number),
    ("output tokens/s", "output_tokens_per_s", _number),
    ("in flight", "concurrency", _number),
    ("queue", "queue_s", _seconds),
    ("service", "service_s", _seconds),
    ("service p50", "service_s_p50", _seconds),
    ("service p95", "service_s_p95", _seconds),
    ("first token", "first_token_s", _seconds),
    ("prompt tokens", "prompt_tokens", _count),
    ("padding", "padding_share", _share),
    ("reused", "reused_share", _share),
    ("batch", "batch_size", _number),
    ("memory", "peak_memory_bytes", _mebibytes),
)
