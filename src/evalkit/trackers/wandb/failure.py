"""What W&B or its SDK raised, in words."""

from __future__ import annotations

from evalkit.errors import EvalkitError


def in_words(error: BaseException) -> str:
    """An exception in one line, without addresses: they may be nobody's business."""
    text = " ".join(str(error).split())
    words = ["the server" if "://" in word else word for word in text.split(" ")]
    said = " ".join(words)[:300]
    return said if isinstance(error, EvalkitError) else f"{type(error).__name__}: {said}"
