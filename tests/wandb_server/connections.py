"""Pages of lists, and the filters of runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.wandb_server.graphql import NotImplementedHere, Plain
from tests.wandb_server.state import RunState, parsed


def connection(
    typename: str, nodes: Sequence[Any], first: int | None, after: str | None, **more: Any
) -> Plain:
    """A page of nodes; a cursor is the number of nodes up to there."""
    start = int(after or 0)
    end = len(nodes) if first is None else min(len(nodes), start + first)
    edges = [
        Plain(f"{typename}Edge", node=nodes[at], cursor=str(at + 1), version=f"v{at}")
        for at in range(start, end)
    ]
    page = Plain("PageInfo", endCursor=str(end) if edges else None, hasNextPage=end < len(nodes))
    return Plain(f"{typename}Connection", edges=edges, pageInfo=page, totalCount=len(nodes), **more)


def wanted(run: RunState, filters: Mapping[str, Any]) -> bool:
    """Whether a run passes filters in the form of MongoDB.

    Raises:
        NotImplementedHere: One of them is unknown here.
    """
    return all(_passes(run, name, condition) for name, condition in filters.items())


def _passes(run: RunState, name: str, condition: Any) -> bool:
    if name == "$and":
        return all(wanted(run, each) for each in condition)
    if name == "$or":
        return any(wanted(run, each) for each in condition)
    value = field_of(run, name)
    if not isinstance(condition, dict):
        return bool(value == condition or (isinstance(value, list) and condition in value))
    if unknown := condition.keys() - _OPERATORS.keys():
        raise NotImplementedHere(f"filters {sorted(unknown)}")
    return all(_OPERATORS[operator](value, other) for operator, other in condition.items())


def _orders(value: Any, other: Any, compare: Callable[[Any, Any], bool]) -> bool:
    return value is not None and compare(value, other)


_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda value, other: value == other,
    "$ne": lambda value, other: value != other,
    "$in": lambda value, other: (
        any(each in other for each in value) if isinstance(value, list) else value in other
    ),
    "$nin": lambda value, other: value not in other,
    "$gt": lambda value, other: _orders(value, other, lambda a, b: a > b),
    "$gte": lambda value, other: _orders(value, other, lambda a, b: a >= b),
    "$lt": lambda value, other: _orders(value, other, lambda a, b: a < b),
    "$lte": lambda value, other: _orders(value, other, lambda a, b: a <= b),
    "$regex": lambda value, other: value is not None and re.search(other, value) is not None,
    "$exists": lambda value, other: (value is not None) == other,
}
_NAMES = {
    "state": "state",
    "name": "name",
    "displayName": "display_name",
    "display_name": "display_name",
    "group": "group",
    "jobType": "job_type",
    "job_type": "job_type",
    "tags": "tags",
    "createdAt": "created_at",
    "created_at": "created_at",
}


def field_of(run: RunState, name: str) -> Any:
    """The value that a filter or an order names.

    Raises:
        NotImplementedHere: There is no such name.
    """
    kind, _, path = name.partition(".")
    if kind == "config" and path:
        entry = parsed(run.config).get(path.removesuffix(".value"))
        return entry["value"] if entry else None
    if kind == "summary_metrics" and path:
        return parsed(run.summary).get(path)
    if name not in _NAMES:
        raise NotImplementedHere(f"filter or order {name!r}")
    return getattr(run, _NAMES[name])


def ordered(runs: Sequence[RunState], order: str | None) -> list[RunState]:
    """Runs in the order that a client names: `+created_at`, `-summary_metrics.x`."""
    order = order or "+created_at"
    by = order.lstrip("+-")
    return sorted(
        runs,
        key=lambda run: (field_of(run, by) is not None, field_of(run, by), run.number),
        reverse=order.startswith("-"),
    )
