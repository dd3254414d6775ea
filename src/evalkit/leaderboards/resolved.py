"""A leaderboard tree with its repetitions written out and its references followed: nodes by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import ValidationError

from evalkit.errors import UsageError, nearest_names
from evalkit.leaderboards.tree import Combine, LeaderboardTree, Missing, Part, RadarSpec, RunsOf, Scalar

_NAME = re.compile(r"\{([A-Za-z_]\w*)\}")
MOST_NODES = 10_000
MOST_LEVELS = 50
RESERVED = (
    "model_name",
    "rank",
    "rank_best",
    "rank_worst",
    "num_leaves",
    "num_leaves_present",
    "n",
    "n_failed",
)
"""Fields of a row besides its numbers."""

Keys = tuple[str | int, ...]
"""Where in the file something stands."""


class TreeError(UsageError):
    """Something is wrong in a tree.

    Attributes:
        at: Where it stands in the file.
    """

    def __init__(self, at: Keys, message: str) -> None:
        super().__init__(message)
        self.at = at


@dataclass(frozen=True, slots=True)
class Share:
    """A node as a part of another."""

    name: str
    weight: float


@dataclass(frozen=True, slots=True)
class LeafOf:
    """What a leaf takes: see `Part`."""

    runs: RunsOf
    metrics: tuple[str, ...]
    pool: tuple[str, ...]
    split: str | None
    sub_split: str | None
    scale: tuple[float, float]
    mean_over: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One column of a leaderboard.

    Attributes:
        level: 1 at the top.
        leaf: What it takes; None for a node that is made of parts.
        parts: What it is made of.
    """

    name: str
    level: int
    leaf: LeafOf | None = None
    parts: tuple[Share, ...] = ()
    combine: Combine = "mean"
    missing: Missing = "withhold"


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """A leaderboard, ready to be filled.

    Attributes:
        nodes: By name, in the order of the file: each node before what it is made of.
        rank_by: The node that models are ranked by; None if there is none.
    """

    title: str
    description: str
    nodes: Mapping[str, Node]
    rank_by: str | None
    depth: int
    radars: tuple[RadarSpec, ...] = ()

    @property
    def leaves(self) -> list[Node]:
        """All leaves, in the order of the file."""
        return [node for node in self.nodes.values() if node.leaf is not None]

    def leaves_of(self, name: str) -> tuple[str, ...]:
        """The leaves that count in a node, each once."""
        node = self.nodes[name]
        if node.leaf is not None:
            return (name,)
        found: dict[str, None] = {}
        for share in node.parts:
            if share.weight > 0:
                found.update(dict.fromkeys(self.leaves_of(share.name)))
        return tuple(found)


def resolve(
    tree: LeaderboardTree,
    parameters: Mapping[str, Scalar] | None = None,
    missing: Missing | None = None,
    rank_by: str | None = None,
) -> Leaderboard:
    """The nodes of a tree.

    Args:
        tree: As in the file.
        parameters: Values in place of the tree's.
        missing: The policy of all nodes, in place of theirs.
        rank_by: The node that models are ranked by, in place of the tree's.

    Raises:
        TreeError: A name is unknown, is there twice or means itself; says where.
    """
    values = {**tree.parameters, **(parameters or {})}
    for name in parameters or {}:
        if name not in tree.parameters:
            raise TreeError((), _unknown("parameter", name, tree.parameters))
    writer = _Writer(tree, missing)
    for position, part in enumerate(tree.parts):
        for _ in writer.written(part, values, 1, ("parts", position)):
            pass
    _check_references(writer.nodes, writer.places)
    radars = tuple(_radar(spec, values, writer.nodes, n) for n, spec in enumerate(tree.radars))
    ranked = _ranked(tree, writer.nodes, values, rank_by)
    return Leaderboard(tree.title, tree.description, writer.nodes, ranked, tree.depth, radars)


class _Writer:
    """Writes the nodes out."""

    def __init__(self, tree: LeaderboardTree, missing: Missing | None) -> None:
        self._tree, self._missing = tree, missing
        self._num_uses = 0
        self.nodes: dict[str, Node] = {}
        self.places: dict[str, Keys] = {}

    def written(self, part: Part, values: Mapping[str, Scalar], level: int, at: Keys) -> Iterator[Share]:
        """The nodes that a part is, as parts of the one above."""
        for name, each in part.each.items():
            if name in values:
                raise TreeError((*at, "each"), f"'{name}' has a value already; give it another name in each")
            if not each:
                raise TreeError((*at, "each", name), f"'{name}' has no values; list at least one")
        choices = [[_filled(value, values, at) for value in each] for each in part.each.values()]
        for chosen in product(*choices):
            known = {**values, **dict(zip(part.each, chosen, strict=True))}
            if part.use is not None:
                self._num_uses += 1
                if self._num_uses > MOST_NODES:
                    raise TreeError(at, f"more than {MOST_NODES:,} parts with use")
                yield Share(str(_filled(part.use, known, (*at, "use"))), part.weight)
            else:
                yield Share(self._node(part, known, level, at), part.weight)

    def _node(self, part: Part, values: Mapping[str, Scalar], level: int, at: Keys) -> str:
        filled = _filled(part.name, values, (*at, "name"))
        name = "" if filled is None else str(filled)
        if not name.strip():
            raise TreeError((*at, "name"), f"a part needs a name; '{part.name}' is empty")
        if name in RESERVED:
            raise TreeError((*at, "name"), f"'{name}' is a field of every row; give the part another name")
        if name in self.nodes:
            raise TreeError((*at, "name"), f"two parts are called '{name}'; every part needs its own name")
        if len(self.nodes) >= MOST_NODES:
            raise TreeError(at, f"more than {MOST_NODES:,} parts")
        self.places[name] = at
        policy = self._missing or part.missing or self._tree.missing
        if part.runs is not None:
            self.nodes[name] = Node(name, level, _leaf(part, values, at))
            return name
        # Kept before its parts are made, so that the order is that of the file.
        self.nodes[name] = Node(name, level)
        shares = tuple(
            share
            for position, below in enumerate(part.parts)
            for share in self.written(below, values, level + 1, (*at, "parts", position))
        )
        if not any(share.weight > 0 for share in shares) and part.combine != "none":
            raise TreeError(at, f"no part of '{name}' has a weight above 0")
        self.nodes[name] = Node(name, level, None, shares, part.combine, policy)
        return name


def _leaf(part: Part, values: Mapping[str, Scalar], at: Keys) -> LeafOf:
    assert part.runs is not None, "only leaves come here"
    metrics = (part.metric,) if isinstance(part.metric, str) else part.metric
    plain = {
        "runs": part.runs.model_dump(exclude_unset=True),
        "metrics": metrics,
        "pool": part.pool,
        "split": part.split,
        "sub_split": part.sub_split,
        "mean_over": part.mean_over,
    }
    filled = {key: _filled_all(value, values, (*at, key)) for key, value in plain.items()}
    asked = {key: value if key == "args" else _text(value) for key, value in filled["runs"].items()}
    try:
        runs = RunsOf.model_validate(asked)
    except ValidationError as invalid:
        said = invalid.errors()[0]["msg"].removeprefix("Value error, ")
        raise TreeError((*at, "runs"), f"with the values filled in: {said}") from None
    return LeafOf(
        runs,
        tuple(map(str, filled["metrics"])),
        tuple(map(str, filled["pool"])),
        _text(filled["split"]),
        _text(filled["sub_split"]),
        part.scale,
        tuple(map(str, filled["mean_over"])),
    )


def _text(value: Scalar) -> str | None:
    """A value as a name; None stays what it is."""
    return None if value is None else str(value)


def _filled_all(value: Any, values: Mapping[str, Scalar], at: Keys) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled_all(each, values, (*at, key)) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_filled_all(each, values, at) for each in value)
    return _filled(value, values, at)


def _filled(text: Any, values: Mapping[str, Scalar], at: Keys) -> Any:
    """A text with {name} replaced; one that is nothing else becomes the value itself, of its type."""
    if not isinstance(text, str):
        return text
    for match in _NAME.finditer(text):
        if match[1] not in values:
            raise TreeError(at, _unknown("parameter", match[1], values))
    if whole := _NAME.fullmatch(text):
        return values[whole[1]]
    return _NAME.sub(lambda match: str(values[match[1]]), text)


def _unknown(kind: str, name: str, known: Mapping[str, Any]) -> str:
    nearest = nearest_names(name, list(known), limit=1)
    hint = f"did you mean '{nearest[0]}'?" if nearest else f"there are {', '.join(known) or 'none'}"
    return f"there is no {kind} '{name}'; {hint}"


def _check_references(nodes: Mapping[str, Node], places: Mapping[str, Keys]) -> None:
    for node in nodes.values():
        for share in node.parts:
            if share.name not in nodes:
                raise TreeError(places[node.name], f"'{node.name}': {_unknown('part', share.name, nodes)}")
            below = nodes[share.name]
            if share.weight > 0 and node.combine != "none" and below.combine != "mean":
                raise TreeError(
                    places[node.name],
                    f"'{node.name}' can't count '{share.name}': a {below.combine} is never part of a number; "
                    "give it the weight 0, or take its parts",
                )
    depths: dict[str, int] = {}
    for name in nodes:
        _depth(name, nodes, places, depths, ())


def _depth(
    name: str,
    nodes: Mapping[str, Node],
    places: Mapping[str, Keys],
    depths: dict[str, int],
    above: tuple[str, ...],
) -> int:
    """How many levels a node and what it is made of have."""
    if name in above:
        raise TreeError(places[name], f"'{name}' is part of itself: {' → '.join((*above, name))}")
    if name not in depths:
        shares = nodes[name].parts
        below = (_depth(share.name, nodes, places, depths, (*above, name)) for share in shares)
        depths[name] = 1 + (0 if len(above) > MOST_LEVELS else max(below, default=0))
    if depths[name] > MOST_LEVELS or len(above) > MOST_LEVELS:
        raise TreeError(places[name], f"'{name}': more than {MOST_LEVELS} levels of parts")
    return depths[name]


def _radar(
    spec: RadarSpec, values: Mapping[str, Scalar], nodes: Mapping[str, Node], position: int
) -> RadarSpec:
    at: Keys = ("radars", position)
    axes = tuple(str(_filled(axis, values, (*at, "axes"))) for axis in spec.axes)
    for axis in axes:
        if axis not in nodes:
            raise TreeError((*at, "axes"), _unknown("part", axis, nodes))
        if nodes[axis].combine == "none":
            raise TreeError((*at, "axes"), f"'{axis}' is a heading without a number")
    name, title = (str(_filled(text, values, at)) for text in (spec.name, spec.title))
    return RadarSpec(name=name, title=title, axes=axes, range=spec.range)


def _ranked(
    tree: LeaderboardTree, nodes: Mapping[str, Node], values: Mapping[str, Scalar], wanted: str | None
) -> str | None:
    if wanted is None and tree.rank_by is None:
        first = next(iter(nodes.values()))
        return first.name if len(tree.parts) == 1 and first.combine != "none" else None
    name = wanted if wanted is not None else str(_filled(tree.rank_by, values, ("rank_by",)))
    if name not in nodes:
        raise TreeError(() if wanted else ("rank_by",), _unknown("part", name, nodes))
    if nodes[name].combine == "none":
        raise TreeError(("rank_by",), f"'{name}' is a heading without a number")
    return name
