"""Servers that reject requests: by chance, beyond a number at once, or beyond a rate; all hide which.

    python benchmarks/rejections.py [--only NAME …] [--json]

The server is its own loopback process. Where rejections are drawn (10 % 429 with Retry-After, 5 % 500,
2 % drops), each attempt of each request has its own draw, so a simulated client that waits only where it must
meets the very same ones. Where a capacity is the limit, what the server did from the fourth second on is
counted over 10,000 requests; of a number at once, the part that was taken on average. Next to it is what a
client gets that is told the number. The exit code is 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.clients.openai import OpenAIClient
from evalkit.execution.executor import Executor
from evalkit.execution.sender import Sender
from evalkit.models.deployment import Limits
from evalkit.request import Request, RequestState
from evalkit.response import Response
from measure import PYTHON, Figure, environment, print_table

if TYPE_CHECKING:
    from aiohttp import web

FAULTS = (("429", 0.10), ("500", 0.05), ("drop", 0.02))
WARM_UP_S = 3.0
NUM_COUNTED = 10_000
LogLine = tuple[float, str, float]
ANSWER = json.dumps(
    {
        "choices": [{"message": {"content": "4"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1},
    }
).encode()


@dataclass(frozen=True, slots=True)
class Case:
    """A server and how it is asked.

    Attributes:
        cap: Requests it works on at once; 0: any number.
        per_s: Requests it takes per second; 0: any number.
        burst: How many it takes at once after a quiet time, where it has a rate.
        concurrency: The most that may be in flight, from the start on.
        seed: Of the draws; None: nothing is drawn.
    """

    name: str
    latency_s: float
    concurrency: int
    num_requests: int
    cap: int = 0
    per_s: float = 0.0
    burst: float = 0.0
    seed: int | None = None
    retry_after_s: float = 1.0


# Latencies such that the capacity, not this machine, is what is reached.
CASES = (
    Case("by chance", 0.05, 64, 1319, seed=0),
    Case("cap of 8", 0.05, 64, 11_500, cap=8),
    Case("cap of 32", 0.1, 64, 12_500, cap=32),
    Case("cap of 200", 0.4, 512, 13_500, cap=200),
    Case("token bucket", 0.05, 64, 13_000, per_s=400.0, burst=40.0),
)


def fate(seed: int, prompt: str, attempt: int) -> str:
    """What becomes of an attempt: the same in whatever order requests come."""
    drawn = random.Random(f"{seed}/{prompt}/{attempt}").random()
    for what, share in FAULTS:
        if drawn < share:
            return what
        drawn -= share
    return "ok"


class Server:
    """Rejects as its case says; logs when an attempt ended, how, and the request-seconds worked so far."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._attempts: dict[str, int] = {}
        self._in_work, self._worked_s, self._changed_at = 0, 0.0, time.monotonic()
        self._left, self._at = case.burst, 0.0
        self._log: list[LogLine] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        from aiohttp import web

        if request.path == "/log":
            return web.Response(body=json.dumps(self._log).encode())
        body = json.loads(await request.read())
        what = self._verdict(body["messages"][-1]["content"])
        if what == "ok" or self._case.seed is not None:
            self._change(1)
            await asyncio.sleep(self._case.latency_s)
            self._change(-1)
        self._log.append((time.monotonic(), what, self._worked_s))
        if what == "drop":
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if what == "ok":
            return web.Response(body=ANSWER, content_type="application/json")
        headers = {"Retry-After": f"{self._case.retry_after_s:g}"} if what == "429" else {}
        error = b'{"error": {"message": "no"}}'
        return web.Response(status=int(what), body=error, headers=headers, content_type="application/json")

    def _change(self, by: int) -> None:
        """One more or fewer in work."""
        now = time.monotonic()
        self._worked_s += self._in_work * (now - self._changed_at)
        self._in_work += by
        self._changed_at = now

    def _verdict(self, prompt: str) -> str:
        case = self._case
        if case.seed is not None:
            attempt = self._attempts[prompt] = self._attempts.get(prompt, 0) + 1
            return fate(case.seed, prompt, attempt)
        if case.cap and self._in_work >= case.cap:
            return "429"
        if case.per_s:
            now = time.monotonic()
            self._left = min(case.burst, self._left + (now - self._at) * case.per_s)
            self._at = now
            if self._left < 1:
                return "429"
            self._left -= 1
        return "ok"


async def serve(case: Case) -> None:
    """Serve until killed; the first line printed is the URL."""
    from aiohttp import web
    from aiohttp.web_runner import ServerRunner

    runner = ServerRunner(web.Server(Server(case).handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


@contextmanager
def server(case: Case, folder: Path) -> Iterator[str]:
    """The case's server in its own process; gives its URL."""
    process = subprocess.Popen(
        [PYTHON, str(Path(__file__).resolve()), "--serve", json.dumps(asdict(case))],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().decode().strip()
        if not url:
            raise SystemExit("the server did not start")
        yield url
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


async def send_all(case: Case, url: str) -> list[LogLine]:
    """Send a case's requests through the executor; the server's log, from its first line on at 0 s."""
    import aiohttp

    limits = Limits(max_concurrency=case.concurrency, initial_concurrency=case.concurrency, max_attempts=20)
    client = OpenAIClient(model="double", base_url=f"{url}/v1")
    executor = Executor(Sender(client, name="double", limits=limits))
    states = (
        RequestState(str(n), str(n), 0, Request(str(n), max_tokens=5)) for n in range(case.num_requests)
    )
    began_s = time.monotonic()
    async for _, outcome in executor.stream(states):
        if not isinstance(outcome, Response):
            raise SystemExit(f"a request failed: {outcome}")
    await executor.sender.close()
    async with aiohttp.ClientSession() as session, session.get(f"{url}/log") as answer:
        log = json.loads(await answer.read())
    # The clock is the machine's, the same for both processes.
    return [(at - began_s, what, worked_s) for at, what, worked_s in log]


async def send_knowing(case: Case, url: str, num_requests: int) -> list[LogLine]:
    """Send as many at once as the server works on, by a bare client; the server's log."""
    import aiohttp

    free = asyncio.Semaphore(case.cap)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def send(number: int) -> None:
            body = {"messages": [{"content": str(number)}]}
            async with free, session.post(f"{url}/v1/chat/completions", json=body) as answer:
                await answer.read()

        await asyncio.gather(*(send(number) for number in range(num_requests)))
        async with session.get(f"{url}/log") as answer:
            return [tuple(line) for line in json.loads(await answer.read())]


def part_worked(log: list[LogLine], cap: int) -> float:
    """The part of a server's places that was taken on average."""
    (first_s, _, first_work_s), (last_s, _, last_work_s) = log[0], log[-1]
    return (last_work_s - first_work_s) / (last_s - first_s) / cap


def ideal_s(case: Case) -> float:
    """What a client takes that has all the requests out that it may, and waits only where it is told to."""
    assert case.seed is not None
    free = [0.0] * case.concurrency
    ready = [(0.0, n, 1) for n in range(case.num_requests)]
    end_s = 0.0
    while ready:
        ready_s, number, attempt = heapq.heappop(ready)
        back_s = max(ready_s, heapq.heappop(free)) + case.latency_s
        heapq.heappush(free, back_s)
        end_s = max(end_s, back_s)
        if (what := fate(case.seed, str(number), attempt)) != "ok":
            wait_s = case.retry_after_s if what == "429" else 0.0
            heapq.heappush(ready, (back_s + wait_s, number, attempt + 1))
    return end_s


def by_chance(case: Case, folder: Path, runs: int) -> list[Figure]:
    """Sending against the ideal client's, each time with other draws."""
    took, least = [], []
    for seed in range(runs):
        drawn = replace(case, seed=seed)
        with server(drawn, folder) as url:
            took.append(asyncio.run(send_all(drawn, url))[-1][0])
        least.append(ideal_s(drawn))
    ratio = statistics.median(mine / its for mine, its in zip(took, least, strict=True))
    return [
        Figure(f"{case.name}: sending", statistics.median(took), "s"),
        Figure(f"{case.name}: sending of the ideal client, same draws", statistics.median(least), "s"),
        Figure(f"{case.name}: times the ideal client", ratio, "", 1.5),
    ]


def by_load(case: Case, folder: Path) -> list[Figure]:
    """Which part of the capacity is used, and which of the requests is rejected."""
    with server(case, folder) as url:
        log = asyncio.run(send_all(case, url))
    counted = [line for line in log if line[0] >= WARM_UP_S][:NUM_COUNTED]
    if len(counted) < NUM_COUNTED:
        raise SystemExit(f"{case.name}: only {len(counted)} requests after the first {WARM_UP_S:g} s")
    answered = sum(what == "ok" for _, what, _ in counted)
    ratios = {}
    if case.cap:
        used = part_worked(counted, case.cap)
        with server(case, folder) as url:
            log = asyncio.run(send_knowing(case, url, 2000 + 2 * case.cap))
        ratios["a client that knows it"] = used / part_worked(log[case.cap : -case.cap], case.cap)
    else:
        used = answered / (counted[-1][0] - counted[0][0]) / case.per_s
    return [
        Figure(f"{case.name}: part of the capacity used", used, "", 0.9, at_least=True, ratios=ratios),
        Figure(f"{case.name}: part of the requests rejected", 1 - answered / len(counted), "", 0.05),
    ]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python benchmarks/rejections.py")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="+", choices=[case.name for case in CASES], help="these cases")
    parser.add_argument("--runs", type=int, default=5, help="draws by chance (default 5)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(Case(**json.loads(options.serve))))
        return
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="evalkit-benchmark-") as name:
        for case in CASES:
            if options.only and case.name not in options.only:
                continue
            if case.seed is None:
                figures += by_load(case, Path(name))
            else:
                figures += by_chance(case, Path(name), options.runs)
    if options.json:
        print(json.dumps([{**asdict(figure), "met": figure.met} for figure in figures], indent=2))
    else:
        print_table(figures)
    sys.exit(any(figure.met is False for figure in figures))


if __name__ == "__main__":
    main()
