"""MT-Bench judged while answers come: the sending phase against the best schedule that there is.

    python benchmarks/judging.py [--runs N] [--json]

80 questions of two turns, each turn rated by a judge: 160 answers and 160 judgements, each of which takes 200
ms at a loopback double. The sending phase lasts from the first request to the last line of both journals. A
second turn needs the answer to the first, and a judgement the answer that it is about, so with room for all
nothing is sooner than three times 200 ms. With 64 in flight of each, the best schedule is searched for. A
bare client that judges when all answers are there, as FastChat does, is measured next to it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measure import EVALKIT, Figure, benchmark, double, run

NUM_QUESTIONS, LATENCY_MS = 80, 200
WITH_ROOM, FEW = 160, 64
MOST_OVER_LATENCIES, MOST_OVER_BEST = 1.3, 1.25
CATEGORIES = ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
RATING = "Rating: [[7]]"
PROMPTS = {
    "single-v1": "{question}\n\n{answer}",
    "single-v1-multi-turn": "{question_1}\n\n{answer_1}\n\n{question_2}\n\n{answer_2}",
    "single-math-v1": "{question}\n\n{ref_answer_1}\n\n{answer}",
    "single-math-v1-multi-turn": (
        "{question_1}\n\n{ref_answer_1}\n\n{answer_1}\n\n{question_2}\n\n{ref_answer_2}\n\n{answer_2}"
    ),
}


def best_s(most_answers: int, most_judgements: int) -> float:
    """The shortest sending phase: the fewest rounds of 200 ms in which all can be asked, times that."""
    # A state: first turns not asked, second turns that can be asked, judgements that can be asked.
    states, rounds = {(NUM_QUESTIONS, 0, 0)}, 0
    while (0, 0, 0) not in states:
        states = {after for state in states for after in _rounds(*state, most_answers, most_judgements)}
        rounds += 1
    return rounds * LATENCY_MS / 1000


def _rounds(
    firsts: int, seconds: int, judgements: int, most_answers: int, most_judgements: int
) -> Iterator[tuple[int, int, int]]:
    """What can be left after a round in which no place stays empty that could be filled."""
    num_answers = min(most_answers, firsts + seconds)
    left = max(0, judgements - most_judgements)
    for num_firsts in range(max(0, num_answers - seconds), min(firsts, num_answers) + 1):
        num_seconds = num_answers - num_firsts
        yield firsts - num_firsts, seconds - num_seconds + num_firsts, left + num_answers


def write_files(folder: Path) -> None:
    """Questions, and judge prompts whose last line is what the double answers."""
    questions = [
        {
            "question_id": number,
            "category": CATEGORIES[number % len(CATEGORIES)],
            "turns": [f"Question {number}?", f"And then, {number}?"],
        }
        for number in range(NUM_QUESTIONS)
    ]
    prompts = [
        {"name": name, "system_prompt": "You rate.", "prompt_template": f"{text}\n{RATING}"}
        for name, text in PROMPTS.items()
    ]
    for name, rows in (("question", questions), ("judge_prompts", prompts)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def write_deployments(folder: Path, url: str, in_flight: int | None) -> None:
    """Who answers and who judges; each sends `in_flight` requests at once, None: the default limits."""
    limits = {} if in_flight is None else {"max_concurrency": in_flight, "initial_concurrency": in_flight}
    deployments = [
        {
            "name": f"double/{name}",
            "client_spec": {"class_name": "openai", "args": {"base_url": f"{url}/v1", "model": name}},
            "limits": limits,
        }
        for name in ("model", "judge")
    ]
    # JSON is YAML.
    path = folder / "deployments.yaml"
    path.write_text(json.dumps({"model_deployments": deployments}), encoding="utf-8")


def sending_s(output: Path) -> float:
    """Seconds from the first request sent to the last line of any journal."""
    answers = list(_records(next(output.glob("runs/*/*/journal.jsonl"))))
    judgements = list(_records(next(output.glob("runs/*/*/judgements/*.jsonl"))))
    if len(answers) != 2 * NUM_QUESTIONS or len(judgements) != 2 * NUM_QUESTIONS:
        raise SystemExit(f"{len(answers)} answers and {len(judgements)} judgements")
    first_sent = min(record["at"] - record["response"]["latency_s"] for record in answers)
    return float(max(record["at"] for record in (*answers, *judgements)) - first_sent)


def _records(journal: Path) -> Iterator[dict[str, Any]]:
    with journal.open(encoding="utf-8") as file:
        for line in file:
            if "response" in (record := json.loads(line)):
                yield record


def evalkit_s(folder: Path, url: str, in_flight: int | None, number: int) -> float:
    """The sending phase of one run."""
    write_deployments(folder, url, in_flight)
    output = folder / f"output-{in_flight}-{number}"
    entry = (
        "mt_bench_en:questions=./question.jsonl,judge_prompts=./judge_prompts.jsonl,"
        "reference_categories=,model=double/model,judge=double/judge"
    )
    arguments = ["--run-entries", entry, "--model-deployments", "deployments.yaml", "-o", str(output)]
    run([EVALKIT, "run", *arguments], folder)
    return sending_s(output)


async def bare_s(url: str, in_flight: int, *, waits: bool) -> float:
    """A bare client, which keeps nothing; it judges when all answers are there, or each as it comes.

    Args:
        url: Of the double.
        in_flight: Most requests at once, of answers and of judgements.
        waits: Whether judging waits for all answers. Second turns wait for nothing but the first.
    """
    import aiohttp

    limits = {name: asyncio.Semaphore(in_flight) for name in ("model", "judge")}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(name: str, text: str) -> None:
            body = {"model": name, "messages": [{"role": "user", "content": text}], "max_tokens": 64}
            async with limits[name], session.post(f"{url}/v1/chat/completions", json=body) as answer:
                await answer.read()

        async def converse(number: int) -> None:
            judging = []
            for turn in range(2):
                await ask("model", f"Question {number}, turn {turn}?")
                if not waits:
                    judging.append(asyncio.create_task(ask("judge", f"{number}.{turn}\n{RATING}")))
            await asyncio.gather(*judging)

        began_s = time.perf_counter()
        await asyncio.gather(*map(converse, range(NUM_QUESTIONS)))
        if waits:
            await asyncio.gather(*(ask("judge", f"{n}\n{RATING}") for n in range(2 * NUM_QUESTIONS)))
        return time.perf_counter() - began_s


def measure(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """Runs with room for all, with 64 in flight, and at the default limits; and the client that waits."""
    write_files(folder)
    taken: dict[int | None, list[float]] = {WITH_ROOM: [], FEW: [], None: []}
    bare: dict[int, list[float]] = {WITH_ROOM: [], FEW: []}
    waiting: list[float] = []
    with double(LATENCY_MS, folder) as url:
        for number in range(options.runs):
            for in_flight, seconds in taken.items():
                seconds.append(evalkit_s(folder, url, in_flight, number))
                if in_flight is not None:
                    bare[in_flight].append(asyncio.run(bare_s(url, in_flight, waits=False)))
            waiting.append(asyncio.run(bare_s(url, FEW, waits=True)))
    least_s, best = 3 * LATENCY_MS / 1000, best_s(FEW, FEW)
    of = {in_flight: statistics.median(seconds) for in_flight, seconds in taken.items()}
    bare_of = {in_flight: statistics.median(seconds) for in_flight, seconds in bare.items()}
    most_s = MOST_OVER_BEST * best
    room = {"three latencies": of[WITH_ROOM] / least_s, "the bare client": of[WITH_ROOM] / bare_of[WITH_ROOM]}
    few = {"the best": of[FEW] / best, "the bare client": of[FEW] / bare_of[FEW]}
    return [
        Figure(
            f"{WITH_ROOM} in flight: sending", of[WITH_ROOM], "s", MOST_OVER_LATENCIES * least_s, ratios=room
        ),
        Figure("… of a bare client that judges as answers come", bare_of[WITH_ROOM], "s"),
        Figure(f"{FEW} in flight of each: sending", of[FEW], "s", most_s, ratios=few),
        Figure("… of a bare client that judges as answers come", bare_of[FEW], "s"),
        Figure("the best schedule for that", best, "s"),
        Figure(
            "a client that judges after all answers must miss that",
            statistics.median(waiting),
            "s",
            math.nextafter(most_s, math.inf),
            at_least=True,
            ratios={"the best": statistics.median(waiting) / best},
        ),
        Figure("default limits: sending", of[None], "s", ratios={"three latencies": of[None] / least_s}),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="judging", description=(__doc__ or "").splitlines()[0])
    benchmark(parser, measure, runs=5)
