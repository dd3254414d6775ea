"""What a line of the journal costs: making it, its checksum, appending it, and looking through it again.

    python benchmarks/journal.py [--runs N] [--json]

In processor time of one thread, for lines of 2 kB (a question with five examples and a short answer). Both
sides of a comparison are measured in turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from evalkit.execution.journal import Journal
from evalkit.execution.journal_index import Units, scan_journal
from evalkit.execution.journal_line import JournalOwner, record_line
from evalkit.request import Request, RequestState
from evalkit.response import Completion, Efficiency, Response, Usage
from measure import Figure, benchmark

NUM_LINES = 2_000
LINE_BYTES = 2_000
GOAL_CHECKSUM_US = 3.0
OWNER = JournalOwner("0" * 64)


def made(number: int, prompt: str) -> tuple[RequestState, Response]:
    """A request and its answer, as a run of GSM8K has them."""
    state = RequestState(
        f"t0/id{number}",
        f"id{number}",
        0,
        Request(prompt, temperature=0.0, max_tokens=400),
        num_train_instances=5,
    )
    answer = Response(
        (Completion("The answer is 42.", "stop"),),
        Usage(480, 9),
        0.0512,
        "double",
        efficiency=Efficiency(1e9, 0.01),
    )
    return state, answer


def lines_of_2_kb() -> list[tuple[RequestState, Response]]:
    """Requests and answers whose lines have the length that the goal is set for."""
    bare = len(record_line(*made(1000, ""), OWNER.seed))
    prompt = ("Question: how many apples are left? Answer: 42.\n" * 100)[: LINE_BYTES - bare]
    prompt = prompt[: len(prompt) - prompt.count("\n")]  # of which each takes two bytes in JSON
    return [made(number, prompt) for number in range(NUM_LINES)]


def cost_us(work: Callable[[], object]) -> float:
    """Processor time per line."""
    began_s = time.process_time()
    work()
    return (time.process_time() - began_s) / NUM_LINES * 1e6


def with_checksums(bodies: list[bytes]) -> None:
    """What a checksum adds to a line that is made already."""
    for body in bodies:
        b'%b,"crc32":"%08x"}\n' % (body, zlib.crc32(body, OWNER.seed))


def without_checksums(bodies: list[bytes]) -> None:
    """The same without."""
    for body in bodies:
        b"%b}\n" % body


def read_sums(lines: list[bytes]) -> None:
    """What looking at the checksum adds to reading a line."""
    for line in lines:
        line.endswith(b',"crc32":"%08x"}\n' % zlib.crc32(memoryview(line)[:-20], OWNER.seed))


def measure(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """The median cost of each step."""
    pairs = lines_of_2_kb()
    lines = [record_line(*pair, OWNER.seed) for pair in pairs]
    bodies = [line[:-20] for line in lines]
    path = folder / "journal.jsonl"
    units = Units({(state.instance_id, None) for state, _ in pairs}, 1, 1)

    def append() -> None:
        path.unlink(missing_ok=True)
        with Journal.open(path, OWNER) as journal:
            for pair in pairs:
                journal.append(*pair)

    steps: dict[str, Callable[[], object]] = {
        "with": partial(with_checksums, bodies),
        "without": partial(without_checksums, bodies),
        "make": lambda: [record_line(*pair, OWNER.seed) for pair in pairs],
        "append": append,
        "sums": partial(read_sums, lines),
        "scan": lambda: scan_journal(path, OWNER.requests, units),
    }
    seen: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(options.runs + 1):
        for name, work in steps.items():
            used = cost_us(work)
            if turn:  # the first warms up
                seen[name].append(used)
    median = {name: statistics.median(values) for name, values in seen.items()}
    added = statistics.median(a - b for a, b in zip(seen["with"], seen["without"], strict=True))
    return [
        Figure(
            "checksum of a line, writing",
            added,
            "µs",
            GOAL_CHECKSUM_US,
            ratios={"the line": added / median["make"]},
        ),
        Figure("checksum of a line, reading", median["sums"], "µs", GOAL_CHECKSUM_US),
        Figure("a line, with its checksum", median["make"], "µs"),
        Figure("a line, made and appended", median["append"], "µs"),
        Figure("a line, looked through at a resume", median["scan"], "µs"),
    ]


if __name__ == "__main__":
    benchmark(argparse.ArgumentParser(prog="python benchmarks/journal.py"), measure, runs=15)
