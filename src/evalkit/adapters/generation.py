"""Ask for a free answer."""

from __future__ import annotations

from evalkit.adapters.adapter import Adapter
from evalkit.registry import adapter


@adapter("generation")
class GenerationAdapter(Adapter):
    """One request per instance: instructions, examples, question; the completion is the answer."""
