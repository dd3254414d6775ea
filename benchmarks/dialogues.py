"""Dialogues of two turns: over HTTP against a bare client, and on a local engine against one with a barrier.

    python benchmarks/dialogues.py [--runs N] [--json] [--only http|local] [--dialogues N] [--paired N]

Over HTTP, 1,319 dialogues go to a loopback double that answers after 50 ms, 64 requests in flight, from
`evalkit run` and from a bare aiohttp client that does the same. On a local engine (a small random Llama), a
second turn is asked as soon as its first is answered; the other side asks all first turns, waits for the
last, and then asks all second turns. Pairs are measured in turn, in changing order; intervals are over pairs.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.adapters.dialogue import DialogueAdapter
from evalkit.clients.transformers.client import TransformersClient
from evalkit.execution.executor import Executor
from evalkit.execution.sender import Sender
from evalkit.instance import Instance
from evalkit.models.deployment import Limits
from evalkit.request import RequestState
from evalkit.response import Response
from evalkit.specs.run_spec import AdapterSpec
from measure import EVALKIT, MODEL, PYTHON, Figure, benchmark, double, run, write_deployment
from overhead import sending_s
from tiny_models import random_llama
from two_turns import problems

HERE = Path(__file__).resolve().parent
IN_FLIGHT, LATENCY_MS = 64, 50
MOST_OVER_BARE, LEAST_OVER_BARRIER = 1.1, 0.98
# Student's t for a two-sided interval of 95 %, by degrees of freedom.
_T = {1: 12.7, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 14: 2.14, 19: 2.09}
# The model has no end token: with a stop sequence answers differ in length, as they do in earnest.
STOP = ("o",)
Answers = list[tuple[RequestState, Response]]


def interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Mean of paired ratios, by their logarithms, and its interval of 95 %."""
    logs = [math.log(ratio) for ratio in ratios]
    mean = statistics.fmean(logs)
    if len(logs) < 2:
        return math.exp(mean), 0.0, math.inf
    freedom = max(known for known in _T if known < len(logs))
    half = _T[freedom] * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def over_http(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """Evalkit and the bare client, in turn."""
    spec = ["--run-entries", f"two_turns:model={MODEL}", "--plugin", str(HERE / "two_turns.py")]
    with double(LATENCY_MS, folder) as url:
        deployments = write_deployment(folder, url, IN_FLIGHT)
        arguments = [*spec, "--model-deployments", str(deployments)]
        run([EVALKIT, "plan", *arguments, "--requests", "--json"], folder)
        bodies = folder / "dialogues.jsonl"
        (folder / "output.txt").rename(bodies)
        num_requests = 2 * len(bodies.read_bytes().splitlines())
        ours_s, bare_s, cpu_ratios = [], [], []
        for number in range(options.runs):
            output = folder / f"output-{number}"
            used = run([EVALKIT, "run", *arguments, "-o", str(output)], folder)
            (journal,) = output.glob("runs/*/*/journal.jsonl")
            ours_s.append(sending_s(journal, num_requests))
            bare = run([PYTHON, str(HERE / "dialogues.py"), "--bare", url, str(bodies)], folder)
            bare_s.append(float((folder / "output.txt").read_text(encoding="utf-8")))
            cpu_ratios.append(used.cpu_s / bare.cpu_s)
    mean, low, high = interval([ours / bare for ours, bare in zip(ours_s, bare_s, strict=True)])
    least_s = math.ceil(num_requests / IN_FLIGHT) * LATENCY_MS / 1000
    name = f"{num_requests:,} requests of two turns at {LATENCY_MS} ms"
    return [
        Figure(
            f"{name}: sending phase",
            statistics.median(ours_s),
            "s",
            ratios={"latency": mean_of(ours_s) / least_s},
        ),
        Figure(
            "the bare client's", statistics.median(bare_s), "s", ratios={"latency": mean_of(bare_s) / least_s}
        ),
        Figure("sending phase over the bare client's", mean, "", MOST_OVER_BARE),
        Figure("… its interval, from", low, ""),
        Figure("… to", high, ""),
        Figure("CPU of the whole process over the bare client's", statistics.median(cpu_ratios), ""),
    ]


def mean_of(values: Sequence[float]) -> float:
    """The mean."""
    return statistics.fmean(values)


async def send_bare(url: str, dialogues: list[dict[str, Any]]) -> float:
    """Both turns of each dialogue, at most 64 requests at once; the seconds it took."""
    import aiohttp
    import orjson

    semaphore = asyncio.Semaphore(IN_FLIGHT)
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def post(body: dict[str, Any]) -> str:
            data = orjson.dumps(body)
            async with semaphore, session.post(f"{url}/v1/chat/completions", data=data) as answer:
                text: str = orjson.loads(await answer.read())["choices"][0]["message"]["content"]
                return text

        async def converse(dialogue: dict[str, Any]) -> None:
            messages = list(dialogue["messages"])
            body = {
                "model": MODEL,
                "messages": messages,
                "max_tokens": dialogue["max_tokens"],
                "temperature": 0,
            }
            text = await post(body)
            for follow_up in dialogue["follow_ups"]:
                messages += [{"role": "assistant", "content": text}, {"role": "user", "content": follow_up}]
                text = await post(body)

        began_s = time.perf_counter()
        await asyncio.gather(*map(converse, dialogues))
        return time.perf_counter() - began_s


@dataclass(frozen=True, slots=True)
class Local:
    """A local engine, opened once, and the dialogues that it is asked.

    Attributes:
        executor: Over the engine.
        adapter: Makes the turns.
    """

    executor: Executor
    adapter: DialogueAdapter

    async def at_once(self, instances: Sequence[Instance]) -> Answers:
        """Each second turn as soon as its first is answered."""
        by_id = {instance.id: instance for instance in instances}
        stream = self.executor.open_stream(self.adapter.requests(instances, []))
        answers: Answers = []
        async for finished in stream.batches():
            for state, outcome in finished:
                stream.push(*self._after(by_id, state, outcome))
                answers.append((state, _answered(outcome)))
        return answers

    async def with_barrier(self, instances: Sequence[Instance]) -> Answers:
        """All first turns, then all second turns."""
        by_id = {instance.id: instance for instance in instances}
        answers: Answers = []
        states = list(self.adapter.requests(instances, []))
        while states:
            following: list[RequestState] = []
            async for state, outcome in self.executor.stream(states):
                following += self._after(by_id, state, outcome)
                answers.append((state, _answered(outcome)))
            states = following
        return answers

    def _after(
        self, by_id: dict[str | None, Instance], state: RequestState, outcome: object
    ) -> Iterable[RequestState]:
        return self.adapter.after(by_id[state.instance_id], state, _answered(outcome))


def _answered(outcome: object) -> Response:
    if not isinstance(outcome, Response):
        raise SystemExit(f"a request failed: {outcome}")
    return outcome


async def on_local_engine(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """When second turns are computed, by the engine's record; and both sides in pairs."""
    model = random_llama(folder / "model", hidden=options.hidden, layers=options.layers)
    client = TransformersClient(model=str(model), device_map=options.device)
    spec = AdapterSpec(
        method="dialogue",
        max_train_instances=0,
        num_outputs=1,
        max_tokens=options.max_tokens,
        stop_sequences=STOP,
        temperature=0,
    )
    gc.set_threshold(20_000, *gc.get_threshold()[1:])  # as in a run
    local = Local(Executor(Sender(client, name="local", limits=Limits())), DialogueAdapter(spec))
    try:
        await local.at_once(list(problems(64, 5, 15)))
        answers = await local.at_once(list(problems(options.dialogues, 5, 15)))
        figures = record_of(answers, options.dialogues)
        few = list(problems(options.paired, 5, 15))
        for side in (local.at_once, local.with_barrier):
            await timed(side, few)  # the first of all is slower
        wall, cpu = [], []
        for number in range(options.pairs):
            taken: dict[str, tuple[float, float]] = {}
            sides = {"at once": local.at_once, "barrier": local.with_barrier}
            for name in sorted(sides, reverse=bool(number % 2)):
                taken[name] = await timed(sides[name], few)
            wall.append(taken["barrier"][0] / taken["at once"][0])
            cpu.append(taken["barrier"][1] / taken["at once"][1])
    finally:
        await local.executor.sender.close()
    for name, ratios in (("", wall), (" by processor time", cpu)):
        mean, low, high = interval(ratios)
        what = f"{options.paired:,} dialogues: throughput over one with a barrier{name}"
        figures += [
            Figure(f"{what}, {len(ratios)} pairs", mean, ""),
            Figure("… its interval, from", low, "", LEAST_OVER_BARRIER, at_least=True),
            Figure("… to", high, ""),
        ]
    return figures


async def timed(
    side: Callable[[Sequence[Instance]], Any], instances: Sequence[Instance]
) -> tuple[float, float]:
    """Seconds by the clock, and of processor time."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    answers = await side(instances)
    if len(answers) != 2 * len(instances):
        raise SystemExit(f"{len(answers)} answers to {2 * len(instances)} requests")
    return time.perf_counter() - began_s, time.process_time() - began_cpu_s


def record_of(answers: Answers, num_dialogues: int) -> list[Figure]:
    """When turns were computed, by the engine's own record."""
    began: dict[int | None, list[float]] = {1: [], 2: []}
    for state, response in answers:
        assert response.efficiency is not None
        began[state.turn].append(response.efficiency.started_at)
    if len(began[1]) != num_dialogues or len(began[2]) != num_dialogues:
        raise SystemExit("not every turn was answered")
    early = sum(at < max(began[1]) for at in began[2]) / num_dialogues
    return [
        Figure(
            f"{num_dialogues:,} dialogues: second turns begun before the last first turn",
            early,
            "",
            1 / num_dialogues,
            at_least=True,
        ),
        Figure("… the first of them before the last first turn by", max(began[1]) - min(began[2]), "s"),
    ]


def measure(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """All figures that are wanted."""
    figures: list[Figure] = []
    if options.only != "local":
        figures += over_http(options, folder)
    if options.only != "http":
        figures += asyncio.run(on_local_engine(options, folder))
    return figures


def main() -> None:
    """Measure and report; or be the bare client."""
    if sys.argv[1:2] == ["--bare"]:
        url, path = sys.argv[2:]
        lines = Path(path).read_bytes().splitlines()
        print(asyncio.run(send_bare(url, [json.loads(line) for line in lines])))
        return
    parser = argparse.ArgumentParser(prog="python benchmarks/dialogues.py")
    parser.add_argument("--only", choices=("http", "local"), help="one half")
    parser.add_argument("--dialogues", type=int, default=6000, help="on the local engine")
    parser.add_argument("--paired", type=int, default=1000, help="dialogues of each side of a pair")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    benchmark(parser, measure, runs=10)


if __name__ == "__main__":
    main()
