"""What evalkit adds to sending: 1,319 requests with five examples each, 64 in flight, to a loopback double.

    python benchmarks/overhead.py [--data-dir MIRROR] [--runs N] [--json]

The same bodies go to the same server in the same benchmark run from `evalkit run`, from a bare asyncio client
(aiohttp and orjson behind a semaphore) and, where it is installed, from the official openai SDK. With
`--data-dir` the requests are GSM8K's, else generated ones of its size.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path

from measure import EVALKIT, MODEL, PYTHON, Figure, Used, benchmark, double, median, run, write_deployment

HERE = Path(__file__).resolve().parent
IN_FLIGHT = 64
# Latency in ms to the goals: wall in s, CPU per request in ms, share of the bare client's throughput.
GOALS: dict[int, tuple[float | None, float | None, float | None]] = {
    50: (3.0, 1.5, None),
    0: (None, None, 0.55),
}


@dataclass(frozen=True, slots=True)
class Sent:
    """One sender's medians.

    Attributes:
        used: The whole process.
        sending_s: From the first request to the last answer.
    """

    used: Used
    sending_s: float


@dataclass(frozen=True, slots=True)
class Task:
    """What is run.

    Attributes:
        arguments: Of `evalkit run`, without model files.
        bodies: A file with the body of each request.
    """

    arguments: tuple[str, ...]
    bodies: Path
    num_requests: int


def prepare(data_dir: Path | None, folder: Path) -> Task:
    """Let evalkit plan the requests, and write them as bodies for the other clients."""
    arguments = ["--run-entries", f"word_problems:model={MODEL}", "--plugin", str(HERE / "word_problems.py")]
    if data_dir is not None:
        arguments = ["--run-entries", f"gsm:model={MODEL}", "--data-dir", str(data_dir)]
    deployments = write_deployment(folder, "http://127.0.0.1:9", IN_FLIGHT)
    plan = [EVALKIT, "plan", *arguments, "--model-deployments", str(deployments), "--requests", "--json"]
    run(plan, folder)
    requests = [json.loads(line) for line in (folder / "output.txt").read_bytes().splitlines()]
    bodies = folder / "bodies.jsonl"
    with bodies.open("w", encoding="utf-8") as file:
        for request in requests:
            body = {
                "model": MODEL,
                "messages": [{"role": "user", "content": request["prompt"]}],
                "max_tokens": request["max_tokens"],
                "temperature": request["temperature"],
                "stop": request["stop_sequences"],
            }
            file.write(json.dumps(body) + "\n")
    return Task(tuple(arguments), bodies, len(requests))


class Senders:
    """Sends a task to one server by several clients, in turn, so that noise falls on all alike."""

    def __init__(self, task: Task, url: str, folder: Path) -> None:
        self._task, self._url, self._folder = task, url, folder
        self._deployments = write_deployment(folder, url, IN_FLIGHT)
        self._num_runs = 0

    def medians(self, runs: int) -> dict[str, Sent]:
        """By sender: evalkit, a run of one request (`start-up`), bare, and openai if it is installed."""
        sends = {"evalkit": self._evalkit, "start-up": self._start_up, "bare": self._bare}
        if importlib.util.find_spec("openai") is not None:
            sends["openai"] = self._openai
        seen: dict[str, list[Sent]] = {name: [] for name in sends}
        for _ in range(runs):
            for name, send in sends.items():
                seen[name].append(send())
        return {
            name: Sent(median([s.used for s in sent]), statistics.median(s.sending_s for s in sent))
            for name, sent in seen.items()
        }

    def _evalkit(self, limit: int | None = None) -> Sent:
        self._num_runs += 1
        output = self._folder / f"output-{self._num_runs}"
        num_requests = limit or self._task.num_requests
        command = [EVALKIT, "run", *self._task.arguments, "--model-deployments", str(self._deployments)]
        used = run([*command, "-m", str(num_requests), "-o", str(output)], self._folder)
        (journal,) = output.glob("runs/*/*/journal.jsonl")
        return Sent(used, sending_s(journal, num_requests))

    def _start_up(self) -> Sent:
        return self._evalkit(limit=1)

    def _bare(self) -> Sent:
        return self._client("aiohttp")

    def _openai(self) -> Sent:
        return self._client("openai")

    def _client(self, kind: str) -> Sent:
        script = str(HERE / "bare_client.py")
        used = run([PYTHON, script, kind, self._url, str(self._task.bodies), str(IN_FLIGHT)], self._folder)
        return Sent(used, float((self._folder / "output.txt").read_text(encoding="utf-8")))


def sending_s(journal: Path, num_requests: int) -> float:
    """Seconds from the first request sent to the last answer written, as the journal tells."""
    with journal.open(encoding="utf-8") as file:
        records = [record for line in file if "key" in (record := json.loads(line))]
    if len(records) != num_requests or not all("response" in record for record in records):
        raise SystemExit(f"{journal} has {len(records)} lines for {num_requests} requests")
    first_sent = min(record["at"] - record["response"]["latency_s"] for record in records)
    return float(max(record["at"] for record in records) - first_sent)


def figures_of(latency_ms: int, num_requests: int, sent: dict[str, Sent]) -> list[Figure]:
    """What is reported for one latency."""
    at = f"at {latency_ms} ms"
    start_up_s = sent["start-up"].used.wall_s - latency_ms / 1000
    figures = evalkit_figures(latency_ms, num_requests, sent, start_up_s)
    figures.append(Figure(f"evalkit {at}: start-up, from a run of one request", start_up_s, "s"))
    for name in ("bare", "openai"):
        if name in sent:
            used = sent[name].used
            figures += [
                Figure(f"{name} {at}: wall", used.wall_s, "s"),
                Figure(f"{name} {at}: CPU per request", used.cpu_s * 1000 / num_requests, "ms"),
                Figure(f"{name} {at}: sending phase", sent[name].sending_s, "s"),
            ]
    return figures


def evalkit_figures(
    latency_ms: int, num_requests: int, sent: dict[str, Sent], start_up_s: float
) -> list[Figure]:
    """Evalkit's own figures.

    The sending phase by the journal may miss some milliseconds at its beginning; wall less start-up has all
    scoring and writing in it, which the bare client does not do. The truth lies between the two.
    """
    ours, bare, start_up = sent["evalkit"], sent["bare"], sent["start-up"]
    name = f"evalkit at {latency_ms} ms"
    wall_goal_s, cpu_goal_ms, throughput_goal = GOALS[latency_ms]
    least_s = math.ceil(num_requests / IN_FLIGHT) * latency_ms / 1000
    wall_ratios = {"bare": ours.used.wall_s / bare.used.wall_s}
    if latency_ms:
        wall_ratios["latency and start-up"] = ours.used.wall_s / (least_s + start_up_s)
    cpu_ratios = {"bare": ours.used.cpu_s / bare.used.cpu_s}
    cpu_ms = ours.used.cpu_s * 1000 / num_requests
    sending_cpu_ms = (ours.used.cpu_s - start_up.used.cpu_s) * 1000 / num_requests
    after_start_up_s = ours.used.wall_s - start_up_s
    return [
        Figure(f"{name}: wall", ours.used.wall_s, "s", wall_goal_s, ratios=wall_ratios),
        Figure(f"{name}: CPU per request", cpu_ms, "ms", cpu_goal_ms, ratios=cpu_ratios),
        Figure(f"{name}: CPU per request, start-up taken off", sending_cpu_ms, "ms"),
        Figure(f"{name}: sending phase", ours.sending_s, "s"),
        Figure(f"{name}: wall less start-up", after_start_up_s, "s"),
        Figure(
            f"{name}: throughput over bare, sending phase",
            bare.sending_s / ours.sending_s,
            "",
            throughput_goal,
            at_least=True,
        ),
        Figure(f"{name}: throughput over bare, wall less start-up", bare.sending_s / after_start_up_s, ""),
        Figure(f"{name}: throughput over bare, whole process", 1 / wall_ratios["bare"], ""),
    ]


def measure(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """All figures, by latency."""
    task = prepare(options.data_dir and options.data_dir.resolve(), folder)
    figures: list[Figure] = []
    for latency_ms in GOALS:
        with double(latency_ms, folder) as url:
            place = folder / f"{latency_ms}ms"
            place.mkdir()
            sent = Senders(task, url, place).medians(options.runs)
        figures += figures_of(latency_ms, task.num_requests, sent)
    return figures


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python benchmarks/overhead.py")
    parser.add_argument("--data-dir", type=Path, help="mirror of benchmark files: send the real GSM8K")
    benchmark(parser, measure, runs=5)


if __name__ == "__main__":
    main()
