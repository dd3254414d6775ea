"""A judge's reply that holds no clear verdict."""

from __future__ import annotations

from evalkit.errors import EvalkitError


class UnclearVerdict(EvalkitError):
    """A reply can't be read as a verdict; the message says why, as half a sentence."""
