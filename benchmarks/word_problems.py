"""A plugin with the size and shape of GSM8K, made on the spot: 7,473 train and 1,319 test problems."""

from __future__ import annotations

import random
from collections.abc import Iterator

import evalkit
from evalkit import DataStore, Instance, Reference, RunSpec, ScenarioSpec

NUM_TRAIN, NUM_TEST = 7473, 1319
WORDS = ("apples", "and", "baskets", "dollars", "each", "gives", "half", "her", "more", "than", "the", "week")


@evalkit.scenario("word_problems")
class WordProblems(evalkit.Scenario):
    """Problems of random words, with answers as long as GSM8K's."""

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """Train, then test; the reference is a worked answer that ends in the number."""
        rng = random.Random(0)
        for number in range(NUM_TRAIN + NUM_TEST):
            question = " ".join(rng.choices(WORDS, k=rng.randint(25, 75)))
            working = " ".join(rng.choices(WORDS, k=rng.randint(30, 90)))
            answer = Reference(f"{working} The answer is {rng.randrange(1000)}.", ("correct",))
            split = "train" if number < NUM_TRAIN else "test"
            yield Instance(f"Problem {number}: {question}?", (answer,), split)


@evalkit.run_spec_function("word_problems")
def word_problems() -> RunSpec:
    """Random word problems, asked and scored as GSM8K is."""
    return RunSpec(
        name="word_problems",
        scenario_spec=ScenarioSpec(name="word_problems"),
        adapter_spec=evalkit.generation("", "Q", "A", max_tokens=400, stop="\n\n"),
        metric_specs=evalkit.metric_specs("exact_match_indicator", "final_number_exact_match"),
    )
