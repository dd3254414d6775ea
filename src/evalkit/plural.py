"""Counts in messages: `1 request`, `2 requests`."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number with its noun, which gets an s unless there is one of it."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
