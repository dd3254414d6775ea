"""Contrast sets: questions changed by people so that the right answer changes (Gardner et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from evalkit.instance import CORRECT


def contrast_extra(changed: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """An instance's `extra` that holds its contrast set.

    Args:
        changed: The input and the right answer of each changed question.

    Returns:
        `contrast_inputs`, the texts, and `contrast_references`, for each text its references as `text` and
        `tags`: plain data, in HELM's names.
    """
    pairs = list(changed)
    return {
        "contrast_inputs": [text for text, _ in pairs],
        "contrast_references": [[{"text": answer, "tags": [CORRECT]}] for _, answer in pairs],
    }
