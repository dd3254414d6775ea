"""A leaderboard filled with stored runs: rows of models, columns of nodes, and the ranks they may have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Literal

from evalkit.errors import UsageError
from evalkit.leaderboards.resolved import Leaderboard, Node
from evalkit.reports.boards.comparison import Comparisons
from evalkit.reports.boards.leaf_cells import NO_RUN, LeafCell, LeafCells, fill_leaves
from evalkit.reports.boards.node_values import NodeValues
from evalkit.reports.boards.win_rate_nodes import WinRates, win_rates_of
from evalkit.reports.cell import Estimate
from evalkit.reports.grid import row_labels
from evalkit.results.stored_run import StoredRun
from evalkit.scoring.stat import ALL_SPLITS, Stat
from evalkit.statistics.ranks import RankInterval, ranks_by_comparison, ranks_by_draws

Status = Literal["value", "partial", "withheld", "missing"]
"""A number over all its leaves; over some; none, since some are missing; none, since all are."""
RankMethod = Literal["comparison", "draws"]
_SIGNIFICANT = 0.05
_MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class BoardCell:
    """A number of a model, or what is known of its absence.

    Attributes:
        estimate: None where there is no number.
        missing: The leaves that count in it and that the model lacks.
        num_leaves: How many leaves count in it.
        n: Scored units behind it, `n_failed` that failed, `n_total` planned.
        num_runs: Runs behind it; `num_left_out` in other settings that are not.
        setting: Of a leaf, what tells its setting from theirs.
        is_best: No other number of its column that is over as many leaves is better.
        within_noise: Its difference to the best may be chance (95%).
        why: Why a leaf is missing.
    """

    estimate: Estimate | None
    num_leaves: int
    missing: tuple[str, ...] = ()
    n: int = 0
    n_failed: int = 0
    n_total: int = 0
    num_runs: int = 0
    num_left_out: int = 0
    setting: str = ""
    is_best: bool = False
    within_noise: bool = False
    why: str = ""

    @property
    def num_present(self) -> int:
        """How many leaves that count in it are there."""
        return self.num_leaves - len(self.missing)

    @property
    def status(self) -> Status:
        """What kind of a cell it is."""
        if self.estimate is not None:
            return "partial" if self.missing else "value"
        return "withheld" if self.num_present else "missing"


@dataclass(frozen=True, slots=True)
class BoardColumn:
    """What a column shows.

    Attributes:
        level: In the tree, 1 at the top.
        metric: Of a leaf; empty for others, and where no model has it.
        less_is_better: Whether the smallest number is the best one.
    """

    name: str
    level: int
    metric: str = ""
    is_leaf: bool = False
    less_is_better: bool = False


@dataclass(frozen=True, slots=True)
class BoardRow:
    """A model.

    Attributes:
        rank: By the column that ranks; None without a number there, or over fewer leaves than others.
        ranks: The ranks it may have (95%).
        num_leaves: Of the whole leaderboard; `num_present` of them have a number.
        n: Scored units behind all of them, `n_failed` that failed, `n_total` planned.
    """

    model: str
    cells: tuple[BoardCell, ...]
    rank: int | None = None
    ranks: RankInterval | None = None
    num_leaves: int = 0
    num_present: int = 0
    n: int = 0
    n_failed: int = 0
    n_total: int = 0


@dataclass(frozen=True, slots=True)
class Board:
    """A filled leaderboard; ranked models first, the best one at the top.

    Attributes:
        rank_by: The column that ranks; None if the tree has none.
        rank_method: How the ranks a model may have were found.
        notes: What is unusual about the runs behind it.
    """

    title: str
    description: str
    columns: tuple[BoardColumn, ...]
    rows: tuple[BoardRow, ...]
    rank_by: str | None = None
    rank_method: RankMethod = "comparison"
    notes: tuple[str, ...] = ()

    def to_depth(self, depth: int | None) -> Board:
        """Only the columns of the upper levels; None for all."""
        kept = [p for p, column in enumerate(self.columns) if depth is None or column.level <= depth]
        rows = tuple(replace(row, cells=tuple(row.cells[p] for p in kept)) for row in self.rows)
        return replace(self, columns=tuple(self.columns[p] for p in kept), rows=rows)

    def cell(self, model: str, column: str) -> BoardCell:
        """The cell of a model and a column, by their names."""
        position = [each.name for each in self.columns].index(column)
        return next(row.cells[position] for row in self.rows if row.model == model)


def make_board(
    leaderboard: Leaderboard,
    runs: Sequence[StoredRun],
    *,
    by_suite: bool = True,
    models: Sequence[str] = (),
) -> Board:
    """Fill a leaderboard.

    Args:
        leaderboard: What to show.
        runs: Stored runs with stats.
        by_suite: A row for each model in each suite; else one for each model, over all suites.
        models: The rows to show; by default all that have a number.

    Raises:
        UsageError: No run has a number for any leaf; no row has a name of `models`; a node mixes numbers of
            which more is better with others.
    """
    leaves = fill_leaves(leaderboard, runs, row_labels(runs, by_suite=by_suite))
    if not leaves.cells:
        for (_, leaf), why in leaves.why_missing.items():
            if why != NO_RUN:
                names = sorted({stat.name for run in runs for stat in run.stats if stat.kind == "score"})
                raise UsageError(
                    f"no run has a number for this leaderboard: '{leaf}': {why}; the scores of the runs "
                    f"are {_short(names) or 'none'}"
                )
        wanted = sorted({leaf.leaf.runs.group or "" for leaf in leaderboard.leaves if leaf.leaf} - {""})
        known = sorted({name for run in runs for name in run.run_spec.groups})
        raise UsageError(
            f"no run has a number for this leaderboard, which asks for the groups {_short(wanted)}; the runs "
            f"are in these: {_short(known) or 'none'}"
        )
    with_numbers = [model for model in leaves.models if any(m == model for m, _ in leaves.cells)]
    leaves.models = _chosen(with_numbers, models)
    return _Maker(leaderboard, leaves, runs).board()


def _chosen(known: Sequence[str], wanted: Sequence[str]) -> list[str]:
    for name in wanted:
        if name not in known:
            raise UsageError(f"no row is called '{name}'; there are {', '.join(known)}")
    return [model for model in known if not wanted or model in wanted]


class _Maker:
    """Makes one board."""

    def __init__(self, tree: Leaderboard, leaves: LeafCells, runs: Sequence[StoredRun]) -> None:
        self._tree, self._leaves, self._runs = tree, leaves, runs
        self._values = NodeValues(tree, leaves)
        self._comparisons = Comparisons(self._values)
        self._win_rates: Mapping[str, WinRates] = {
            node.name: win_rates_of(node, self._values)
            for node in tree.nodes.values()
            if node.combine == "win_rate"
        }

    def board(self) -> Board:
        """The filled leaderboard."""
        nodes = list(self._tree.nodes.values())
        columns = tuple(self._column(node) for node in nodes)
        cells = [self._cells(node, column) for node, column in zip(nodes, columns, strict=True)]
        by_model = dict(zip(self._leaves.models, zip(*cells, strict=True), strict=True))
        rows = [self._row(model, found) for model, found in by_model.items()]
        method: RankMethod = "comparison"
        if self._tree.rank_by is not None:
            position = [node.name for node in nodes].index(self._tree.rank_by)
            rows, method = self._ranked(rows, columns[position], position)
        tree = self._tree
        notes = self._notes(rows)
        return Board(tree.title, tree.description, columns, tuple(rows), tree.rank_by, method, notes)

    def _row(self, model: str, cells: tuple[BoardCell, ...]) -> BoardRow:
        taken = [
            self._leaves.cells[model, leaf.name]
            for leaf in self._tree.leaves
            if (model, leaf.name) in self._leaves.cells
        ]
        n, n_failed, n_total = _units(taken)
        return BoardRow(
            model,
            cells,
            num_leaves=len(self._tree.leaves),
            num_present=len(taken),
            n=n,
            n_failed=n_failed,
            n_total=n_total,
        )

    def _column(self, node: Node) -> BoardColumn:
        name = node.name
        down = node.combine == "mean" and self._values.less_is_better(name)
        return BoardColumn(name, node.level, self._leaves.metrics.get(name, ""), node.leaf is not None, down)

    def _cells(self, node: Node, column: BoardColumn) -> list[BoardCell]:
        """A column, its best number marked, and those that may differ from it by chance."""
        models = self._leaves.models
        cells = {model: self._cell(model, node) for model in models}
        known = {m: c for m, c in cells.items() if c.estimate is not None}
        most = max((cell.num_present for cell in known.values()), default=0)
        full = {m: c.estimate.value for m, c in known.items() if c.estimate and c.num_present == most}
        if len(known) < 2 or not full:
            return list(cells.values())
        best = (min if column.less_is_better else max)(full, key=lambda model: full[model])
        for model, value in full.items():
            is_best = value == full[best]
            noise = not is_best and not self._is_behind(best, model, node)
            cells[model] = replace(cells[model], is_best=is_best, within_noise=noise)
        return list(cells.values())

    def _is_behind(self, best: str, model: str, node: Node) -> bool:
        if node.name in self._win_rates:
            return self._win_rates[node.name].is_behind(best, model)
        found = self._comparisons.of(best, model, node.name)
        return found is not None and found.p_value is not None and found.p_value <= _SIGNIFICANT

    def _cell(self, model: str, node: Node) -> BoardCell:
        name = node.name
        counted = self._tree.leaves_of(name) if node.combine != "none" else ()
        present = self._values.behind(model, name) if counted else ()
        members = {
            one.run.directory.path: one for leaf in present for one in self._leaves.cells[model, leaf].members
        }
        n, n_failed, n_total = _units([self._leaves.cells[model, leaf] for leaf in present])
        leaf = self._leaves.cells.get((model, name))
        return BoardCell(
            estimate=self._estimate(model, node),
            num_leaves=len(counted),
            missing=tuple(each for each in counted if each not in present),
            n=n,
            n_failed=n_failed,
            n_total=n_total,
            num_runs=len(members),
            num_left_out=leaf.num_left_out if leaf else 0,
            setting=leaf.setting if leaf else "",
            why=self._leaves.why_missing.get((model, name), ""),
        )

    def _estimate(self, model: str, node: Node) -> Estimate | None:
        if node.name in self._win_rates:
            return self._win_rates[node.name].estimates.get(model)
        return self._values.estimate(model, node.name)

    def _ranked(
        self, rows: Sequence[BoardRow], column: BoardColumn, position: int
    ) -> tuple[list[BoardRow], RankMethod]:
        """The rows in order; those over the most leaves have a rank."""
        known = {row.model: row.cells[position] for row in rows if row.cells[position].estimate is not None}
        most = max((cell.num_present for cell in known.values()), default=0)
        sign = -1.0 if column.less_is_better else 1.0
        values = {
            model: sign * cell.estimate.value
            for model, cell in known.items()
            if cell.estimate is not None and cell.num_present == most
        }
        intervals, method = self._intervals(list(values), column.name, sign)
        ranked = []
        for row in rows:
            if row.model in values:
                rank = 1 + sum(other > values[row.model] for other in values.values())
                num_equal = sum(other == values[row.model] for other in values.values())
                # Drawn tables break ties, and pull ranks towards the middle.
                ranks = intervals[row.model].with_ranks(rank, rank + num_equal - 1)
                row = replace(row, rank=rank, ranks=ranks)
            ranked.append(row)

        def order(row: BoardRow) -> tuple[float, float, str]:
            estimate = row.cells[position].estimate
            shown = -sign * estimate.value if estimate else math.inf
            return (row.rank or math.inf, shown, row.model)

        return sorted(ranked, key=order), method

    def _intervals(
        self, models: Sequence[str], name: str, sign: float
    ) -> tuple[Mapping[str, RankInterval], RankMethod]:
        if len(models) < 2:
            return {model: RankInterval(1, 1) for model in models}, "comparison"
        if name in self._win_rates:
            draws = self._win_rates[name].drawn
            return ranks_by_draws({model: draws[model] for model in models}), "draws"
        pairs = {}
        for one, other in combinations(models, 2):
            found = self._comparisons.of(one, other, name)
            if found is not None and found.p_value is not None:
                pairs[one, other] = (sign * found.difference, found.p_value)
        return ranks_by_comparison(models, pairs), "comparison"

    def _notes(self, rows: Sequence[BoardRow]) -> tuple[str, ...]:
        notes = list(self._leaves.notes)
        leaves = [node.name for node in self._tree.leaves]
        for row in rows:
            reasons: dict[str, list[str]] = {}
            for name in leaves:
                if why := self._leaves.why_missing.get((row.model, name)):
                    reasons.setdefault(why, []).append(name)
            for why, names in reasons.items():
                notes.append(
                    f"{row.model}: {len(names)} of {len(leaves)} leaves {_are(names)} missing ({why}): "
                    f"{_short(names)}"
                )
        shown = {
            one.run.directory.path
            for (model, _), cell in self._leaves.cells.items()
            if model in self._leaves.models
            for one in cell.members
        }
        notes += [
            f"{run.directory.path.name} is {run.manifest.status}; its numbers cover only what was answered "
            "and scored"
            for run in self._runs
            if run.manifest.status != "complete" and run.directory.path in shown
        ]
        return tuple(notes)


def _units(cells: Iterable[LeafCell]) -> tuple[int, int, int]:
    """Scored, failed and planned units behind leaves, each counted once.

    Several leaves may be numbers of the same units: an accuracy and its format control, a run and its parts.
    """
    by_run: dict[Path, dict[tuple[str, str | None], Stat]] = {}
    for cell in cells:
        for one in cell.members:
            stat = one.stat
            of_run = by_run.setdefault(one.run.directory.path, {})
            place = (stat.split, stat.sub_split)
            if place not in of_run or stat.n_total > of_run[place].n_total:
                of_run[place] = stat
    counted = []
    for of_run in by_run.values():
        whole = {split: stat for (split, sub_split), stat in of_run.items() if sub_split is None}
        if ALL_SPLITS in whole:
            counted.append(whole[ALL_SPLITS])
        else:
            counted += whole.values()
            counted += [s for (split, sub), s in of_run.items() if sub is not None and split not in whole]
    return sum(s.n for s in counted), sum(s.n_failed for s in counted), sum(s.n_total for s in counted)


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _short(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
