"""The base of all clients: what an executor asks of an API, a baseline, or a model in this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from evalkit.clients.allowance import Allowance
from evalkit.models.deployment import MAX_ANSWER_MB
from evalkit.request import Request
from evalkit.response import Response


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the files of a model say of it, read without loading it.

    Attributes:
        tokenizer_name: The tokenizer that counts its tokens.
        max_sequence_length: Longest prompt and completion together, in tokens.
        max_request_length: The same for what is sent, which leaves room for a token that the engine adds.
    """

    tokenizer_name: str | None = None
    max_sequence_length: int | None = None
    max_request_length: int | None = None


class Client:
    """Turns a request into a response. Parameters of `__init__` are what a deployment's `args` may set.

    `send` is called many times at once from one event loop. It makes a single attempt: retries, limits and
    time-outs are the engine's. It must not return an answer it did not get: it raises instead. A `send`
    that is cancelled gives its request up.

    A *resident* client holds a model in memory. It is opened when the first request is about to be sent,
    which may take minutes, and closed after the last run that uses it. As many requests as it names in
    `window` are handed to it at once, so that it can order and batch them as it likes; each is answered when
    it is finished, in any order. There is no time limit on how long a request waits inside.

    Attributes:
        resident: Whether it holds a model.
        embeds: Whether it answers requests for embeddings.
        is_free: Whether answers cost no money. Those of a resident client never do.
        keeps_time: Whether it ends an attempt itself after the time-out it is configured with; if not, the
            engine does.
        transport: Arguments that change how answers are made, and never which: no part of a run's identity.
        needs: Modules that it imports when it is opened, and the extra of evalkit that installs them.
        window: How many requests a resident client takes at once.
        max_answer_mb: The longest answer that it should take from a server, set before `configure`.
        notes: What the user should know of the model, found while it was opened.
        over_http: Whether its `base_url` is one of HTTP.
        key_advice: What the user should do when the server refuses the key.
    """

    resident: ClassVar[bool] = False
    embeds: ClassVar[bool] = False
    is_free: ClassVar[bool] = False
    keeps_time: ClassVar[bool] = False
    transport: ClassVar[frozenset[str]] = frozenset()
    needs: ClassVar[tuple[tuple[str, ...], str]] = ((), "")
    window: int = 1
    max_answer_mb: float = MAX_ANSWER_MB
    notes: tuple[str, ...] = ()
    over_http: ClassVar[bool] = False
    key_advice: str = "check the deployment's API key"

    @classmethod
    def identity(cls, args: Mapping[str, Any]) -> dict[str, Any]:
        """What of the arguments can change an answer, as plain data; part of digests and cache keys.

        Imports no engine, and reads small files only.
        """
        return {name: value for name, value in args.items() if name not in cls.transport}

    @classmethod
    def facts(cls, args: Mapping[str, Any]) -> ModelFacts:
        """What can be known of the model before it is loaded; fills what the deployment leaves out."""
        return ModelFacts()

    @classmethod
    def allowance(cls, args: Mapping[str, Any], request: Request) -> Allowance:
        """What sending `request` allows a server to bill at most, with these arguments.

        Plans and budgets rely on it, before there is a client. One that lets its model generate more than
        `max_tokens` for each completion (room for thinking, say), or sends a prompt more than once, says so.
        """
        return Allowance(request.max_tokens * request.num_completions)

    def configure(self, *, timeout_s: float) -> None:
        """Called once before the first request: an attempt that takes longer than this fails."""

    async def open(self) -> None:
        """Load the model, or whatever it takes; called once, before the first `send`, if it is resident.

        May be cancelled; `close` is called then too.

        Raises:
            EvalkitError: It is not available; no request can succeed.
        """

    async def send(self, request: Request) -> Response:
        """One attempt.

        Raises:
            TransientError: Another attempt may succeed (`OverloadError` if the server asks for less).
            BadRequestError: This request can't succeed.
            AuthenticationError: No request can succeed with this key.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Release connections, processes and memory; called once."""
