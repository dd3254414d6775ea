"""The base of all clients that answer one request at a time (APIs, baselines)."""

from __future__ import annotations

from evalkit.request import Request
from evalkit.response import Response


class Client:
    """Turns a request into a response. Parameters of `__init__` are what a deployment's `args` may set.

    `send` is called many times at once from one event loop. It makes a single attempt: retries, limits and
    time-outs are the engine's. It must not return an answer it did not get: it raises instead.
    """

    def configure(self, *, timeout_s: float) -> None:
        """Told once before the first request: an attempt that takes longer than this has failed."""

    async def send(self, request: Request) -> Response:
        """One attempt.

        Raises:
            TransientError: Another attempt may succeed (`OverloadError` if the server asks for less).
            BadRequestError: This request can't succeed.
            AuthenticationError: No request can succeed with this key.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Release connections; called once."""
