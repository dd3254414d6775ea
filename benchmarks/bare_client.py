"""The yardstick of overhead.py: sends bodies to an endpoint with nothing around it, and keeps no answer.

    python benchmarks/bare_client.py aiohttp|openai URL BODIES.jsonl IN_FLIGHT

Prints the seconds from the first request to the last answer.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

Post = Callable[[dict[str, Any]], Awaitable[None]]


async def send_all(post: Post, bodies: list[dict[str, Any]], in_flight: int) -> float:
    """Post every body, at most `in_flight` at once; gives the seconds it took."""
    semaphore = asyncio.Semaphore(in_flight)

    async def send(body: dict[str, Any]) -> None:
        async with semaphore:
            await post(body)

    began_s = time.perf_counter()
    await asyncio.gather(*(send(body) for body in bodies))
    return time.perf_counter() - began_s


async def with_aiohttp(url: str, bodies: list[dict[str, Any]], in_flight: int) -> float:
    """One aiohttp session."""
    import aiohttp

    headers = {"Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def post(body: dict[str, Any]) -> None:
            async with session.post(f"{url}/v1/chat/completions", data=orjson.dumps(body)) as answer:
                check(orjson.loads(await answer.read()))

        return await send_all(post, bodies, in_flight)


async def with_openai(url: str, bodies: list[dict[str, Any]], in_flight: int) -> float:
    """The official SDK as it comes."""
    import openai

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:

        async def post(body: dict[str, Any]) -> None:
            check((await client.chat.completions.create(**body)).model_dump())

        return await send_all(post, bodies, in_flight)


def check(answer: dict[str, Any]) -> None:
    """Fail if this is not an answer."""
    if not isinstance(answer["choices"][0]["message"]["content"], str):
        raise TypeError("no text came back")


def main() -> None:
    """Read the bodies, send them, print the seconds."""
    kind, url, path, in_flight = sys.argv[1:]
    bodies = [orjson.loads(line) for line in Path(path).read_bytes().splitlines()]
    send = {"aiohttp": with_aiohttp, "openai": with_openai}[kind]
    print(asyncio.run(send(url, bodies, int(in_flight))))


if __name__ == "__main__":
    main()
