"""What makes sandboxes, whichever program does the work: bubblewrap, Docker or Podman."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from evalkit.sandbox.process import SandboxProcess
from evalkit.sandbox.program import Limits, Program

PROBE_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Description:
    """What is said of a backend.

    Attributes:
        name: What it is.
        remedy: What it takes, where it makes no sandbox.
        interpreter: Whose Python runs the programs, if not evalkit's own; else "".
    """

    name: str
    remedy: str
    interpreter: str = ""


class Backend(Protocol):
    """Makes sandboxes of one kind."""

    @property
    def description(self) -> Description:
        """What to say of it."""

    @property
    def probe(self) -> Program:
        """A program that passes where a sandbox keeps what is promised, and says what it does not keep."""

    def sandbox(self, limits: Limits) -> SandboxProcess:
        """A sandbox with these limits; it is made when its context is entered."""


def refusal(reason: str, remedy: str) -> str:
    """Why programs are refused, and what it takes to run them."""
    reason = reason.rstrip(".")
    return f"model-written programs only run in a sandbox, which can't be made here: {reason}. {remedy}"
