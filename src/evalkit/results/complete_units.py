"""Units whose answers are all in a journal, and where in it they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from evalkit.execution.journal_index import JournalIndex, read_winners
from evalkit.execution.journal_reader import JournalReader
from evalkit.instance import Instance
from evalkit.request import RequestState
from evalkit.response import Outcome, Response
from evalkit.results.units import IsOver
from evalkit.scoring.judged import UnitId
from evalkit.scoring.unit import Answer, Unit, in_order

InstancesById = Mapping[tuple[str, str | None], Instance]
"""The evaluated instances, by id and label of the perturbed copy."""


class CompleteUnit(NamedTuple):
    """A unit that has all its answers, or a conversation with those so far.

    Attributes:
        offsets: The bytes of the journal at which they begin.
        num_turns_to_come: How many turns a conversation may still have that goes on.
    """

    id: UnitId
    offsets: tuple[int, ...]
    num_turns_to_come: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether all its answers are there."""
        return not self.num_turns_to_come


class UnitTracker:
    """Notices when units are complete, from outcomes in any order.

    Args:
        instances: The evaluated instances.
        is_over: Whether an answer ends its conversation; None: none ends before its last turn.
    """

    def __init__(self, instances: InstancesById, is_over: IsOver | None) -> None:
        self._instances, self._is_over = instances, is_over
        self._partial: dict[UnitId, dict[int, RequestState]] = {}
        self._ended: set[UnitId] = set()

    def add(self, state: RequestState, outcome: Outcome, offset: int) -> CompleteUnit | None:
        """Take an outcome; returns its unit if that completes it.

        Args:
            state: A request; each is given once.
            outcome: What came of it.
            offset: Where its line begins.
        """
        if not isinstance(outcome, Response):
            return None
        unit: UnitId = (state.instance_id, state.trial, state.sample, state.perturbation)
        if state.unit_size == 1:
            return CompleteUnit(unit, (offset,))
        part = self._partial.setdefault(unit, {})
        part[offset] = state
        if self._ends(state, outcome):
            self._ended.add(unit)
        # Turns may come in any order from a journal: one that ends a conversation has all before it.
        num_turns = max(each.turn or 0 for each in part.values())
        if len(part) == state.unit_size or (unit in self._ended and len(part) == num_turns):
            self._ended.discard(unit)
            return CompleteUnit(unit, tuple(self._partial.pop(unit)))
        return None

    def so_far(self, state: RequestState) -> CompleteUnit | None:
        """The conversation of a turn that was just taken, with its turns so far; None unless it goes on."""
        unit: UnitId = (state.instance_id, state.trial, state.sample, state.perturbation)
        part = self._partial.get(unit)
        if not part or state.turn is None or len(part) != state.turn:
            return None
        return CompleteUnit(unit, tuple(part), state.unit_size - state.turn)

    def _ends(self, state: RequestState, response: Response) -> bool:
        if self._is_over is None or state.turn is None or state.turn == state.unit_size:
            return False
        return self._is_over(self._instances[state.instance_id, state.perturbation], state, response)


def by_id(instances: Iterable[Instance]) -> InstancesById:
    """The instances by id and label."""
    return {(str(instance.id), instance.perturbation_label): instance for instance in instances}


def complete_units(index: JournalIndex, tracker: UnitTracker) -> Iterator[CompleteUnit]:
    """The units that are complete in a journal, in the order in which they became so.

    Args:
        index: Of the journal.
        tracker: Takes its outcomes.
    """
    for record in read_winners(index.path, index):
        key = record.state.key
        if (unit := tracker.add(record.state, record.outcome, index.winners[key])) is not None:
            yield unit


def read_unit(unit: CompleteUnit, reader: JournalReader, instances: InstancesById) -> Unit:
    """A unit with its answers, read from the journal.

    Raises:
        StoreError: They can't be read any more.
    """
    instance_id, trial, sample, perturbation = unit.id
    answers = [
        Answer(record.state, record.outcome)
        for record in reader.records(unit.offsets)
        if isinstance(record.outcome, Response)
    ]
    return Unit(instances[instance_id, perturbation], trial, sample, in_order(answers))
