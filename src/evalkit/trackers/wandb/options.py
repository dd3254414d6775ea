"""What the two processes of the W&B tracker agree on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mode = Literal["online", "offline", "disabled"]


@dataclass(frozen=True, slots=True)
class Options:
    """Where runs go on W&B, and what they are called; empty texts leave the choice to evalkit or the SDK.

    Attributes:
        nejumi: Whether the tables of the Nejumi leaderboard are made too.
        session: A name for this start of evalkit.
    """

    project: str
    entity: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    mode: Mode
    directory: str
    nejumi: bool
    session: str
