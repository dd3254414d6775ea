"""A complete benchmark with a judge: a scenario, a judge and a run spec, in one file.

evalkit run --plugin examples/second_opinion.py -r second_opinion:model=evalkit/tiny,judge=evalkit/tiny
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping

import evalkit
from evalkit import DataStore, Instance, JudgeSpec, Question, Reference, Reply, RunSpec, ScenarioSpec, Unit
from evalkit.judges.judge import chat_request


@evalkit.scenario("sums")
class Sums(evalkit.Scenario):
    """Sums of two small numbers."""

    def __init__(self, num_test: int = 40) -> None:
        self.num_test = num_test

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """Five few-shot examples, then the questions."""
        rng = random.Random(1)
        for number in range(5 + self.num_test):
            a, b = rng.randrange(10, 99), rng.randrange(10, 99)
            gold = Reference(str(a + b), ("correct",))
            yield Instance(f"What is {a} + {b}?", (gold,), split="train" if number < 5 else "test")


@evalkit.judge("second_opinion")
class SecondOpinion(evalkit.Judge):
    """Whether the judge, asked the same question, comes to the same number."""

    names = ("agrees",)

    def questions(self, unit: Unit) -> Iterator[Question]:
        """The question itself, in the words in which the model got it."""
        yield Question(chat_request(unit.answer.state.request.prompt, max_tokens=7))

    def verdict(self, unit: Unit, reply: Reply) -> Mapping[str, float]:
        """1 if both numbers are equal, else 0."""
        numbers = [re.search(r"\d+", text) for text in (unit.predictions()[0] or "", reply.text)]
        if numbers[1] is None:
            raise evalkit.UnclearVerdict("the reply has no number")
        return {"agrees": float(numbers[0] is not None and numbers[0][0] == numbers[1][0])}


@evalkit.run_spec_function("second_opinion")
def second_opinion(num_test: int = 40) -> RunSpec:
    """Sums, with the opinion of another model on each."""
    return RunSpec(
        name=f"second_opinion:num_test={num_test}",
        scenario_spec=ScenarioSpec(name="sums", args={"num_test": num_test}),
        adapter_spec=evalkit.generation("", input_noun="Question", output_noun="Answer", max_tokens=7),
        metric_specs=evalkit.metric_specs("exact_match"),
        judge_specs=(JudgeSpec(name="second_opinion"),),
    )
