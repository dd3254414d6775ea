"""The seed of a completion: the same in every engine's terms, whatever it is computed with."""

from __future__ import annotations

import hashlib

from evalkit.request import Request


def seed_bytes(request: Request, index: int) -> bytes:
    """32 bytes that depend on the prompt, the request's `random`, and which of its completions it is."""
    chat = None if request.messages is None else [(m.role, m.content) for m in request.messages]
    key = repr((request.random, request.prompt, chat, index)).encode("utf-8", "surrogatepass")
    return hashlib.sha256(key).digest()
