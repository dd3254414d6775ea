"""Run groups by model: a number per group, mean score and mean win rate, with intervals and noise marks.

Numbers are made by HELM's rules: a cell is the mean over the runs of a model in a group, one per set of
questions (`evalkit.reports.selection`), each weighing its train trials; the mean score is the mean of a
model's cells; the win rate of a cell is the share of the other models that it beats, ties counting half, and
the mean win rate is its mean over the columns in which at least two models have a number. What HELM lacks is
added: a 95% interval on every cell, and on every cell that is not the best of its column whether the
difference to the best may be chance.

The interval of a win rate is found by drawing every cell anew from a normal distribution of its interval's
width; the generator is seeded, so that the same runs give the same table. Marks compare one model with the
best one at a time, at 95%; of twenty equal models one will look worse than it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from evalkit.reports.cell import Cell, Correlations, Estimate, difference, mean_of
from evalkit.reports.grid import Column, Grid, Question, make_grid
from evalkit.reports.pairing import Pairing, ScoredRun, pairs_of
from evalkit.reports.shared_questions import correlations, sample_of, sample_of_difference
from evalkit.reports.win_rates import Pair, UncertainColumn, drawn_win_rates, middle_95
from evalkit.results.stored_run import StoredRun

WIN_RATE, MEAN_SCORE = "mean win rate", "mean score"


@dataclass(frozen=True, slots=True)
class Row:
    """The numbers of a model: one per column, None where it has no run."""

    model: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Models by columns: mean win rate, mean score, then the run groups; the best model first.

    Attributes:
        notes: What is unusual about the runs behind it.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def make_leaderboard(
    runs: Sequence[StoredRun],
    groups: Sequence[str] = (),
    metric: str | None = None,
    *,
    all_runs: bool = False,
) -> Leaderboard:
    """The table of these runs.

    Args:
        runs: Stored runs with stats.
        groups: The run groups to show; by default the first group that each run names.
        metric: The metric of every group, instead of the group's own.
        all_runs: A row for every setting in which a model was asked the same questions, instead of one
            setting and a note.

    Raises:
        UsageError: No run has a number for any group.
    """
    grid = make_grid(runs, Question(tuple(groups), metric, all_runs))
    pairing = Pairing()
    summary = [Column(WIN_RATE), Column(MEAN_SCORE, lower_is_better=_direction(grid) or False)]
    estimates = {key: estimate_of(members) for key, members in grid.runs.items()}
    rates, drawn = _win_rates(grid, estimates, pairing)
    grid.notes += _failures(grid)
    best = {column.name: _best(grid, column, estimates) for column in grid.columns}
    gaps = {
        (model, column.name): _gap(grid, column, best[column.name], model, pairing)
        for column in grid.columns
        for model in grid.models
        if (model, column.name) in estimates
    }
    means = _mean_scores(grid, estimates)
    rows = []
    for model in grid.models:
        cells: list[Cell | None] = [
            _rate_cell(model, rates, drawn),
            _mean_cell(model, grid, means, estimates, pairing, summary[1].lower_is_better),
        ]
        for column in grid.columns:
            cells.append(_group_cell(model, column, grid, estimates, best[column.name], gaps))
        rows.append(Row(model, tuple(cells)))
    rows.sort(key=_rank)
    return Leaderboard((*summary, *grid.columns), tuple(rows), tuple(grid.notes))


def estimate_of(members: Sequence[ScoredRun]) -> Estimate:
    """The number of a cell, from the runs behind it."""
    return mean_of(
        [one.estimate for one in members],
        _weights(members),
        correlations([[sample_of(one)] for one in members]),
    )


def _weights(members: Sequence[ScoredRun]) -> list[float]:
    """A run weighs its train trials."""
    return [float(sum(mean is not None for mean in one.stat.trial_means) or 1) for one in members]


def _best(grid: Grid, column: Column, estimates: Mapping[tuple[str, str], Estimate]) -> str:
    present = [model for model in grid.models if (model, column.name) in estimates]
    choose = min if column.lower_is_better else max
    return choose(present, key=lambda model: estimates[model, column.name].value)


def _gap(grid: Grid, column: Column, best: str, model: str, pairing: Pairing) -> Estimate | None:
    """How far the best is ahead: run by run if their runs pair up, else as independent numbers."""
    ours, theirs = grid.at(best, column), grid.at(model, column)
    if not ours or not theirs:
        return None
    pairs = pairs_of(ours, theirs)
    if pairs is not None:
        gaps = [pairing.difference(first, second) for first, second in pairs]
        known = [gap for gap in gaps if gap is not None]
        if len(known) == len(gaps):
            return mean_of(
                known, correlations=correlations([[sample_of_difference(*pair)] for pair in pairs])
            )
    return difference(estimate_of(ours), estimate_of(theirs))


def _failures(grid: Grid) -> list[str]:
    """How many units failed in each column, by model; those that a content filter blocked are among them."""
    notes = []
    for column in grid.columns:
        counts = []
        for model in grid.models:
            stats = [one.stat for one in grid.at(model, column)]
            if n_failed := sum(stat.n_failed for stat in stats):
                counts.append(f"{model} {n_failed:,} of {sum(stat.n_total for stat in stats):,}")
        if counts:
            notes.append(
                f"group {column.name}: units that failed in {column.metric}: {', '.join(counts)}; win rates "
                "and marks compare two models over the units that both have"
            )
    return notes


def _group_cell(
    model: str,
    column: Column,
    grid: Grid,
    estimates: Mapping[tuple[str, str], Estimate],
    best: str,
    gaps: Mapping[tuple[str, str], Estimate | None],
) -> Cell | None:
    estimate = estimates.get((model, column.name))
    if estimate is None:
        return None
    members = grid.at(model, column)
    is_best = estimate.value == estimates[best, column.name].value
    gap = gaps[model, column.name]
    return Cell(
        estimate=estimate,
        n=sum(one.stat.n for one in members),
        n_failed=sum(one.stat.n_failed for one in members),
        n_total=sum(one.stat.n_total for one in members),
        num_runs=len(members),
        num_left_out=grid.left_out.get((model, column.name), 0),
        setting=grid.settings.get((model, column.name), ""),
        is_best=is_best,
        within_noise=not is_best and (gap is None or not gap.differs_from_zero()),
    )


def _direction(grid: Grid) -> bool | None:
    """Whether less is better in all columns, more in all (False), or it differs (None)."""
    directions = {column.lower_is_better for column in grid.columns}
    return directions.pop() if len(directions) == 1 else None


def _mean_scores(grid: Grid, estimates: Mapping[tuple[str, str], Estimate]) -> dict[str, Estimate]:
    """The mean of each model's cells; none where some columns count down and others up."""
    if _direction(grid) is None:
        grid.notes.append("no mean score: less is better in some groups, and more in others")
        return {}
    cells = {m: [estimates[m, c.name] for c in grid.columns if (m, c.name) in estimates] for m in grid.models}
    incomplete = [model for model in grid.models if len(cells[model]) < len(grid.columns)]
    if incomplete:
        grid.notes.append(f"mean scores over fewer groups than others: {', '.join(incomplete)}")
    return {
        model: mean_of(found, correlations=_between_columns(grid, model))
        for model, found in cells.items()
        if found
    }


def _between_columns(grid: Grid, model: str) -> Correlations:
    """How much a model's cells go together: a run may stand in several columns."""
    return correlations([[*map(sample_of, found)] for c in grid.columns if (found := grid.at(model, c))])


def _mean_cell(
    model: str,
    grid: Grid,
    means: Mapping[str, Estimate],
    estimates: Mapping[tuple[str, str], Estimate],
    pairing: Pairing,
    fewer_is_better: bool,
) -> Cell | None:
    if model not in means:
        return None
    choose = min if fewer_is_better else max
    best = choose(means, key=lambda name: means[name].value)
    is_best = means[model].value == means[best].value
    columns = [c for c in grid.columns if (model, c.name) in estimates]
    same = columns == [c for c in grid.columns if (best, c.name) in estimates]
    # Means over different groups do not measure a difference.
    gaps = [_gap(grid, c, best, model, pairing) for c in columns] if same and not is_best else []
    known = [gap for gap in gaps if gap is not None]
    together = _between_columns(grid, model) if len(known) == len(columns) else None
    clear = bool(known) and mean_of(known, correlations=together).differs_from_zero()
    return Cell(means[model], num_runs=len(columns), is_best=is_best, within_noise=not is_best and not clear)


def _win_rates(
    grid: Grid, estimates: Mapping[tuple[str, str], Estimate], pairing: Pairing
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Each model's mean win rate, and what it is in the draws."""
    table = {
        column: {m: estimates[m, column.name] for m in grid.models if (m, column.name) in estimates}
        for column in grid.columns
    }
    columns = {column: found for column, found in table.items() if len(found) > 1}
    common = {column: _common(grid, column, list(found), pairing) for column, found in columns.items()}
    return drawn_win_rates(
        [
            UncertainColumn(
                found,
                column.lower_is_better,
                common[column],
                {m: (m, _paths(grid.at(m, column))) for m in found},
            )
            for column, found in columns.items()
        ]
    )


def _common(
    grid: Grid, column: Column, models: Sequence[str], pairing: Pairing
) -> dict[Pair, tuple[float, float]]:
    """Of models of which one lacks units that the other has: both numbers over the units that both have."""
    lacking = {m for m in models if any(one.stat.n < one.stat.n_total for one in grid.at(m, column))}
    found = {}
    for one, other in combinations(models, 2):
        if one in lacking or other in lacking:
            numbers = common_values_of(grid.at(one, column), grid.at(other, column), pairing)
            if numbers is not None:
                found[one, other] = numbers
    return found


def common_values_of(
    ours: Sequence[ScoredRun], theirs: Sequence[ScoredRun], pairing: Pairing
) -> tuple[float, float] | None:
    """The numbers of two cells over the units that both have; None where neither lacks any of the other."""
    pairs = pairs_of(ours, theirs)
    found = [pairing.common_values(*pair) for pair in pairs or ()]
    if pairs is None or not any(found):
        return None
    values = [each or (a.estimate.value, b.estimate.value) for each, (a, b) in zip(found, pairs, strict=True)]
    return (
        mean_of([Estimate(a, None) for a, _ in values], _weights([a for a, _ in pairs])).value,
        mean_of([Estimate(b, None) for _, b in values], _weights([b for _, b in pairs])).value,
    )


def _paths(members: Iterable[ScoredRun]) -> tuple[Path, ...]:
    return tuple(sorted(one.run.directory.path for one in members))


def _rate_cell(model: str, rates: Mapping[str, float], drawn: Mapping[str, Sequence[float]]) -> Cell | None:
    if model not in rates:
        return None
    rate, best = rates[model], max(rates, key=lambda name: rates[name])
    low, high = middle_95(drawn[model])
    # Draws are noisier than the numbers they vary, and pull every rate towards a half.
    interval = (min(low, rate), max(high, rate))
    behind = [one - other for one, other in zip(drawn[best], drawn[model], strict=True)]
    is_best = rate == rates[best]
    return Cell(
        Estimate(rate, interval), is_best=is_best, within_noise=not is_best and middle_95(behind)[0] <= 0
    )


def _rank(row: Row) -> tuple[float, float, str]:
    rate, mean = row.cells[0], row.cells[1]
    return (-rate.value if rate else math.inf, -mean.value if mean else math.inf, row.model)
