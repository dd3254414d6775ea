"""How a program ended, said by a process that the program can't reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Ending = Literal["passed", "failed", "timeout"]


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """How a program ended.

    Attributes:
        ending: "passed": it came to its end and its tests did; "failed": it or a test raised, or it exited,
            was killed or went over a limit; "timeout": it was killed when its time was up.
        message: What was raised, or which limit was met; "" if it passed.
    """

    ending: Ending
    message: str = ""

    @property
    def has_passed(self) -> bool:
        """Whether the ending is "passed"."""
        return self.ending == "passed"
