"""The numbers of nodes: weighted means of leaves, and what becomes of them where leaves have none.

A mean of means is a weighted sum of leaves, so each node of a model is kept as the weights of its leaves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from evalkit.errors import UsageError
from evalkit.leaderboards.resolved import Leaderboard, Node
from evalkit.reports.boards.leaf_cells import LeafCells
from evalkit.reports.cell import Correlations, Estimate, weighted_sum
from evalkit.reports.shared_questions import correlations, sample_of

Weights = Mapping[str, float]
"""How much each leaf counts in a number; those that are not there have none."""


@dataclass(slots=True)
class NodeValues:
    """The numbers of all nodes that are means, for all models; made when they are asked for."""

    board: Leaderboard
    leaves: LeafCells
    _weights: dict[tuple[str, str], Weights | None] = field(default_factory=dict)
    _correlations: dict[str, Mapping[tuple[str, str], float]] = field(default_factory=dict)

    def weights(self, model: str, name: str) -> Weights | None:
        """The leaves that make a node of a model; None where it has no number."""
        key = model, name
        if key not in self._weights:
            self._weights[key] = self._made(model, self.board.nodes[name])
        return self._weights[key]

    def estimate(self, model: str, name: str) -> Estimate | None:
        """The number of a node of a model, with its interval; None where it has none."""
        weights = self.weights(model, name)
        if weights is None:
            return None
        estimates = [self.leaves.cells[model, leaf].estimate for leaf in weights]
        if len(weights) == 1 and math.fsum(weights.values()) == 1:
            return estimates[0]
        return weighted_sum(estimates, list(weights.values()), self._together(model, list(weights)))

    def behind(self, model: str, name: str) -> tuple[str, ...]:
        """The leaves that a node's number is over; where it has none, those that the model has.

        A part that is withheld takes its leaves with it, although the model has some of them.
        """
        node, weights = self.board.nodes[name], self.weights(model, name)
        if node.combine == "win_rate" and node.missing != "withhold":
            parts = [share.name for share in node.parts if share.weight > 0]
            known = [part for part in parts if self.weights(model, part) is not None]
            weights = {leaf: 1.0 for part in known for leaf in self.behind(model, part)} or None
        present = self.present(model, name)
        return present if weights is None else tuple(leaf for leaf in present if leaf in weights)

    def present(self, model: str, name: str) -> tuple[str, ...]:
        """The leaves that count in a node and that the model has."""
        return tuple(leaf for leaf in self.board.leaves_of(name) if (model, leaf) in self.leaves.cells)

    def is_whole(self, model: str, name: str) -> bool:
        """Whether the model has all leaves that count in a node."""
        return len(self.present(model, name)) == len(self.board.leaves_of(name))

    def less_is_better(self, name: str) -> bool:
        """The direction of a node, which is that of its leaves.

        Raises:
            UsageError: Of some of its leaves less is better, of others more.
        """
        known = [leaf for leaf in self.board.leaves_of(name) if leaf in self.leaves.metrics]
        down = [leaf for leaf in known if leaf in self.leaves.reversed]
        if down and len(down) < len(known):
            raise UsageError(
                f"'{name}' is made of '{down[0]}' ({self.leaves.metrics[down[0]]}), of which less is better, "
                "and of others, of which more is; turn it round with a scale such as [1, 0]"
            )
        return bool(down)

    def _made(self, model: str, node: Node) -> Weights | None:
        if node.leaf is not None:
            return {node.name: 1.0} if (model, node.name) in self.leaves.cells else None
        if node.combine != "mean":
            return None
        counted = [share for share in node.parts if share.weight > 0]
        parts = [(share.weight, self.weights(model, share.name)) for share in counted]
        known = [(weight, found) for weight, found in parts if found is not None]
        if not known or (node.missing == "withhold" and not self.is_whole(model, node.name)):
            return None
        if node.missing == "zero" and len(known) < len(parts) and self.less_is_better(node.name):
            raise UsageError(
                f"'{node.name}' counts missing parts as 0, which is the best number where less is better; "
                "turn its leaves round with a scale such as [1, 0], or take another policy (--missing)"
            )
        total = math.fsum(weight for weight, _ in (parts if node.missing == "zero" else known))
        made: dict[str, list[float]] = {}
        for weight, found in known:
            for leaf, inner in found.items():
                made.setdefault(leaf, []).append(weight / total * inner)
        return {leaf: math.fsum(each) for leaf, each in made.items()}

    def _together(self, model: str, names: list[str]) -> Correlations:
        """How much leaves go together: questions asked with and without examples are the same questions."""
        if model not in self._correlations:
            known = [leaf.name for leaf in self.board.leaves if (model, leaf.name) in self.leaves.cells]
            found = correlations(
                [[sample_of(one) for one in self.leaves.cells[model, name].members] for name in known]
            )
            self._correlations[model] = {
                (known[i], known[j]): r * self._sign(known[i]) * self._sign(known[j])
                for (i, j), r in found.items()
            }
        positions = {name: number for number, name in enumerate(names)}
        return {
            (positions[one], positions[other]): r
            for (one, other), r in self._correlations[model].items()
            if one in positions and other in positions
        }

    def _sign(self, name: str) -> int:
        """-1 for a leaf whose scale turns its scores round."""
        leaf = self.board.nodes[name].leaf
        return 1 if leaf is None or leaf.scale[0] < leaf.scale[1] else -1
