"""The body of an answer: never more of it than a limit, and unpacked without holding up anything else."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp

_BYTES_PER_MB = 1_000_000
_STEP_BYTES = 1 << 20
_GZIP_OR_ZLIB, _RAW_DEFLATE = 47, -15


class BodyError(ValueError):
    """A body is too long, or compressed in a way that evalkit did not ask for; says how."""


async def read_body(answer: aiohttp.ClientResponse, max_mb: float) -> bytes:
    """The whole body of an answer, unpacked where the server sends it packed though it was not asked to.

    Raises:
        BodyError: It is longer than `max_mb`, or packed by something else than gzip or deflate.
        aiohttp.ClientError: The connection was lost before its end.
    """
    max_bytes = int(max_mb * _BYTES_PER_MB)
    length, packing = answer.content_length, answer.headers.get("Content-Encoding")
    if packing is None and length and length <= max_bytes:
        return await answer.read()  # never longer than the length that the server gave
    too_long = f"the answer is longer than {max_mb:g} MB; limits: {{max_answer_mb: …}} allows more"
    packing = (packing or "identity").strip().lower() or "identity"
    if packing not in ("identity", "gzip", "x-gzip", "deflate"):
        answer.close()
        raise BodyError(f"the answer is compressed with '{packing[:40]}', which evalkit did not ask for")
    if (length or 0) > max_bytes:
        answer.close()
        raise BodyError(too_long)
    if length and packing == "identity":
        return await answer.read()
    received: list[bytes] = []
    num_bytes = 0
    async for chunk in answer.content.iter_any():
        num_bytes += len(chunk)
        if num_bytes > max_bytes:
            answer.close()
            raise BodyError(too_long)
        received.append(chunk)
    body = received[0] if len(received) == 1 else b"".join(received)
    if packing == "identity" or not body:
        return body
    return await _unpacked(body, packing, max_bytes, too_long)


async def _unpacked(body: bytes, packing: str, max_bytes: int, too_long: str) -> bytes:
    """The body in its full length, made in steps between which others have their turn."""
    import asyncio

    # What is called deflate is mostly zlib's format, but not always.
    is_raw = packing == "deflate" and (body[0] & 0x0F != 8 or int.from_bytes(body[:2], "big") % 31)
    unpacker = zlib.decompressobj(_RAW_DEFLATE if is_raw else _GZIP_OR_ZLIB)
    steps: list[bytes] = []
    num_bytes, rest = 0, body
    try:
        while not unpacker.eof:
            step = unpacker.decompress(rest, _STEP_BYTES)
            rest = unpacker.unconsumed_tail
            num_bytes += len(step)
            if num_bytes > max_bytes:
                raise BodyError(too_long)
            if not step and not rest:
                raise BodyError(f"the answer is incomplete {packing}")
            steps.append(step)
            await asyncio.sleep(0)
    except zlib.error as error:
        raise BodyError(f"the answer is not valid {packing} ({error})") from None
    return b"".join(steps)
