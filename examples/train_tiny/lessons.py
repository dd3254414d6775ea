"""What `evalkit/tiny` reads in training: questions of evalkit's scenarios in the prompts of its adapters."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

from evalkit.adapters.adapter import Adapter
from evalkit.data import DataStore
from evalkit.instance import EVAL_SPLITS, Instance
from evalkit.registry import ADAPTERS, RUN_SPECS, SCENARIOS
from evalkit.request import Request
from evalkit.specs.run_spec import RunSpec

BOS, EOS = "<s>", "</s>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
MAX_SHOTS = 5
NUM_HELD_OUT = 200
"""How many test questions of each task are not trained on."""


@dataclass(frozen=True)
class Task:
    """A way to ask and the questions to ask in it.

    Attributes:
        share: Of all training texts, so much in proportion.
        adapters: By number of few-shot examples.
    """

    share: float
    questions: Sequence[Instance]
    adapters: Sequence[Adapter]


class Lesson(NamedTuple):
    """A training text, and where in it (from, to, in characters) the answers are that the model learns."""

    text: str
    answers: tuple[tuple[int, int], ...]


def made(scenario: str, **args: Any) -> list[Instance]:
    """All instances of a scenario that needs no data."""
    return list(SCENARIOS.get(scenario)(**args).instances(DataStore(offline=True)))


def unseen(
    questions: Iterable[Instance], evaluated: Iterable[Instance], key: Callable[[Instance], Hashable]
) -> list[Instance]:
    """The questions that are not evaluated, in any wording."""
    held_out = {key(instance) for instance in evaluated if instance.split in EVAL_SPLITS}
    return [instance for instance in questions if key(instance) not in held_out]


def sums(operation: str, digits: int) -> list[Instance]:
    """All sums with such numbers but those evaluated; those with one digit are too few to hold any out."""
    span = 10 if digits == 1 else 9 * 10 ** (digits - 1)
    args = {"operation": operation, "digits": digits}
    everything = made("arithmetic", **args, num_test=span * span)
    if digits == 1:
        return everything

    def numbers(instance: Instance) -> Hashable:
        return tuple(sorted(re.findall(r"\d+", instance.input)))  # 34 + 12 is 12 + 34

    return unseen(everything, made("arithmetic", **args, num_test=NUM_HELD_OUT), numbers)


def function_calls(count: int, seed: int) -> list[Instance]:
    """Calls of functions with inputs that are not evaluated, however the code is written."""

    def call(instance: Instance) -> Hashable:
        extra = instance.extra or {}
        return extra["function"], extra["input"]

    evaluated = made("functions", num_test=NUM_HELD_OUT)
    return unseen(made("functions", num_test=count, seed=seed), evaluated, call)


def parities(scenario: str) -> list[Instance]:
    """Even or odd? About 0 to 20 and 100 to 999; what is evaluated is 21 to 99."""
    ten, eleven = made(scenario)[:2]
    questions = []
    for number in (*range(21), *range(100, 1000)):
        like, shown = (eleven, "11") if number % 2 else (ten, "10")
        questions.append(replace(like, input=like.input.replace(shown, str(number))))
    return questions


def task(share: float, run_spec: str, questions: Sequence[Instance], chat: bool = False) -> Task:
    """A task asked as its run spec says, with any number of examples up to five."""
    style = {"chat_style": "turns"} if chat else {}
    whole: RunSpec = RUN_SPECS.get(run_spec)()
    specs = [
        whole.with_adapter(max_train_instances=shots, sample_train=False, **style).adapter_spec
        for shots in range(MAX_SHOTS + 1)
    ]
    return Task(share, questions, [cast("Adapter", ADAPTERS.get(spec.method)(spec)) for spec in specs])


def tasks(num_function_calls: int, seed: int) -> list[Task]:
    """The mixture, which draws from `num_function_calls` function calls."""
    two_digit_sums = sums("add", 2)
    return [
        task(30, "arithmetic", two_digit_sums),
        task(5, "arithmetic", two_digit_sums, chat=True),
        task(4, "arithmetic", sums("add", 1)),
        task(8, "arithmetic", sums("subtract", 2)),
        task(2, "arithmetic", sums("subtract", 1)),
        task(2, "arithmetic", sums("multiply", 1)),
        task(40, "functions", function_calls(num_function_calls, seed + 1)),
        *(
            task(3, name, parities(name))
            for name in ("simple_mcqa", "simple_classification", "simple_short_answer_qa")
        ),
    ]


def rendered(request: Request) -> str:
    """What the model reads, marks included."""
    if request.messages is None:
        return BOS + request.prompt
    marked = "".join(f"<|{message.role}|>{message.content}{EOS}" for message in request.messages)
    return f"{BOS}{marked}{ROLES[-1]}"


def lesson(task: Task, rng: random.Random) -> Lesson:
    """A prompt with its answer, made as it is made for evaluation.

    Its examples are questions too, since the prompt that asks them is how this one begins.
    """
    shots = rng.choice((0, 0, 1, 2, 3, MAX_SHOTS))
    drawn = [rng.choice(task.questions) for _ in range(shots + 1)]
    prompts = [prompt_of(task.adapters[position], drawn, position) for position in range(shots + 1)]
    spec = task.adapters[0].spec
    blank = "" if spec.chat_style else spec.output_prefix[len(spec.output_prefix.rstrip()) :]
    shown = [blank + task.adapters[0].shown(question) for question in drawn]
    between = EOS if spec.chat_style else "\n"
    answers = [*(answer + between for answer in shown[:-1]), shown[-1] + EOS]
    text = prompts[-1] + answers[-1]
    spans = []
    for prompt, answer in zip(prompts, answers, strict=True):
        assert text.startswith(prompt + answer), "a prompt must begin as its examples were asked"
        spans.append((len(prompt), len(prompt) + len(answer)))
    return Lesson(text, tuple(spans))


def prompt_of(adapter: Adapter, drawn: Sequence[Instance], position: int) -> str:
    """The prompt that asks a question, with those before it as examples."""
    question = replace(drawn[position], id="question")
    return rendered(next(adapter.requests([question], drawn[:position])).request)


def lessons(tasks: Sequence[Task], rng: random.Random) -> Iterator[Lesson]:
    """Texts of all tasks, without end."""
    shares = [task.share for task in tasks]
    while True:
        yield lesson(rng.choices(tasks, shares)[0], rng)


def vocabulary_texts(tasks: Sequence[Task]) -> Iterator[str]:
    """What tokens are made of: prompts, and enough questions that each name in them becomes one token."""
    for task in tasks:
        for question in task.questions[:4000]:
            yield question.input
        yield from [prompt_of(task.adapters[1], task.questions[:2], 1)] * 200
