"""Nodes that are mean win rates, by HELM's rule, over the nodes that are their parts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from evalkit.leaderboards.resolved import Node
from evalkit.reports.boards.leaf_cells import LeafCell, scaled
from evalkit.reports.boards.node_values import NodeValues
from evalkit.reports.cell import Estimate
from evalkit.reports.leaderboard import common_values_of
from evalkit.reports.pairing import Pairing
from evalkit.reports.win_rates import Pair, UncertainColumn, drawn_win_rates, middle_95


@dataclass(frozen=True, slots=True)
class WinRates:
    """The mean win rate of each model that has one.

    Attributes:
        drawn: What it is in tables drawn anew.
    """

    estimates: Mapping[str, Estimate]
    drawn: Mapping[str, Sequence[float]]

    def is_behind(self, best: str, model: str) -> bool:
        """Whether a model is behind the best one beyond chance."""
        gaps = [one - other for one, other in zip(self.drawn[best], self.drawn[model], strict=True)]
        return middle_95(gaps)[0] > 0


def win_rates_of(node: Node, values: NodeValues) -> WinRates:
    """The win rates of a node, over those of its parts in which at least two models have a number.

    A model without a number in some part has one over the others, none if the node withholds it, and loses
    to everybody there if the node counts it as zero.
    """
    pairing = Pairing()
    shares = [share for share in node.parts if share.weight > 0]
    columns = [_column(share.name, values, pairing, zero=node.missing == "zero") for share in shares]
    rates, drawn = drawn_win_rates([column for column in columns if len(column.estimates) > 1])
    estimates = {}
    for model, rate in rates.items():
        if node.missing == "withhold" and not values.is_whole(model, node.name):
            continue
        low, high = middle_95(drawn[model])
        # Draws are noisier than the numbers they vary, and pull every rate towards a half.
        estimates[model] = Estimate(rate, (min(low, rate), max(high, rate)))
    return WinRates(estimates, drawn)


def _column(name: str, values: NodeValues, pairing: Pairing, *, zero: bool) -> UncertainColumn:
    models = values.leaves.models
    down = values.less_is_better(name)
    found = {m: estimate for m in models if (estimate := values.estimate(m, name)) is not None}
    evidence = {m: (m, _paths(m, name, values)) for m in found}
    common = _common(name, list(found), values, pairing)
    if zero and found:
        worst = math.inf if down else -math.inf
        found.update((m, Estimate(worst, None)) for m in models if m not in found)
    return UncertainColumn(found, down, common, evidence)


def _paths(model: str, name: str, values: NodeValues) -> tuple[str, ...]:
    cells = (values.leaves.cells[model, leaf] for leaf in values.present(model, name))
    return tuple(sorted(str(one.run.directory.path) for cell in cells for one in cell.members))


def _common(
    name: str, models: Sequence[str], values: NodeValues, pairing: Pairing
) -> dict[Pair, tuple[float, float]]:
    """Of models of which one lacks units that the other has: both numbers over the units that both have."""
    lacking = {m for m in models if any(map(_lacks_units, _cells(m, name, values)))}
    found = {}
    for one, other in combinations(models, 2):
        ours, theirs = values.weights(one, name), values.weights(other, name)
        if ours is None or theirs is None or ours.keys() != theirs.keys():
            continue
        if one in lacking or other in lacking:
            numbers = [_leaf_values(one, other, leaf, values, pairing) for leaf in ours]
            first, second = zip(*numbers, strict=True)
            found[one, other] = (
                math.fsum(w * x for w, x in zip(ours.values(), first, strict=True)),
                math.fsum(theirs[leaf] * x for leaf, x in zip(ours, second, strict=True)),
            )
    return found


def _leaf_values(
    one: str, other: str, leaf: str, values: NodeValues, pairing: Pairing
) -> tuple[float, float]:
    ours, theirs = (values.leaves.cells[model, leaf] for model in (one, other))
    common = common_values_of(ours.members, theirs.members, pairing)
    if common is None:
        return ours.estimate.value, theirs.estimate.value
    taken = values.board.nodes[leaf].leaf
    assert taken is not None, "only leaves have runs"
    first, second = (scaled(Estimate(value, None), taken.scale).value for value in common)
    return first, second


def _cells(model: str, name: str, values: NodeValues) -> Sequence[LeafCell]:
    return [values.leaves.cells[model, leaf] for leaf in values.present(model, name)]


def _lacks_units(cell: LeafCell) -> bool:
    return any(one.stat.n < one.stat.n_total for one in cell.members)
