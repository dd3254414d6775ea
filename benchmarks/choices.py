"""Multiple choice on this machine: 1,000 questions with four choices each, in two cases.

    python benchmarks/choices.py [--runs N] [--json] [--questions N] [--case shared] [--clock cpu] …

- shared: about 1,000 tokens of the same five examples stand before each question;
- apart: each question has about 225 tokens of its own, and nothing stands before it.

Every choice is its own request, as the adapter `multiple_choice_separate_original` makes them: what
stands before, a question, and a choice, of which the choice is scored. One small random Llama scores them
through evalkit's executor, and through two loops that one would write by hand:

- full: every choice in full, sorted by length and padded, at its best batch size;
- question: examples and question computed once per question, from whose keys and values its choices go on.

Both make logits where choices stand, and nowhere else. evalkit and the loops run in turn, each in a process
of its own: where two threads of one process compute with torch, the workers of neither wait actively, and
both get slower. Loading is not counted; tokenising is. The loops get the first `--loop-questions` only, and
their times are scaled to all of them. On a machine that is busy with other work, compare processor time
(`--clock cpu`).
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from answering import answer_all
from evalkit.clients.transformers.client import TransformersClient
from evalkit.request import Request
from evalkit.response import Response
from measure import Figure, benchmark
from tiny_models import random_llama, random_words

T = TypeVar("T")
NUM_CHOICES = 4
NUM_EXAMPLES = 5
BATCH_SIZES = (4, 8, 16, 32)
# Questions on which the full loop looks for its batch size.
TRIED = 8
TOLERANCE_MILLIONTHS = 100
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of questions, and how many times as fast as the loops evalkit is to be.

    Attributes:
        context_tokens: About so many tokens of examples stand before each question.
        question_words: The least and the most words of a question.
    """

    name: str
    context_tokens: int
    question_words: tuple[int, int]
    over_full: float
    over_question: float


CASES = (Case("shared", 1000, (15, 45), 8.0, 3.0), Case("apart", 0, (155, 205), 1.0, 1.0))


@dataclass(frozen=True, slots=True)
class Choice:
    """A prompt, and where in it the choice begins."""

    prompt: str
    scored_from: int


Clock = Callable[[], float]
Scores = list[list[float]]
"""The log-probabilities of each choice's tokens."""


def make_choices(tokenizer: Any, num_questions: int, case: Case) -> list[Choice]:
    """The choices of all questions, in order; those of a question are neighbours."""
    random = Random(0)

    def question(num_words: int) -> str:
        return f"Question: {' '.join(random_words(random, num_words))}?\nAnswer:"

    context = ""
    while len(tokenizer(context)["input_ids"]) < case.context_tokens:
        context += f"{question(1)[:-9]} {' '.join(random_words(random, 8))}\n"
    # Five examples of as much text as was needed.
    lines = context.split("\n")[:-1]
    step = max(1, -(-len(lines) // NUM_EXAMPLES))
    examples = [" ".join(lines[at : at + step]) + "\nAnswer: ba\n\n" for at in range(0, len(lines), step)]
    choices = []
    for _ in range(num_questions):
        before = "".join(examples) + question(random.randint(*case.question_words))
        for _ in range(NUM_CHOICES):
            choices.append(
                Choice(f"{before} {' '.join(random_words(random, random.randint(1, 8)))}", len(before))
            )
    return choices


class Loops:
    """The loops written by hand."""

    def __init__(self, folder: Path, device: str, dtype: str) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval().to(device)
        self._device = device

    def full(self, choices: Sequence[Choice], batch_size: int) -> Scores:
        """Every choice in full."""
        import torch

        texts = self._tokenised(choices)
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index][0]))
        scores: Scores = [[] for _ in texts]
        for at in range(0, len(order), batch_size):
            places = order[at : at + batch_size]
            ids = self._padded([texts[place][0] for place in places])
            first = min(texts[place][1] for place in places) - 1
            with torch.inference_mode():
                logits = self._model(ids, use_cache=False, logits_to_keep=ids.shape[1] - first).logits
                logprobs = logits.float().log_softmax(-1).cpu()
            for row, place in enumerate(places):
                tokens, start = texts[place]
                scores[place] = [
                    float(logprobs[row, p - 1 - first, tokens[p]]) for p in range(start, len(tokens))
                ]
        return scores

    def question(self, choices: Sequence[Choice]) -> Scores:
        """Examples and question once for all choices of a question."""
        import torch
        from transformers import DynamicCache

        texts = self._tokenised(choices)
        scores: Scores = []
        for at in range(0, len(texts), NUM_CHOICES):
            family = texts[at : at + NUM_CHOICES]
            first = family[0][1]
            shared = torch.tensor([family[0][0][:first]], device=self._device)
            rest = self._padded([tokens[first:] for tokens, _ in family])
            with torch.inference_mode():
                cache = DynamicCache()
                head = self._model(shared, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
                cache.batch_repeat_interleave(len(family))
                tail = self._model(rest, past_key_values=cache, use_cache=True).logits
                logits = torch.cat([head.expand(len(family), -1, -1), tail], dim=1)
                logprobs = logits.float().log_softmax(-1).cpu()
            for row, (tokens, start) in enumerate(family):
                scores.append([float(logprobs[row, p - start, tokens[p]]) for p in range(start, len(tokens))])
        return scores

    def _tokenised(self, choices: Sequence[Choice]) -> list[tuple[list[int], int]]:
        """Tokens, and the first of the choice."""
        encoded = self.tokenizer([choice.prompt for choice in choices], return_offsets_mapping=True)
        return [
            (ids, sum(end <= choice.scored_from for _, end in offsets))
            for choice, ids, offsets in zip(
                choices, encoded["input_ids"], encoded["offset_mapping"], strict=True
            )
        ]

    def _padded(self, sequences: Sequence[Sequence[int]]) -> Any:
        import torch

        width = max(map(len, sequences))
        rows = [[*ids, *[self.tokenizer.pad_token_id] * (width - len(ids))] for ids in sequences]
        return torch.tensor(rows, device=self._device)


async def through_evalkit(
    client: TransformersClient, choices: Sequence[Choice], clock: Clock
) -> tuple[float, float, list[Response]]:
    """Seconds until all are scored and until the first is, and the answers in order."""

    def request(prompt: str, scored_from: int) -> Request:
        return Request(prompt, temperature=0.0, max_tokens=0, echo_prompt=True, scored_from=scored_from)

    wanted = [request(choice.prompt, choice.scored_from) for choice in choices]
    return await answer_all(client, request("ba ce di", 2), wanted, clock)


def timed(function: Callable[[], Scores], clock: Clock) -> tuple[float, Scores]:
    """Seconds that a loop takes, and what it finds."""
    began_s = clock()
    scores = function()
    return clock() - began_s, scores


def answers_of(scores: Scores) -> list[int]:
    """The likeliest choice of each question, by log-probability per token."""
    means = [sum(tokens) / len(tokens) for tokens in scores]
    return [
        max(range(NUM_CHOICES), key=means[at : at + NUM_CHOICES].__getitem__)
        for at in range(0, len(means), NUM_CHOICES)
    ]


def largest_difference_millionths(one: Scores, other: Scores) -> float:
    """Of any token's log-probability."""
    return 1e6 * max(abs(a - b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))


@dataclass(slots=True)
class Measured:
    """What came of one case, run by run: seconds, and what was found.

    Attributes:
        num_looped: So many questions went through the loops.
        batch_size: The best of the full loop.
    """

    num_looped: int
    batch_size: int
    ours: list[tuple[float, float, list[Response]]]
    full: list[tuple[float, Scores]]
    question: list[tuple[float, Scores]]


@dataclass(frozen=True, slots=True)
class Setup:
    """What both sides are made of, in whatever process."""

    model: Path
    device: str
    dtype: str
    case: Case
    num_questions: int
    clock: str

    def through_evalkit(self) -> tuple[float, float, list[Response]]:
        """Of all questions."""
        client = TransformersClient(model=str(self.model), device_map=self.device, dtype=self.dtype)
        choices = make_choices(_tokenizer(self.model), self.num_questions, self.case)
        return asyncio.run(through_evalkit(client, choices, CLOCKS[self.clock]))

    def through_loops(
        self, num_looped: int, batch_sizes: Sequence[int]
    ) -> tuple[int, tuple[float, Scores], tuple[float, Scores]]:
        """The best batch size of the full loop, and both loops over the first questions."""
        loops, clock = Loops(self.model, self.device, self.dtype), CLOCKS[self.clock]
        choices = make_choices(loops.tokenizer, self.num_questions, self.case)
        looped, tried = choices[: num_looped * NUM_CHOICES], choices[: TRIED * NUM_CHOICES]
        loops.full(tried[:NUM_CHOICES], NUM_CHOICES)
        best = batch_sizes[0]
        if len(batch_sizes) > 1:
            best = min(batch_sizes, key=lambda size: timed(lambda: loops.full(tried, size), clock)[0])
        return (
            best,
            timed(lambda: loops.full(looped, best), clock),
            timed(lambda: loops.question(looped), clock),
        )


def measure(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """All figures."""
    import torch

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = options.model or random_llama(folder / "model", hidden=options.hidden, layers=options.layers)
    figures = []
    for case in CASES:
        if options.case in ("both", case.name):
            setup = Setup(Path(model), device, options.dtype, case, options.questions, options.clock)
            figures += figures_of(case, options.questions, measured(options, setup))
    return figures


def measured(options: argparse.Namespace, setup: Setup) -> Measured:
    """All ways, in turn."""
    num_looped = min(options.loop_questions, options.questions)
    found = Measured(num_looped, 0, [], [], [])
    batch_sizes = options.batch_sizes
    for _ in range(options.runs):
        found.ours.append(_apart(setup.through_evalkit))
        found.batch_size, full, question = _apart(setup.through_loops, num_looped, batch_sizes)
        batch_sizes = (found.batch_size,)
        found.full.append(full)
        found.question.append(question)
    return found


def _apart(function: Callable[..., T], *args: Any) -> T:
    """What a function gives in its own process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *args).result()


def _tokenizer(model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model)


def figures_of(case: Case, num_questions: int, measured: Measured) -> list[Figure]:
    """What is reported of one case."""
    num_looped, scale = measured.num_looped, num_questions / measured.num_looped
    our_s = statistics.median(seconds for seconds, _, _ in measured.ours)
    full_s = statistics.median(seconds for seconds, _ in measured.full) * scale
    question_s = statistics.median(seconds for seconds, _ in measured.question) * scale
    said = f" (of {num_looped} questions, scaled)" if num_looped < num_questions else ""
    responses = measured.ours[0][2]
    found = [[t.logprob for t in r.completions[0].tokens or () if t.logprob is not None] for r in responses]
    full, question = measured.full[0][1], measured.question[0][1]
    compared = found[: len(full)]
    same = sum(a == b for a, b in zip(answers_of(compared), answers_of(full), strict=True))
    made = [r.efficiency for r in responses if r.efficiency is not None]
    padded, reused = sum(e.padded_tokens or 0 for e in made), sum(e.reused_tokens or 0 for e in made)
    goals = case.over_full, case.over_question
    named = f"{case.name}: "
    return [
        Figure(f"{named}evalkit", our_s, "s"),
        Figure(
            f"{named}loop over choices in full, its best batch size {measured.batch_size}{said}", full_s, "s"
        ),
        Figure(f"{named}loop that shares the question{said}", question_s, "s"),
        Figure(f"{named}evalkit over the full loop", full_s / our_s, "", goals[0], at_least=True),
        Figure(
            f"{named}evalkit over the loop that shares the question",
            question_s / our_s,
            "",
            goals[1],
            at_least=True,
        ),
        *(
            Figure(
                f"{named}largest difference to the {name}",
                largest_difference_millionths(compared, scores),
                "millionths",
                TOLERANCE_MILLIONTHS,
            )
            for name, scores in (("full loop", full), ("other loop", question))
        ),
        Figure(f"{named}same answers as the full loop", same, f"of {num_looped}", num_looped, at_least=True),
        Figure(f"{named}evalkit: first score", measured.ours[0][1], "s"),
        Figure(f"{named}evalkit: positions computed", padded, "tokens"),
        Figure(f"{named}evalkit: tokens not computed again", reused, "tokens"),
    ]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python benchmarks/choices.py")
    parser.add_argument("--questions", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument(
        "--loop-questions", type=int, default=50, help="so many of them for the loops (default 50)"
    )
    parser.add_argument("--case", choices=("both", "shared", "apart"), default="both", help="(default both)")
    parser.add_argument(
        "--clock", choices=tuple(CLOCKS), default="wall", help="wall time or processor time (default wall)"
    )
    parser.add_argument("--hidden", type=int, default=256, help="size of the random Llama (default 256)")
    parser.add_argument("--layers", type=int, default=4, help="its layers (default 4)")
    parser.add_argument("--model", type=Path, help="a model's folder, in place of the random Llama")
    parser.add_argument("--dtype", default="float32", help="of the weights (default float32)")
    parser.add_argument("--device", help="cpu or cuda; default: the GPU if there is one")
    parser.add_argument(
        "--batch-sizes",
        type=lambda text: [int(size) for size in text.split(",")],
        default=BATCH_SIZES,
        help="what the full loop tries (default 4,8,16,32)",
    )
    benchmark(parser, measure, runs=1)


if __name__ == "__main__":
    main()
