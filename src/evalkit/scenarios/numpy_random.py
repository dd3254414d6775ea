"""The random stream of `numpy.random.RandomState`, for benchmarks that were drawn with it; needs no NumPy."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
_STATE_WORDS = 624
_WORD = 0xFFFFFFFF


class NumpyRandom:
    """Draws what `numpy.random.RandomState(seed)` draws, bit for bit, for ranges below 2**32.

    Both are Mersenne Twisters; seeding and the way from words to numbers differ from Python's.
    """

    def __init__(self, seed: int) -> None:
        words = [seed & _WORD]
        for position in range(1, _STATE_WORDS):
            previous = words[-1]
            words.append((1812433253 * (previous ^ (previous >> 30)) + position) & _WORD)
        twister = random.Random()
        twister.setstate((3, (*words, _STATE_WORDS), None))
        self._draw = twister.getrandbits

    def between(self, low: int, high: int) -> int:
        """`randint(low, high)`: a number from `low` to `high - 1`."""
        largest = high - low - 1
        # NumPy takes the low bits of a word (`getrandbits(n)` the high ones), and no word where there is
        # nothing to choose.
        mask = (1 << largest.bit_length()) - 1
        if not largest:
            return low
        while (drawn := self._draw(32) & mask) > largest:
            pass
        return low + drawn

    def chooser(self, count: int) -> Callable[[], int]:
        """`between(0, count)` as a function, for very many draws."""
        largest, draw = count - 1, self._draw
        mask = (1 << largest.bit_length()) - 1

        def choose() -> int:
            while (drawn := draw(32) & mask) > largest:
                pass
            return drawn

        return choose if largest else int

    def choices(self, items: Sequence[T], count: int) -> list[T]:
        """`choice(items, size=count)`: so many items, with repetition."""
        return [items[self.between(0, len(items))] for _ in range(count)]

    def shuffle(self, items: list[Any]) -> None:
        """`shuffle(items)`: in place."""
        for last in range(len(items) - 1, 0, -1):
            chosen = self.between(0, last + 1)
            items[last], items[chosen] = items[chosen], items[last]
