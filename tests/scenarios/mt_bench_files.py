"""Small files in FastChat's format, made for tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

QUESTIONS: tuple[dict[str, Any], ...] = (
    {"question_id": 1, "category": "coding", "turns": ["Reverse a list.", "Now in place."]},
    {"question_id": "02", "category": "coding", "turns": ["Sort a list.", "Now by length."]},
    {"question_id": 3, "category": "writing", "turns": ["Write a poem about rain.", "Make it rhyme."]},
    {"question_id": 4, "category": "stem", "turns": ["Why is the sky blue?", "And at dusk?"]},
)


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """A file of JSON lines, its folder made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def answer_row(question_id: object, *turns: str, model: str = "m") -> dict[str, Any]:
    """A row of an answer file, with one choice."""
    return {
        "question_id": question_id,
        "answer_id": f"a{question_id}",
        "model_id": model,
        "choices": [{"index": 0, "turns": list(turns)}],
        "tstamp": 1.0,
    }
