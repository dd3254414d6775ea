"""Ask for a free answer."""

from __future__ import annotations

from typing import ClassVar

from evalkit.adapters.adapter import Adapter
from evalkit.registry import Output, adapter


@adapter("generation")
class GenerationAdapter(Adapter):
    """One request per instance: instructions, examples, question; the completion is the answer."""

    gives: ClassVar[frozenset[Output] | None] = frozenset({"generated_text"})
