"""What can be wrong with a run's files, in words, and how to repair it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Remedy = Literal["repair", "run", "import", "look", "update", "none"]
REMEDIES: dict[Remedy, str] = {
    "repair": "`evalkit verify --repair`",
    "run": "`evalkit run` with its entry",
    "import": "import it again",
    "look": "look at it yourself",
    "update": "use a newer evalkit",
    "none": "",
}
"""How to repair it, in words."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say about a run.

    Attributes:
        file: Its name in the run's directory.
        problem: What is wrong with it, in words.
        remedy: How to repair it.
        offset: Where a journal's line begins, in bytes.
        length: How long that line is, in bytes.
        is_damage: Something was lost or changed; else it is only good to know.
    """

    file: str
    problem: str
    remedy: Remedy
    offset: int | None = None
    length: int | None = None
    is_damage: bool = True
