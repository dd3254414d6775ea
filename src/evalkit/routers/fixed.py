"""Routers that need no model: by a hash of the instance's id, or by a field of the instance."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from evalkit.errors import DataError, UsageError
from evalkit.instance import Instance
from evalkit.registry import router
from evalkit.routers.router import Router

_FIELDS = ("split", "sub_split", "group")


@router("hash")
class HashRouter(Router):
    """Splits the instances among the members by a hash of their ids, in given shares.

    Args:
        weights: How much of the instances each member gets, in the order of the members; all alike if left
            out. A member of weight 0 gets none.
        seed: Another seed, another split.
    """

    def __init__(self, members: Sequence[str], weights: list[float] | None = None, seed: int = 0) -> None:
        super().__init__(members)
        weights = weights if weights is not None else [1.0] * len(self.members)
        if len(weights) != len(self.members):
            raise UsageError(f"router 'hash': {len(weights)} weights for {len(self.members)} members")
        if not all(weight >= 0 and math.isfinite(weight) for weight in weights) or not sum(weights) > 0:
            raise UsageError("router 'hash': weights are numbers of 0 or more, not all of them 0")
        # In order, so that a place below the first bound goes to the first member; the last takes the rest.
        self._bounds = [part / sum(weights) for part in accumulate(weights)]
        self._last = max(index for index, weight in enumerate(weights) if weight)
        self._seed = seed

    def choose(self, instance: Instance) -> str:
        """The member in whose share the hash of the id falls; perturbed copies go where the original goes."""
        hashed = hashlib.sha256(f"{self._seed}:{instance.id}".encode("utf-8", "surrogatepass")).digest()
        place = int.from_bytes(hashed[:7], "big") / (1 << 56)
        index = next((i for i, bound in enumerate(self._bounds) if place < bound), self._last)
        return self.members[index]


@router("field")
class FieldRouter(Router):
    """Sends an instance where a field of it says.

    Args:
        field: `split`, `sub_split`, `group`, or a key of `extra`.
        routes: The member for each value of the field.
        otherwise: The member for all other values; without one, an instance of another value is an error.
    """

    def __init__(
        self, members: Sequence[str], field: str, routes: dict[str, str], otherwise: str | None = None
    ) -> None:
        super().__init__(members)
        for value, member in (*routes.items(), ("otherwise", otherwise)):
            if member is not None and member not in self.members:
                known = ", ".join(self.members)
                raise UsageError(f"router 'field': '{member}' ({value}) is not a member; members: {known}")
        self._field, self._routes, self._otherwise = field, routes, otherwise

    def choose(self, instance: Instance) -> str:
        """The member of the field's value.

        Raises:
            DataError: No member is named for it.
        """
        value = self._value(instance)
        member = self._otherwise if value is None else self._routes.get(str(value), self._otherwise)
        if member is None:
            found = "has no such field" if value is None else f"has the value '{value}'"
            raise DataError(
                f"router 'field': no member for instance '{instance.id}', whose {self._field} {found}; "
                "add it to routes, or name a member in otherwise"
            )
        return member

    def _value(self, instance: Instance) -> Any:
        if self._field in _FIELDS:
            return getattr(instance, self._field)
        extra = instance.extra
        return extra.get(self._field) if isinstance(extra, Mapping) else None
