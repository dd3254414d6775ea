"""Units as stored files name them: instance, perturbed copy, train trial and sample, scored together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.execution.journal_index import JournalIndex, read_winners

if TYPE_CHECKING:
    from evalkit.instance import Instance
    from evalkit.specs.run_spec import RunSpec


def num_whole_units(path: Path, index: JournalIndex) -> int:
    """How many units have all their answers."""
    sizes: dict[tuple[Any, ...], int] = {}
    settled = index.settled
    for record in read_winners(path, index):
        state = record.state
        if state.key in settled:
            unit = (state.instance_id, state.perturbation, state.trial, state.sample)
            sizes[unit] = sizes.get(unit, state.unit_size) - 1
    return sum(left <= 0 for left in sizes.values())


def each_unit(spec: RunSpec, instances: Sequence[Instance]) -> Iterator[tuple[Any, ...]]:
    """Every unit that a run scores: instance, perturbed copy, train trial, sample."""
    adapter = spec.adapter_spec
    for instance in instances:
        for trial in range(adapter.num_train_trials):
            for sample in range(adapter.num_trials):
                yield str(instance.id), instance.perturbation_label, trial, sample


def unit_of_row(row: Any) -> tuple[Any, ...]:
    """The unit that a line of scores is about.

    Raises:
        KeyError: It is no such line.
    """
    if row["status"] not in ("scored", "failed", "missing"):
        raise KeyError(row["status"])
    return row["instance_id"], row.get("perturbation"), row.get("trial", 0), row.get("sample", 0)
