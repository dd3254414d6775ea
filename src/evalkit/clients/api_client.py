"""What clients of HTTP APIs share: one endpoint, and what is done about servers that refuse a parameter."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evalkit.clients.client import Client
from evalkit.errors import BadRequestError

if TYPE_CHECKING:
    from evalkit.clients.http import Endpoint
    from evalkit.clients.thinking import AnswerReader
    from evalkit.clients.unsupported_parameters import RefusedParameters
    from evalkit.request import Request
    from evalkit.response import Response


class ApiClient(Client):
    """Sends the JSON that `body` makes of a request to one endpoint.

    Attributes:
        extra_body: Fields that the user adds to every body.
    """

    extra_body: dict[str, Any] | None
    _endpoint: Endpoint
    _refused: RefusedParameters
    _answers: AnswerReader

    def configure(self, *, timeout_s: float) -> None:
        """An attempt that takes longer than this has failed."""
        self._endpoint.set_limits(timeout_s, self.max_answer_mb)

    async def send(self, request: Request) -> Response:
        """One attempt; several sends at once where the API gives one completion per send."""
        return await self._answers.ask(request, self._attempt)

    async def close(self) -> None:
        """Close all connections."""
        await self._endpoint.close()

    @abstractmethod
    def body(self, request: Request) -> dict[str, Any]:
        """The JSON that is sent for a request.

        Raises:
            BadRequestError: The API can't do what the request asks.
        """

    @abstractmethod
    async def _sent(self, request: Request, body: Mapping[str, Any]) -> Response:
        """The response to a body."""

    async def _attempt(self, request: Request) -> Response:
        """Send again where the server refuses a parameter that may be left out; each at most once."""
        while True:
            body = self._refused.applied(self.body(request), self.extra_body or {})
            try:
                return await self._sent(request, body)
            except BadRequestError as error:
                self._refused.learn(error, body, self.extra_body or {})
                self.notes = self._refused.notes
                if not self._refused.takes_stops:
                    self._answers.stop_here()
