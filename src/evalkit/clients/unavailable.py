"""What stands in for a deployment that is known but can't be asked, so that its runs can still be planned."""

from __future__ import annotations

from evalkit.clients.client import Client
from evalkit.errors import UsageError
from evalkit.registry import client


@client("unavailable")
class UnavailableClient(Client):
    """A model that no client here can ask; its runs can be planned, not run.

    Args:
        reason: Why, and what would help.

    Raises:
        UsageError: Always, with the reason.
    """

    def __init__(self, reason: str) -> None:
        raise UsageError(f"evalkit can't send requests to it: {reason}")
