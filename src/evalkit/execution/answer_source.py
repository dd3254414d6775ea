"""Where answers may be found before a request is sent: earlier runs, and the response cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from evalkit.codec import encode
from evalkit.request import Request, RequestState
from evalkit.response import Origin, Response


@dataclass(frozen=True, slots=True)
class Found:
    """An answer that need not be asked for, and where it was found."""

    response: Response
    origin: Origin


class AnswerSource(Protocol):
    """Answers that were given before."""

    def get(self, key: bytes, state: RequestState) -> Found | None:
        """The answer to a request; None where the source has none that can be used.

        Called on the event loop's thread, before the request is sent.

        Args:
            key: The request's `content_key`.
            state: The request in its place in the run.
        """


def content_key(identity_digest: str, request: Request, sample: int) -> bytes:
    """What identifies an answer: the deployment's identity, the request, and the repetition."""
    plain = {"deployment": identity_digest, "request": request.to_json(), "sample": sample}
    return hashlib.sha256(encode(plain, sort_keys=True)).digest()


def find_answer(
    sources: Iterable[AnswerSource], identity_digest: str, state: RequestState
) -> Response | None:
    """The answer of the first source that has one, marked as found and with its origin; else None.

    Args:
        sources: Asked in this order.
        identity_digest: Of the deployment that would be asked.
        state: The request.
    """
    key = content_key(identity_digest, state.request, state.sample)
    for source in sources:
        if (found := source.get(key, state)) is not None:
            # An answer that was itself found keeps the place where it was asked for.
            origin = found.response.origin or found.origin
            return replace(found.response, cached=True, attempts=1, origin=origin)
    return None
