"""Servers that send too much, too slowly or too oddly, over raw sockets: each request ends, in bounds."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from evalkit.clients.anthropic import AnthropicClient
from evalkit.clients.http import Endpoint
from evalkit.clients.openai import OpenAIClient
from evalkit.errors import ClientError, TransientError
from evalkit.request import Request
from tests.planted import Planted

Send = Callable[[asyncio.StreamWriter], Awaitable[None]]
ANSWER = {
    "choices": [{"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    "model": "m",
}
BODY = json.dumps(ANSWER).encode()
TIMEOUT_S = 4.0
# Of servers that keep the processor busy until then.
SHORT_TIMEOUT_S = 2.0
MAX_MB = 8.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def packed_head(packing: str, length: int) -> bytes:
    return HEAD + f"Content-Encoding: {packing}\r\nContent-Length: {length}\r\n\r\n".encode()


@asynccontextmanager
async def server(send: Send) -> AsyncIterator[str]:
    """A listener that reads one request of a connection and then does as `send` says."""

    handling: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handling.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            lengths = [line[15:] for line in head.splitlines() if line.lower().startswith(b"content-length:")]
            await reader.readexactly(int(lengths[0]))
            await send(writer)
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    finally:
        listening.close()
        for task in handling:
            task.cancel()
        await asyncio.gather(*handling, return_exceptions=True)
        await asyncio.sleep(0)


class Pulse:
    """How long the event loop did nothing else: the longest gap between two turns."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def beat(self) -> None:
        last_s = time.perf_counter()
        while True:
            await asyncio.sleep(0.005)
            now_s = time.perf_counter()
            self.longest_s, last_s = max(self.longest_s, now_s - last_s), now_s


async def ask(url: str, timeout_s: float) -> str:
    """One request of a client with these limits; its answer, or its error raised."""
    client = OpenAIClient(model="m", base_url=url)
    client.max_answer_mb = MAX_MB
    client.configure(timeout_s=timeout_s)
    try:
        return (await client.send(Request("hello"))).completions[0].text
    finally:
        await client.close()


def outcome(
    send: Send, num: int = 1, timeout_s: float = TIMEOUT_S
) -> tuple[list[str | BaseException], float]:
    """What became of so many requests at once, and the longest that the event loop was held up."""

    async def main() -> tuple[list[str | BaseException], float]:
        pulse = Pulse()
        async with server(send) as url:
            beating = asyncio.create_task(pulse.beat())
            async with asyncio.timeout(60):
                requests = (ask(url, timeout_s) for _ in range(num))
                results = await asyncio.gather(*requests, return_exceptions=True)
            beating.cancel()
            await asyncio.wait([beating])
        return results, pulse.longest_s

    return asyncio.run(main())


def failure(send: Send, timeout_s: float = TIMEOUT_S) -> TransientError:
    """The one error of a request."""
    (result,), _ = outcome(send, timeout_s=timeout_s)
    assert isinstance(result, TransientError), result
    assert len(str(result)) < 600
    return result


async def plain(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def for_ever(writer: asyncio.StreamWriter, head: bytes, piece: bytes, pause_s: float = 0.0) -> None:
    """Send the head, and the piece again and again, until the client goes away."""
    writer.write(head)
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause_s)


CHUNK = b"10000\r\n" + b" " * 0x10000 + b"\r\n"


@pytest.mark.parametrize(
    "head",
    [
        CHUNKED,
        HEAD + b"\r\n",
        HEAD + b"Content-Length: 99999999999\r\n\r\n",
        CHUNKED.replace(b"200 OK", b"500 No"),
    ],
    ids=["chunked", "until closed", "long length", "an error"],
)
def test_an_endless_body_ends_at_the_limit(head: bytes) -> None:
    piece = CHUNK if b"chunked" in head else b" " * 0x10000
    began_s = time.perf_counter()
    error = failure(lambda writer: for_ever(writer, head, piece))
    assert error.reason == "malformed"
    assert "longer than 8 MB" in str(error)
    assert "max_answer_mb" in str(error)
    assert time.perf_counter() - began_s < 30


def test_endless_bodies_take_little_memory() -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results, _ = outcome(lambda writer: for_ever(writer, CHUNKED, CHUNK), num=8)
    assert all(isinstance(result, TransientError) and result.reason == "malformed" for result in results)
    # Eight times the limit, and as much again while the pieces are joined.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 2 * 8 * MAX_MB * 1000 + 50_000


def bomb(wbits: int) -> bytes:
    """600 MB of JSON, packed: one megabyte's packed piece over and over."""
    packer = zlib.compressobj(wbits=wbits)
    start = packer.compress(b"[") + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(b" " * 1_000_000) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + piece * 600 + packer.flush()


PACKERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "deflate, raw": lambda data: zlib.compress(data, wbits=-15),
}


@pytest.mark.parametrize("packing", PACKERS)
def test_what_is_packed_unasked_is_unpacked(packing: str) -> None:
    data = PACKERS[packing](BODY)
    (result,), _ = outcome(lambda writer: plain(writer, packed_head(packing.split(",")[0], len(data)) + data))
    assert result == "yes"


@pytest.mark.parametrize(
    ("packing", "wbits"), [("gzip", 31), ("x-gzip", 31), ("deflate", zlib.MAX_WBITS), ("deflate", -15)]
)
def test_a_bomb_ends_at_the_limit_and_holds_nothing_up(packing: str, wbits: int) -> None:
    data = bomb(wbits)
    assert len(data) < 1_000_000
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results, held_up_s = outcome(lambda writer: plain(writer, packed_head(packing, len(data)) + data), num=4)
    for result in results:
        assert isinstance(result, TransientError)
        assert result.reason == "malformed"
        assert "longer than 8 MB" in str(result)
    assert held_up_s < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 250_000


@pytest.mark.parametrize(
    ("packing", "data"),
    [
        ("br", b"\x0b\x02\x80{}\x03"),
        ("zstd", b"\x28\xb5\x2f\xfd"),
        ("gzip, gzip", gzip.compress(gzip.compress(BODY))),
        ("\x01", BODY),
        ("gzip", BODY),
        ("gzip", gzip.compress(BODY)[:-20]),
        ("deflate", b"\x78\x9c"),
    ],
)
def test_what_can_not_be_unpacked_is_malformed(packing: str, data: bytes) -> None:
    error = failure(lambda writer: plain(writer, packed_head(packing, len(data)) + data))
    # The parser of HTTP may refuse a control character in a header itself.
    assert error.reason in ("malformed", "connection" if packing == "\x01" else "malformed")


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (HEAD + b"Content-Length: 1000\r\n\r\n", b" "),
        (CHUNKED, b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"a"),
        (b"HTT", b""),
        (CHUNKED + b"1;", b"x"),
    ],
    ids=["body", "chunks", "header", "status", "extension"],
)
def test_a_slow_server_ends_at_the_time_limit(head: bytes, piece: bytes) -> None:
    began_s = time.perf_counter()
    error = failure(lambda writer: for_ever(writer, head, piece, pause_s=0.05))
    assert error.reason == "timeout"
    assert TIMEOUT_S - 0.5 < time.perf_counter() - began_s < 30


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"a" * 10_000),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: a\r\n" * 1000),
        (b"HTTP/1.1 200 ", b"a" * 10_000),
        (b"", b"a" * 10_000),
        (CHUNKED + b"1;", b"x" * 10_000),
        (CHUNKED, b"0" * 10_000),
        (CHUNKED + b"0\r\n", b"X-A: a\r\n" * 1000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    ],
    ids=["long header", "many headers", "reason", "no HTTP", "extension", "size", "trailers", "continue"],
)
def test_an_endless_head_ends_in_time_and_memory(head: bytes, piece: bytes) -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began_s = time.perf_counter()
    error = failure(lambda writer: for_ever(writer, head, piece), SHORT_TIMEOUT_S)
    assert error.reason in ("connection", "timeout", "malformed")
    assert time.perf_counter() - began_s < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 200_000


def test_long_json_that_is_not_quite_json_is_not_read_slowly() -> None:
    body = b"[" + b"NaN," * 1_900_000 + b"1]"
    head = HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode()
    (result,), held_up_s = outcome(lambda writer: plain(writer, head + body))
    assert isinstance(result, TransientError)
    assert result.reason == "malformed"
    assert held_up_s < 1


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "unicode_escape", "raw-unicode-escape", "undefined", "hex", "zip"]
)
def test_no_notation_of_pythons_is_a_character_set(charset: str) -> None:
    body = b"\xff" + b"a" * 300_000 + b"-" + b"9" * 300_000
    head = HEAD.replace(b"json", f"json; charset={charset}".encode())
    head += f"Content-Length: {len(body)}\r\n\r\n".encode()
    began_s = time.process_time()
    assert failure(lambda writer: plain(writer, head + body)).reason == "malformed"
    assert time.process_time() - began_s < 5


def answer_with(message: dict[str, object]) -> bytes:
    body = json.dumps({**ANSWER, "choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    return HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    "message",
    [
        {"content": [{"type": "audio", "data": "A"}]},
        {"content": [{"type": "text", "text": "A"}, {"type": "image_url", "image_url": "x"}]},
        {"content": [{"type": "unheard_of", "text": "A"}]},
        {"content": [{"text": "A"}]},
        {"content": [{"type": "text"}]},
        {"content": [{"type": "text", "text": {"value": "A"}}]},
        {"content": [["A"]]},
        {"content": {"parts": ["A"]}},
        {"content": 7},
        {"content": True},
        {"content": None, "audio": {"transcript": "A"}},
        {"content": "", "parts": [{"text": "A"}]},
        {"content": None, "refusal": {"text": "A"}},
        {"text": "A", "content": None},
    ],
    ids=str,
)
def test_an_answer_that_is_not_understood_is_never_an_empty_one(message: dict[str, object]) -> None:
    assert failure(lambda writer: plain(writer, answer_with(message))).reason == "malformed"


def test_an_answer_just_below_the_limit_is_taken() -> None:
    text = "y" * int(MAX_MB * 1_000_000 - len(BODY))
    body = json.dumps(
        {**ANSWER, "choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
    ).encode()
    assert len(body) <= MAX_MB * 1_000_000
    head = HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode()
    (result,), _ = outcome(lambda writer: plain(writer, head + body))
    assert result == text


def test_every_client_over_http_has_the_limit(planted: Planted) -> None:
    planted.set("A_KEY")

    async def main() -> None:
        async with server(lambda writer: for_ever(writer, CHUNKED, CHUNK)) as url:
            client = AnthropicClient(model="m", base_url=url, headers_from_env={"x-api-key": "A_KEY"})
            client.max_answer_mb = 1.0
            client.configure(timeout_s=TIMEOUT_S)
            try:
                with pytest.raises(ClientError, match="longer than 1 MB"):
                    await client.send(Request("hello"))
            finally:
                await client.close()

    asyncio.run(main())


def test_a_new_endpoint_has_a_limit() -> None:
    async def main() -> None:
        async with server(lambda writer: plain(writer, HEAD + b"Content-Length: 64000001\r\n\r\n")) as url:
            endpoint = Endpoint(url, {})
            try:
                with pytest.raises(TransientError, match="longer than 64 MB"):
                    await endpoint.post({})
            finally:
                await endpoint.close()

    asyncio.run(main())
