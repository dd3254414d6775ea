"""A plugin: conversations of two turns, and ones that end when the model says so."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import evalkit
from evalkit import DataStore, Instance, Reference, RunSpec, ScenarioSpec, Unit
from evalkit.adapters.dialogue import DialogueAdapter
from evalkit.request import Message, RequestState, next_turn
from evalkit.response import Response

MOST_TRIES = 4


@evalkit.scenario("talks")
class Talks(evalkit.Scenario):
    """Numbered stories, each with a question behind it."""

    def __init__(self, num: int = 20) -> None:
        self.num = num

    def instances(self, data: DataStore) -> Iterator[Instance]:
        for number in range(self.num):
            yes = Reference("yes", ("correct",))
            extra = {"follow_ups": ["And is that so?"]}
            yield Instance(f"Story {number:04}. Is it?", (yes,), "test", extra=extra)


@evalkit.metric("yeses")
class Yeses(evalkit.Metric):
    """How many answers say yes, and how many turns there were."""

    names = ("yeses", "turns")

    def score(self, unit: Unit) -> Mapping[str, float]:
        texts = [answer.response.completions[0].text for answer in unit.turns]
        assert texts[-1] == unit.answer.response.completions[0].text
        return {"yeses": float(sum(text.startswith("yes") for text in texts)), "turns": float(len(texts))}


@evalkit.adapter("until_yes")
class UntilYes(DialogueAdapter):
    """Asks again until the answer is yes."""

    def follow_ups(self, instance: Instance) -> Sequence[str]:
        return ["Really?"] * (MOST_TRIES - 1)

    def after(self, instance: Instance, state: RequestState, response: Response) -> Sequence[RequestState]:
        text = response.completions[0].text
        assert state.turn is not None
        if re.match("yes", text) or state.turn == MOST_TRIES:
            return ()
        said = (Message("assistant", text), Message("user", "Really?"))
        messages = (*(state.request.messages or ()), *said)
        return (next_turn(state, replace(state.request, messages=messages)),)


@evalkit.adapter("stumbling")
class Stumbling(DialogueAdapter):
    """Fails to go on from one of the answers."""

    def after(self, instance: Instance, state: RequestState, response: Response) -> Sequence[RequestState]:
        if instance.id == "id7":
            raise KeyError("no way on")
        return super().after(instance, state, response)


def run_spec(num: int, max_tokens: int, **changes: Any) -> RunSpec:
    adapter_spec = evalkit.dialogue("Answer yes or no.", max_tokens=max_tokens)
    return RunSpec(
        name=f"talks:num={num}",
        scenario_spec=ScenarioSpec(name="talks", args={"num": num}),
        adapter_spec=adapter_spec.model_copy(update=changes),
        metric_specs=evalkit.metric_specs("yeses"),
    )


@evalkit.run_spec_function("talks")
def talks(num: int = 20, method: str = "dialogue", max_tokens: int = 20) -> RunSpec:
    """Two turns each."""
    spec = run_spec(num, max_tokens, method=method)
    return spec if method == "dialogue" else spec.named(f"talks:num={num},method={method}")
