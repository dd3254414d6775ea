"""What an attack is: a program with a function `attack`, and the answer that would show its success."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import indent

DONE = "done"
"""What an attack answers that came to its end."""
ENDLESS_S = 0.25
# Generous: these programs end by themselves.
_TIME_S = 60.0

CALLS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    if libc.syscall(ctypes.c_long(number), *args) < 0:
        raise OSError(ctypes.get_errno(), "refused")
"""
"""System calls by number."""


@dataclass(frozen=True, slots=True)
class Attack:
    """A program that tries something.

    Attributes:
        kind: What it tries, in a word or two.
        source: The program; names in braces (`{outside}`, `{terminal}`) are replaced by `Outside.filled`.
        ending: "failed", "timeout"; "": either.
        why: A pattern for the verdict's message; "": any, but for mistakes in the attack itself.
        answer: What `attack()` would have to answer; None: a text that the program does not know.
        time_s: The time limit.
    """

    kind: str
    source: str
    ending: str = "failed"
    why: str = ""
    answer: str | None = DONE
    time_s: float = _TIME_S


def acts(kind: str, body: str, *, why: str = "", before: str = "") -> Attack:
    """An attack that has succeeded if it comes to its end."""
    return Attack(
        kind, f"{before}\ndef attack():\n{indent(body.strip(), '    ')}\n    return {DONE!r}\n", why=why
    )


def reads(kind: str, body: str, *, why: str = "") -> Attack:
    """An attack that has succeeded if it returns the content of a file of the user."""
    return Attack(kind, f"import os\ndef attack():\n{indent(body.strip(), '    ')}\n", why=why, answer=None)


def forges(kind: str, source: str, *, ending: str = "failed", why: str = "") -> Attack:
    """An attack that does not know the answer, and wants to pass, or not to be counted, all the same."""
    time_s = ENDLESS_S if ending != "failed" else _TIME_S
    return Attack(kind, source, ending, why, answer=None, time_s=time_s)


def lasts(kind: str, source: str, *, ending: str = "timeout") -> Attack:
    """An attack that does not end by itself."""
    return Attack(kind, source, ending, answer=None, time_s=ENDLESS_S)
