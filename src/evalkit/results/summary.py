"""The numbers of many runs as rows of one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from evalkit.plural import counted
from evalkit.results.manifest import FOUND
from evalkit.results.run_directory import RunDirectory
from evalkit.results.scores import read_numbers
from evalkit.scoring.stat import NO_ANSWER, Stat

NOT_REPORTED = "not reported"
"""What tables say of tokens and cost where the server does not say."""
TOKEN_STATS = ("num_prompt_tokens", "num_completion_tokens")


def stat_row(run: str, stat: Stat) -> dict[str, Any]:
    """One number of one run as a row.

    `n` instances were scored of `n_total`; `n_failed` have no answer, `n_blocked` of them since a content
    filter blocked them. `mean` leaves those out, `mean_blocked_wrong` counts each as a wrong answer. `stderr`
    and `ci95` are over instances.
    """
    return {
        "run": run,
        "metric": stat.name,
        "split": stat.part,
        "mean": stat.mean,
        "stderr": stat.stderr,
        "ci95_low": stat.ci95[0] if stat.ci95 else None,
        "ci95_high": stat.ci95[1] if stat.ci95 else None,
        "n": stat.n,
        "n_failed": stat.n_failed,
        "n_total": stat.n_total,
        "n_blocked": stat.n_blocked,
        "mean_blocked_wrong": stat.mean_blocked_wrong,
        "num_trials": stat.num_train_trials,
        "trial_stderr": stat.trial_stderr,
    }


def is_unreported(row: Mapping[str, Any]) -> bool:
    """Whether a row is about tokens of answers, none of which the server has reported."""
    return row["metric"] in TOKEN_STATS and row["mean"] is None


def found_lines(directories: Iterable[RunDirectory]) -> list[str]:
    """For each run that found answers in earlier runs or the cache: how many, of how many."""
    lines = []
    for directory in directories:
        manifest = directory.sound_manifest()
        if manifest is not None and (num_found := manifest.counts.get(FOUND)):
            of_all = counted(manifest.counts.get("num_answered", 0), "answer")
            lines.append(f"{directory.path.name}: {num_found:,} of {of_all} were taken from earlier runs")
    return lines


def summary_rows(
    directories: Iterable[RunDirectory], *, by_split: bool = False, usage: bool = False
) -> list[dict[str, Any]]:
    """The stored numbers of runs, one row per run and metric; those of efficiency have their own table.

    Args:
        directories: The runs.
        by_split: Also the numbers per split, where a run has several, and all those of perturbed copies;
            else of these only the worst cases.
        usage: Also token counts and latencies. The share of completions without an answer is always given
            where it is not 0.

    Raises:
        DamageError: A run is damaged.
    """
    rows = []
    for directory in directories:
        manifest, stats = read_numbers(directory)
        for stat in stats:
            if not by_split and not (stat.split == "all" and stat.is_headline):
                continue
            if stat.kind == "efficiency" or (stat.kind == "usage" and not usage and stat.name != NO_ANSWER):
                continue
            if stat.name == NO_ANSWER and not (usage or stat.mean):
                continue
            place = {"suite": directory.path.parent.name, **stat_row(directory.path.name, stat)}
            rows.append({**place, "status": manifest.status})
    return rows
