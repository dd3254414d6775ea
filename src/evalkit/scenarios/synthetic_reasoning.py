"""Abstract reasoning over patterns of symbols, as HELM generates it (Wu et al. 2021; Liang et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, get_args

from evalkit.data import DataStore
from evalkit.errors import UnknownNameError
from evalkit.instance import CORRECT, TEST, TRAIN, VALID, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.numpy_random import NumpyRandom
from evalkit.scenarios.scenario import Scenario

Mode = Literal["pattern_match", "variable_substitution", "induction"]

SPLIT_SIZES = {TRAIN: 1000, VALID: 5000, TEST: 5000}
_SEED = 42
_VARIABLES, _SIGNS = ("X", "Y", "Z"), ("+", "-", "*", "=")
_WORDS = (
    *("zebra", "cobra", "stork", "penguin", "shark", "lion", "buffalo", "whale", "seal", "eagle", "horse"),
    *("rat", "apple", "peach", "watermelon", "banana", "grape", "kiwi", "pear", "strawberry", "blueberry"),
    "blackberry",
)
_NUM_DISTRACTORS = 3


@scenario("synthetic_reasoning")
class SyntheticReasoningScenario(Scenario):
    """Patterns of variables and signs, and what they become with words in place of the variables.

    Args:
        mode: Find the pattern that a result matches, substitute the variables, or find the common rule.
    """

    def __init__(self, mode: str) -> None:
        if mode not in get_args(Mode):
            raise UnknownNameError("mode of synthetic_reasoning", mode, get_args(Mode))
        self.mode = mode

    def sizes(self) -> Mapping[str, int]:
        """1000 train, 5000 valid, 5000 test."""
        return SPLIT_SIZES

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """1000 train, 5000 valid and 5000 test questions with one right answer each."""
        rng = NumpyRandom(_SEED)
        for split, size in SPLIT_SIZES.items():
            for _ in range(size):
                question, answer = self._sample(rng)
                yield Instance(question, (Reference(answer, (CORRECT,)),), split)

    def _sample(self, rng: NumpyRandom) -> tuple[str, str]:
        """A question and its answer."""
        drawn = rng.choices(_VARIABLES, rng.between(2, 4))
        variables = sorted(set(drawn))
        signs = rng.choices(_SIGNS, rng.between(2, 4))
        pattern = [*drawn, *signs]
        rng.shuffle(pattern)
        # The second substitution is drawn in every mode, so that all modes share the stream.
        first, second = _substitution(rng, variables), _substitution(rng, variables)
        rule, result = " ".join(pattern), _applied(pattern, first)
        if self.mode == "induction":
            return f"Two results: {result} | {_applied(pattern, second)}", f"Rule: {rule}"
        if self.mode == "variable_substitution":
            shown = " , ".join(f'{variable} by " {words} "' for variable, words in first.items())
            return f"Rules: {rule} | Substitutions: {shown}", result
        rules = [*_distractors(rng, [*variables, *signs]), pattern]
        rng.shuffle(rules)
        shown = " | ".join(" ".join(parts) for parts in rules)
        return f"Rules: {shown} | Result: {result}", rule


def _substitution(rng: NumpyRandom, variables: list[str]) -> dict[str, str]:
    return {variable: " ".join(rng.choices(_WORDS, rng.between(1, 3))) for variable in variables}


def _applied(pattern: list[str], substitution: Mapping[str, str]) -> str:
    return " ".join(substitution.get(symbol, symbol) for symbol in pattern)


def _distractors(rng: NumpyRandom, symbols: list[str]) -> Iterator[list[str]]:
    """Patterns of the same symbols, each variable once: they may be shorter than the right pattern."""
    for _ in range(_NUM_DISTRACTORS):
        pattern = list(symbols)
        rng.shuffle(pattern)
        yield pattern
