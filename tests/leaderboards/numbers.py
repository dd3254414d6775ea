"""Leaderboards filled with chosen numbers, without runs."""

from __future__ import annotations

from collections.abc import Mapping

from evalkit.leaderboards.resolved import Leaderboard
from evalkit.reports.boards.leaf_cells import LeafCell, LeafCells, scaled
from evalkit.reports.boards.node_values import NodeValues
from evalkit.reports.cell import Estimate

MODEL = "m"


def filled(board: Leaderboard, numbers: Mapping[str, float]) -> NodeValues:
    """The values of one model whose leaves got these scores, before they are scaled."""
    return filled_for(board, {MODEL: numbers})


def filled_for(board: Leaderboard, numbers: Mapping[str, Mapping[str, float]]) -> NodeValues:
    """The same for several models. Every leaf must be one of the tree, so that no number is lost."""
    leaves = {node.name: node.leaf for node in board.leaves}
    cells = {}
    for model, of_model in numbers.items():
        assert set(of_model) <= set(leaves), sorted(set(of_model) - set(leaves))
        for name, number in of_model.items():
            leaf = leaves[name]
            assert leaf is not None
            cells[model, name] = LeafCell((), scaled(Estimate(number, None), leaf.scale))
    return NodeValues(board, LeafCells(list(numbers), cells))


def value(values: NodeValues, name: str) -> float | None:
    """The number of a node."""
    estimate = values.estimate(MODEL, name)
    return None if estimate is None else estimate.value
