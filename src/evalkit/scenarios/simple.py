"""HELM's small made-up scenarios, for examples and tests; the instances are HELM's."""

from __future__ import annotations

import random
from collections.abc import Iterator

from evalkit.data import DataStore
from evalkit.errors import UsageError
from evalkit.instance import CORRECT, TEST, TRAIN, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario

_NUMBERS = range(10, 100)
_LAST_TRAIN = 20
_PARITIES = ("Even", "Odd")


def _parity_instance(number: int, text: str, references: tuple[Reference, ...]) -> Instance:
    return Instance(text, references, TRAIN if number <= _LAST_TRAIN else TEST)


def _parity_options(number: int) -> tuple[Reference, ...]:
    right = _PARITIES[number % 2]
    return tuple(Reference(name, (CORRECT,) if name == right else ()) for name in _PARITIES)


@scenario("simple_mcqa")
class SimpleMCQAScenario(Scenario):
    """Is a number even or odd? Two options."""

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """The numbers 10 to 20 as train, 21 to 99 as test."""
        for number in _NUMBERS:
            yield _parity_instance(number, f"Is {number} even or odd?", _parity_options(number))


@scenario("simple_short_answer_qa")
class SimpleShortAnswerQAScenario(Scenario):
    """Is a number even or odd? A free answer of one word."""

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """The numbers 10 to 20 as train, 21 to 99 as test."""
        for number in _NUMBERS:
            answer = Reference(_PARITIES[number % 2], (CORRECT,))
            yield _parity_instance(number, f"Is {number} even or odd?", (answer,))


@scenario("simple_classification")
class SimpleClassificationScenario(Scenario):
    """A number, to be classified as even or odd."""

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """The numbers 10 to 20 as train, 21 to 99 as test."""
        for number in _NUMBERS:
            yield _parity_instance(number, str(number), _parity_options(number))


@scenario("simple1")
class Simple1Scenario(Scenario):
    """Random numbers, one of which is the answer.

    Args:
        num_input_tokens: How many numbers each question holds.
        vocab_size: How many different numbers there are, from 0.
        num_train_instances: How many train instances to make.
        num_test_instances: How many test instances to make.
    """

    def __init__(
        self,
        num_input_tokens: int = 5,
        vocab_size: int = 20,
        num_train_instances: int = 10,
        num_test_instances: int = 10,
    ) -> None:
        if num_input_tokens < 1 or vocab_size < 1:
            raise UsageError("simple1: num_input_tokens and vocab_size must be positive")
        self.num_input_tokens, self.vocab_size = num_input_tokens, vocab_size
        self.num_train_instances, self.num_test_instances = num_train_instances, num_test_instances

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """Train, then test instances; references are the answer and a wrong "-1"."""
        rng = random.Random(1)
        for split, count in ((TRAIN, self.num_train_instances), (TEST, self.num_test_instances)):
            for _ in range(count):
                tokens = [str(rng.randint(0, self.vocab_size - 1)) for _ in range(self.num_input_tokens)]
                references = (Reference(rng.choice(tokens), (CORRECT,)), Reference("-1"))
                yield Instance(" ".join(tokens), references, split)
