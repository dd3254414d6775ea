"""A plugin: conversations of two turns about problems of random words."""

from __future__ import annotations

import random
from collections.abc import Iterator

import evalkit
from evalkit import DataStore, Instance, Reference, RunSpec, ScenarioSpec

WORDS = ("apples", "and", "baskets", "dollars", "each", "gives", "half", "her", "more", "than", "the", "week")
NUM_PROBLEMS = 1319


def problems(num: int, least_words: int, most_words: int) -> Iterator[Instance]:
    """That number of problems, each with a question behind it."""
    rng = random.Random(0)
    for number in range(num):
        text = " ".join(rng.choices(WORDS, k=rng.randint(least_words, most_words)))
        answer = Reference(str(rng.randrange(1000)), ("correct",))
        follow_up = " ".join(rng.choices(WORDS, k=rng.randint(least_words, most_words) // 4 + 1))
        extra = {"follow_ups": [f"And if {follow_up}?"]}
        yield Instance(f"Problem {number}: {text}?", (answer,), "test", f"id{number}", extra=extra)


@evalkit.scenario("two_turns")
class TwoTurns(evalkit.Scenario):
    """As many as GSM8K's test problems, and as long as five of them."""

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """Test only."""
        return problems(NUM_PROBLEMS, 300, 450)


@evalkit.run_spec_function("two_turns")
def two_turns() -> RunSpec:
    """Two turns about each problem."""
    return RunSpec(
        name="two_turns",
        scenario_spec=ScenarioSpec(name="two_turns"),
        adapter_spec=evalkit.dialogue("Answer with a number.", max_tokens=400),
        metric_specs=evalkit.metric_specs("exact_match"),
    )
