"""Ranking by asking of each document whether it answers the query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from evalkit.adapters.adapter import Adapter, RequestSlot
from evalkit.errors import DataError
from evalkit.instance import Instance, Reference
from evalkit.registry import Output, adapter

RELEVANT, IRRELEVANT = "Yes", "No"


@adapter("ranking_binary")
class RankingBinaryAdapter(Adapter):
    """One request per document (reference): is it relevant to the query (input), yes or no?

    Each few-shot instance shows all its documents, so `max_train_instances` counts queries.
    """

    can_chat: ClassVar[bool] = False
    gives: ClassVar[frozenset[Output] | None] = frozenset({"reference_answers"})
    per_reference: ClassVar[bool] = True

    def slots(self, instance: Instance) -> Sequence[RequestSlot]:
        """One per reference.

        Raises:
            DataError: The instance has no references.
        """
        if not instance.references:
            raise DataError(f"instance {instance.id} has no references to rank")
        return [RequestSlot(index, "original") for index in range(len(instance.references))]

    def question(self, instance: Instance, slot: RequestSlot) -> str:
        """One of the documents and the query."""
        assert slot.reference_index is not None, "every slot of this method is about one reference"
        document = self._document(instance.references[slot.reference_index])
        return document + self.layout.question(instance.input)

    def example(self, instance: Instance) -> str:
        """Every document with the query and its right answer."""
        return self.spec.instance_prefix.join(
            self._document(reference) + self.layout.example(instance.input, _label(reference))
            for reference in instance.references
        )

    def gold(self, instance: Instance) -> str:
        """The answer for the first document."""
        return _label(instance.references[0])

    def choices(self, instance: Instance) -> tuple[str, ...]:
        """Yes and no."""
        return RELEVANT, IRRELEVANT

    def _document(self, reference: Reference) -> str:
        return f"{self.spec.reference_prefix}{reference.text}{self.spec.reference_suffix}"


def _label(reference: Reference) -> str:
    return RELEVANT if reference.is_correct else IRRELEVANT
