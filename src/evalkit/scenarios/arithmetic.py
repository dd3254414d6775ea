"""Sums made on the fly: needs no data, and grows to any size for load tests."""

from __future__ import annotations

import operator
import random
from collections.abc import Iterator, Mapping
from typing import Literal

from evalkit.data import DataStore
from evalkit.errors import UsageError
from evalkit.instance import CORRECT, TEST, TRAIN, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario

NUM_TRAIN = 20
_MAX_DIGITS = 9
_OPERATIONS = {"add": ("+", operator.add), "subtract": ("-", operator.sub), "multiply": ("*", operator.mul)}


@scenario("arithmetic")
class ArithmeticScenario(Scenario):
    """Sums such as "What is 12 + 34?", made from a seed; no question comes twice while there are others.

    Args:
        operation: What to do with the two numbers.
        digits: Digits of each number, 1 to 9.
        num_test: How many test instances to make, after 20 train instances.
        seed: Other seeds give other questions.
    """

    def __init__(
        self,
        operation: Literal["add", "subtract", "multiply"] = "add",
        digits: int = 2,
        num_test: int = 100,
        seed: int = 0,
    ) -> None:
        if not 1 <= digits <= _MAX_DIGITS:
            raise UsageError(f"arithmetic: digits={digits} is not between 1 and {_MAX_DIGITS}")
        if num_test < 1:
            raise UsageError(f"arithmetic: num_test={num_test} is not positive")
        self.operation, self.digits, self.num_test, self.seed = operation, digits, num_test, seed

    def sizes(self) -> Mapping[str, int]:
        """20 train, `num_test` test."""
        return {TRAIN: NUM_TRAIN, TEST: self.num_test}

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """20 train and `num_test` test instances; the only reference is the result as a number."""
        sign, compute = _OPERATIONS[self.operation]
        tags = (CORRECT,)
        for position, (left, right) in enumerate(self._pairs(NUM_TRAIN + self.num_test)):
            reference = Reference(str(compute(left, right)), tags)
            split = TRAIN if position < NUM_TRAIN else TEST
            yield Instance(f"What is {left} {sign} {right}?", (reference,), split)

    def _pairs(self, count: int) -> Iterator[tuple[int, int]]:
        """Pairs of numbers in random order: all different, and all over again once none is left."""
        rng = random.Random(self.seed)
        lowest = 0 if self.digits == 1 else 10 ** (self.digits - 1)
        span = 10**self.digits - lowest
        pairs = range(span * span)
        while count > 0:
            for pair in rng.sample(pairs, min(count, len(pairs))):
                left, right = divmod(pair, span)
                yield lowest + left, lowest + right
            count -= len(pairs)
