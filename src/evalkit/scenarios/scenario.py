"""The base of all scenarios: a benchmark as a stream of instances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from evalkit.instance import Instance

if TYPE_CHECKING:
    from evalkit.data import DataFile, DataStore


class Scenario:
    """A benchmark. Parameters go into `__init__` with annotations; they are checked before anything loads.

    Attributes:
        version: Raise it when the instances change for the same data; it is part of a run's identity.
        has_examples: Whether there is a train split to draw few-shot examples from. If not, an entry's
            `shots` has no effect.
    """

    version: ClassVar[int] = 1
    has_examples: ClassVar[bool] = True

    def files(self) -> Sequence[DataFile]:
        """The data files needed; empty for a scenario that makes its instances."""
        return ()

    def sizes(self) -> Mapping[str, int] | None:
        """How many instances each split has, if that is known without making them; else None.

        A plan then makes only some of them, to estimate tokens.
        """
        return None

    def instances(self, data: DataStore) -> Iterable[Instance]:
        """All instances, train split included, in a fixed order. `data.path(file)` is a file's local path."""
        raise NotImplementedError


def with_ids(instances: Iterable[Instance]) -> Iterator[Instance]:
    """Give instances without an id one by position over all splits: `id0`, `id1`, … (as HELM does)."""
    for position, instance in enumerate(instances):
        yield instance if instance.id is not None else replace(instance, id=f"id{position}")
