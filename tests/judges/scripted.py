"""A benchmark with judges in this process: what the judges reply, and when, is a test's to say."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import evalkit
from evalkit.clients.client import Client
from evalkit.data import DataStore
from evalkit.errors import UnclearVerdict
from evalkit.instance import Instance, Reference
from evalkit.judges.judge import Judge, Question, Reply, chat_request
from evalkit.registry import client, judge, run_spec_function, scenario
from evalkit.request import Request
from evalkit.response import Completion, Response, Usage
from evalkit.run_specs.layouts import generation
from evalkit.scenarios.scenario import Scenario
from evalkit.scoring.unit import Unit
from evalkit.specs.run_spec import JudgeSpec, RunSpec, ScenarioSpec, metric_specs

DEPLOYMENTS = """\
model_deployments:
  - name: own/model
    client_spec: {class_name: scripted, args: {who: model}}
    prices: {input_usd_per_million_tokens: 1, output_usd_per_million_tokens: 2}
  - name: own/judge
    client_spec: {class_name: scripted, args: {who: judge}}
    prices: {input_usd_per_million_tokens: 10, output_usd_per_million_tokens: 20}
  - name: own/other
    client_spec: {class_name: scripted, args: {who: other}}
    prices: {input_usd_per_million_tokens: 100, output_usd_per_million_tokens: 200}
  - name: own/unpriced
    client_spec: {class_name: scripted, args: {who: judge}}
  - name: own/resident_model
    client_spec: {class_name: resident, args: {who: model}}
  - name: own/resident_judge
    client_spec: {class_name: resident, args: {who: judge}}
"""


def replies(prompt: str) -> str:
    """The judge's usual reply: the number of the instance as a rating."""
    return f"Fine. [[{number_in(prompt)}]]"


def number_in(prompt: str) -> int:
    found = re.search(r"number (\d+)", prompt)
    assert found is not None, prompt
    return int(found[1])


class Script:
    """What clients do; reset for each test.

    Attributes:
        asked: How often each prompt was sent, by who was asked.
        reply: Gives a judge's reply to a request; raises what the client is to raise.
        pause_s: How long each takes.
        holds_back: Whether an answer of this one has to wait.
        open: Who has a model in memory now.
        opened: Who was opened, in order.
    """

    def __init__(self) -> None:
        self.asked: dict[str, Counter[str]] = {}
        self.requests: list[tuple[str, Request]] = []
        self.reply: Callable[[str, Request], str] = lambda who, request: replies(request.prompt)
        self.answer: Callable[[Request], str] = lambda request: f"It is number {number_in(request.prompt)}."
        self.pause_s: Mapping[str, float] = {}
        self.holds_back: Callable[[str], bool] = lambda who: False
        self.open: set[str] = set()
        self.opened: list[str] = []
        self.finished: list[str] = []

    def num_asked(self, who: str) -> int:
        return self.asked.get(who, Counter()).total()


class ScriptedClient(Client):
    """Answers by the script."""

    script: ClassVar[Script] = Script()

    def __init__(self, who: str) -> None:
        self.who = who

    async def send(self, request: Request) -> Response:
        script = ScriptedClient.script
        script.asked.setdefault(self.who, Counter())[request.prompt] += 1
        script.requests.append((self.who, request))
        await asyncio.sleep(script.pause_s.get(self.who, 0))
        while script.holds_back(self.who):
            await asyncio.sleep(0.001)
        text = script.answer(request) if self.who == "model" else script.reply(self.who, request)
        script.finished.append(self.who)
        return Response((Completion(text, "stop"),), Usage(10, 5))


class ResidentClient(ScriptedClient):
    """The same, with a model in memory."""

    resident = True
    window = 16

    async def open(self) -> None:
        self.script.open.add(self.who)
        self.script.opened.append(self.who)
        assert len(self.script.open) <= 1, "two models are in memory"

    async def close(self) -> None:
        self.script.open.discard(self.who)


class Numbers(Scenario):
    """Instances that are numbered."""

    def __init__(self, num_test: int = 20) -> None:
        self._num_test = num_test

    def instances(self, data: DataStore) -> Iterator[Instance]:
        for number in range(self._num_test):
            answer = Reference(f"It is number {number}.", ("correct",))
            yield Instance(f"Which number? number {number}", (answer,), "test", id=f"n{number}")


class Rating(Judge):
    """Rates an answer by the number in double brackets."""

    names: tuple[str, ...] = ("rating",)
    reading_args = frozenset({"scale"})

    def __init__(self, wording: str = "Rate", scale: float = 1.0, questions: int = 1) -> None:
        self._wording, self._scale, self._num_questions = wording, scale, questions
        if questions > 1:
            self.names = tuple(f"rating_{n}" for n in range(questions))

    def questions(self, unit: Unit) -> Iterator[Question]:
        text = unit.answer.response.completions[0].text
        if self._num_questions == 1:
            yield Question(chat_request(f"{self._wording}: {text}"))
            return
        for number in range(self._num_questions):
            yield Question(chat_request(f"{self._wording} {number}: {text}"), f"q{number}")

    def verdict(self, unit: Unit, reply: Reply) -> Mapping[str, float]:
        found = re.search(r"\[\[(\d+)\]\]", reply.text)
        if found is None:
            raise UnclearVerdict("the reply has no [[rating]]")
        name = "rating" if self._num_questions == 1 else f"rating_{reply.question[1:]}"
        return {name: float(found[1]) * self._scale}


def register() -> None:
    """Register all of it, in registries that are undone."""
    client("scripted")(ScriptedClient)
    client("resident")(ResidentClient)
    scenario("numbers")(Numbers)
    judge("own_rating")(Rating)

    @run_spec_function("judged")
    def judged(num_test: int = 20, wording: str = "Rate", scale: float = 1.0, questions: int = 1) -> RunSpec:
        """Numbers, judged."""
        return RunSpec(
            name=f"judged:num_test={num_test}",
            scenario_spec=ScenarioSpec(name="numbers", args={"num_test": num_test}),
            adapter_spec=generation("", "Question", "Answer", max_tokens=20),
            metric_specs=metric_specs("exact_match"),
            judge_specs=(
                JudgeSpec(
                    name="own_rating", args={"wording": wording, "scale": scale, "questions": questions}
                ),
            ),
        )

    @run_spec_function("sums_of_numbers")
    def sums_of_numbers(num_test: int = 5) -> RunSpec:
        """Numbers, not judged."""
        base: RunSpec = judged(num_test)
        return base.with_judges().named(f"sums_of_numbers:num_test={num_test}")


def run(tmp_path: Path, *entries: str, **options: Any) -> list[evalkit.RunResult]:
    """Do runs in a folder."""
    deployments = tmp_path / "deployments.yaml"
    deployments.write_text(DEPLOYMENTS)
    options = {"output_path": tmp_path / "out", "model_deployments": (deployments,), **options}
    return evalkit.run(entries, **options)
