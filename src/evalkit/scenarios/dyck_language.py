"""Dyck languages: sequences of brackets to be closed, as HELM generates them (after Suzgun et al. 2019)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping

from evalkit.data import DataStore
from evalkit.errors import UsageError
from evalkit.instance import CORRECT, TEST, TRAIN, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.numpy_random import NumpyRandom
from evalkit.scenarios.scenario import Scenario

_PAIRS = (("(", ")"), ("[", "]"), ("{", "}"), ("<", ">"))
_SEED = 42
_MAX_DEPTH = _MAX_INNER_LENGTH = 100
_P_NEST, _P_NEST_OR_JOIN = 0.5, 0.75
_MOST_TO_CLOSE = 3
# Split, number of instances, shortest and longest whole sequence.
_PARTS = ((TRAIN, 3, 4, 50), (TEST, 500, 52, 100))


@scenario("dyck_language")
class DyckLanguageScenario(Scenario):
    """Well-formed sequences of brackets without their last one to three closers, which are the answer.

    Args:
        num_parenthesis_pairs: Kinds of brackets, 1 to 4.
    """

    def __init__(self, num_parenthesis_pairs: int) -> None:
        if not 1 <= num_parenthesis_pairs <= len(_PAIRS):
            raise UsageError(f"num_parenthesis_pairs is 1 to {len(_PAIRS)}, not {num_parenthesis_pairs}")
        self.pairs = _PAIRS[:num_parenthesis_pairs]

    def sizes(self) -> Mapping[str, int]:
        """3 train, 500 test."""
        return {split: count for split, count, _, _ in _PARTS}

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """3 train and 500 test sequences, no input twice."""
        grammar = _Grammar(self.pairs)
        seen: set[str] = set()
        for split, count, shortest, longest in _PARTS:
            wanted = len(seen) + count
            while len(seen) < wanted:
                opened, closers = grammar.pair(shortest, longest)
                text = " ".join(opened)
                if text not in seen:
                    seen.add(text)
                    yield Instance(text, (Reference(f" {' '.join(closers)}", (CORRECT,)),), split)


class _Grammar:
    """Draws sequences of a Dyck language; two generators, since HELM draws from Python's and NumPy's."""

    def __init__(self, pairs: tuple[tuple[str, str], ...]) -> None:
        self._pairs = pairs
        self._closer_of = dict(pairs)
        self._rng = random.Random(_SEED)
        self._sequence = self._make_sequence()

    def pair(self, shortest: int, longest: int) -> tuple[str, str]:
        """A sequence of allowed length, cut before its end: what is left, and the closers it lacks."""
        while True:
            sequence = self._sequence(0, longest)
            if len(sequence) < shortest:
                continue
            opened = self._cut(sequence, self._rng.randint(1, _MOST_TO_CLOSE))
            if opened:
                return opened, self._closers(opened)

    def _make_sequence(self) -> Callable[[int, int], str]:
        """A function of depth and greatest length that draws a well-formed sequence.

        It is empty if it would be too deep or too long. Over a million calls go into 500 sequences, so
        everything it uses is bound beforehand.
        """
        draw, choose = self._rng.random, NumpyRandom(_SEED).chooser(len(self._pairs))
        pairs = self._pairs

        def sequence(depth: int, longest: int) -> str:
            if depth > _MAX_DEPTH:
                return ""
            chance = draw()
            if chance >= _P_NEST_OR_JOIN:
                return ""
            if chance < _P_NEST:
                opener, closer = pairs[choose()]
                made = opener + sequence(depth + 1, _MAX_INNER_LENGTH) + closer
            else:
                made = sequence(depth, _MAX_INNER_LENGTH) + sequence(depth, _MAX_INNER_LENGTH)
            return made if len(made) <= longest else ""

        return sequence

    def _cut(self, sequence: str, num_open: int) -> str:
        """The longest beginning in which `num_open` brackets are open."""
        balance = 0
        for index in range(len(sequence) - 1, -1, -1):
            balance += -1 if sequence[index] in self._closer_of else 1
            if balance == num_open:
                return sequence[:index]
        return ""

    def _closers(self, opened: str) -> str:
        """What closes the open brackets, the innermost first."""
        stack: list[str] = []
        for symbol in opened:
            if symbol in self._closer_of:
                stack.append(self._closer_of[symbol])
            else:
                stack.pop()
        return "".join(reversed(stack))
