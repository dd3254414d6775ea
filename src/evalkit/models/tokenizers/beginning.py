"""What a tokenizer.json puts before every text, read from the file alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.bounded_reads import JSON_BYTES, limit_bytes, read_bytes

_KEY = '"post_processor"'


def beginning(path: Path) -> tuple[str, ...]:
    """The tokens that stand before every text by a tokenizer.json; empty if there are none, or no such file.

    Only what follows the key is parsed: the file holds the whole vocabulary.
    """
    try:
        text = read_bytes(path, limit_bytes(JSON_BYTES)).decode()
    except (OSError, UnicodeDecodeError):
        return ()
    if (at := text.find(_KEY)) < 0 or (start := text.find(":", at)) < 0:
        return ()
    rest = start + 1
    while text[rest : rest + 1].isspace():
        rest += 1
    try:
        processor, _ = json.JSONDecoder().raw_decode(text, rest)
        return _put_before(processor)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ()


def _put_before(processor: Mapping[str, Any] | None) -> tuple[str, ...]:
    if processor is None:
        return ()
    kind = processor["type"]
    if kind == "Sequence":
        found: tuple[str, ...] = ()
        for step in processor["processors"]:
            found = (*_put_before(step), *found)
        return found
    if kind in ("BertProcessing", "RobertaProcessing"):
        return (processor["cls"][0],)
    if kind != "TemplateProcessing":
        return ()
    tokens: list[str] = []
    for piece in processor["single"]:
        if "Sequence" in piece:
            break
        tokens += processor["special_tokens"][piece["SpecialToken"]["id"]]["tokens"]
    return tuple(tokens)
