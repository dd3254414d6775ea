"""A complete plugin: a scenario, a metric and a run spec, in one file.

evalkit run --plugin examples/reverse_words.py --run-entries reverse_words:length=4,model=simple/model1
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import evalkit
from evalkit import DataStore, Instance, Reference, RunSpec, ScenarioSpec

WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "inlet", "jetty")


@evalkit.scenario("reverse_words")
class ReverseWords(evalkit.Scenario):
    """Lists of words to be written backwards."""

    def __init__(self, length: int = 3) -> None:
        self.length = length

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """Five few-shot examples, then a hundred questions."""
        rng = random.Random(self.length)
        for number in range(105):
            words = rng.sample(WORDS, self.length)
            answer = Reference(" ".join(reversed(words)), ("correct",))
            yield Instance(" ".join(words), (answer,), split="train" if number < 5 else "test")


@evalkit.metric("words_in_place")
def words_in_place(gold: str, prediction: str) -> float:
    """The share of words that stand where they should."""
    pairs = zip(gold.split(), prediction.split(), strict=False)
    return sum(right == given for right, given in pairs) / len(gold.split())


@evalkit.run_spec_function("reverse_words")
def reverse_words(length: int = 3) -> RunSpec:
    """Write the words of a list backwards.

    Args:
        length: Words per list, at most ten.
    """
    return RunSpec(
        name=f"reverse_words:length={length}",
        scenario_spec=ScenarioSpec(name="reverse_words", args={"length": length}),
        adapter_spec=evalkit.generation(
            "Write the words backwards.", input_noun="Words", output_noun="Backwards", max_tokens=30
        ),
        metric_specs=evalkit.metric_specs("exact_match", "words_in_place"),
        groups=("reverse_words",),
    )
