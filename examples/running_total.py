"""Conversations of three turns: a scenario, a metric that looks at every turn, and a run spec, in one file.

evalkit run --plugin examples/running_total.py --run-entries running_total:model=simple/model1
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping

import evalkit
from evalkit import DataStore, Instance, Reference, RunSpec, ScenarioSpec, Unit

THINGS = ("marbles", "stamps", "postcards", "buttons", "shells", "coins")


@evalkit.scenario("running_total")
class RunningTotal(evalkit.Scenario):
    """Somebody counts what they have, loses some, and finds more; each turn asks for the number."""

    def __init__(self, num_instances: int = 100) -> None:
        self.num_instances = num_instances

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """The user first says the input, then the follow-ups; the references are about the last turn."""
        rng = random.Random(8)
        for _ in range(self.num_instances):
            thing = rng.choice(THINGS)
            first, more, lost, found = (rng.randint(2, 40) for _ in range(4))
            lost = min(lost, first)
            totals = [first + more, first + more - lost, first + more - lost + found]
            yield Instance(
                f"I have {first} {thing} and am given {more}. How many {thing} do I have?",
                (Reference(str(totals[-1]), ("correct",)),),
                split="test",
                extra={
                    "follow_ups": [
                        f"I lose {lost} of them. How many are left?",
                        f"Then I find {found} more. How many is that?",
                    ],
                    "golds": [str(total) for total in totals],
                },
            )


@evalkit.metric("turns_right")
class TurnsRight(evalkit.Metric):
    """The share of turns whose last number is the right one."""

    names = ("turns_right",)
    full_marks: Mapping[str, float] = {"turns_right": 1.0}

    def score(self, unit: Unit) -> Mapping[str, float]:
        """One number over all turns of the conversation."""
        golds = (unit.instance.extra or {})["golds"]
        texts = [answer.response.completions[0].text for answer in unit.turns]
        numbers = [re.findall(r"\d+", text)[-1:] for text in texts]
        right = sum(found == [gold] for found, gold in zip(numbers, golds, strict=True))
        return {"turns_right": right / len(golds)}


@evalkit.run_spec_function("running_total")
def running_total(num_instances: int = 100) -> RunSpec:
    """Keep count over three turns.

    Args:
        num_instances: How many conversations.
    """
    return RunSpec(
        name=f"running_total:num_instances={num_instances}",
        scenario_spec=ScenarioSpec(name="running_total", args={"num_instances": num_instances}),
        adapter_spec=evalkit.dialogue("Answer with the number only.", max_tokens=20),
        metric_specs=evalkit.metric_specs("turns_right", "exact_match"),
        groups=("running_total",),
    )
