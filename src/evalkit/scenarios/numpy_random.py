"""The random streams of NumPy, the old one and the new, for benchmarks drawn with them; needs no NumPy."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
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
        """`choice(items, size=count)`: `count` items, with repetition."""
        return [items[self.between(0, len(items))] for _ in range(count)]

    def shuffle(self, items: list[Any]) -> None:
        """`shuffle(items)`: in place."""
        for last in range(len(items) - 1, 0, -1):
            chosen = self.between(0, last + 1)
            items[last], items[chosen] = items[chosen], items[last]


_HALF = 0xFFFFFFFFFFFFFFFF
_WHOLE = (1 << 128) - 1
_STEP = 0x2360ED051FC65DA44385DF649FCCF645
_POOL_WORDS = 4


class NumpyGenerator:
    """Draws what `numpy.random.default_rng(seed)` draws, bit for bit: PCG64, for ranges up to 2**32.

    Args:
        seed: A number that is not negative, or several: each sequence of numbers has its own stream.
    """

    def __init__(self, seed: int | Sequence[int]) -> None:
        state, increment = _seeded(seed)
        self._increment = (increment << 1 | 1) & _WHOLE
        self._state = ((self._increment + state) * _STEP + self._increment) & _WHOLE
        self._kept: int | None = None

    def random(self) -> float:
        """`random()`: a number from 0 up to, not including, 1."""
        return (self._draw() >> 11) * 2.0**-53

    def integers(self, low: int, high: int) -> int:
        """`integers(low, high)`: a number from `low` to `high - 1`.

        Raises:
            ValueError: There is nothing in between, or more than 2**32 numbers.
        """
        count = high - low
        if not 0 < count <= _WORD + 1:
            raise ValueError(f"from {low} to {high} are {count} numbers, not 1 to 2**32")
        if count == 1:
            return low  # NumPy spends no word where there is nothing to choose
        product = self._draw_word() * count
        # Lemire's way: the high word is the choice, drawn again where the low word shows it would be unfair.
        if product & _WORD < count:
            unfair = (_WORD + 1 - count) % count
            while product & _WORD < unfair:
                product = self._draw_word() * count
        return low + (product >> 32)

    def choice(self, items: Sequence[T]) -> T:
        """`choice(items)`: one of them."""
        return items[self.integers(0, len(items))]

    def weighted_choice(self, items: Sequence[T], weights: Sequence[float]) -> T:
        """`choice(items, p=weights)`: one of them; costs a draw also where there is only one."""
        bounds = list(accumulate(weights))
        return items[bisect_right([bound / bounds[-1] for bound in bounds], self.random())]

    def shuffle(self, items: list[Any]) -> None:
        """`shuffle(items)`: in place."""
        for last in range(len(items) - 1, 0, -1):
            mask = (1 << last.bit_length()) - 1
            while (chosen := self._draw_word() & mask) > last:
                pass
            items[last], items[chosen] = items[chosen], items[last]

    def _draw(self) -> int:
        """The next 64 bits."""
        self._state = state = (self._state * _STEP + self._increment) & _WHOLE
        folded, turn = (state >> 64 ^ state) & _HALF, state >> 122
        return (folded >> turn | folded << (64 - turn)) & _HALF

    def _draw_word(self) -> int:
        """The next 32 bits: the low half of 64, whose high half is kept for the time after."""
        if self._kept is not None:
            word, self._kept = self._kept, None
            return word
        drawn = self._draw()
        self._kept = drawn >> 32
        return drawn & _WORD


def _seeded(seed: int | Sequence[int]) -> tuple[int, int]:
    """State and stream of PCG64, 128 bits each, as NumPy's `SeedSequence` makes them."""
    pool = _mixed_pool([word for part in _parts(seed) for word in _words(part)])
    constant, words = 0x8B51F9DD, []
    for position in range(2 * _POOL_WORDS):
        value = pool[position % _POOL_WORDS] ^ constant
        constant = constant * 0x58F38DED & _WORD
        value = value * constant & _WORD
        words.append(value ^ value >> 16)
    doubles = [low | high << 32 for low, high in zip(words[::2], words[1::2], strict=True)]
    return doubles[0] << 64 | doubles[1], doubles[2] << 64 | doubles[3]


def _mixed_pool(entropy: list[int]) -> list[int]:
    """Four words that each depend on every word of the entropy."""
    constant = 0x43B0D7E5

    def hashed(value: int) -> int:
        nonlocal constant
        value ^= constant
        constant = constant * 0x931E8875 & _WORD
        value = value * constant & _WORD
        return value ^ value >> 16

    def mixed(left: int, right: int) -> int:
        value = (0xCA01F9DD * left - 0x4973F715 * right) & _WORD
        return value ^ value >> 16

    padded = entropy + [0] * (_POOL_WORDS - len(entropy))
    pool = [hashed(word) for word in padded[:_POOL_WORDS]]
    for source in range(_POOL_WORDS):
        for target in range(_POOL_WORDS):
            if source != target:
                pool[target] = mixed(pool[target], hashed(pool[source]))
    for word in padded[_POOL_WORDS:]:
        pool = [mixed(kept, hashed(word)) for kept in pool]
    return pool


def _parts(seed: int | Sequence[int]) -> Sequence[int]:
    return (seed,) if isinstance(seed, int) else seed


def _words(number: int) -> list[int]:
    """A number as 32-bit words, the lowest first; 0 is one word."""
    words = [number & _WORD]
    while number := number >> 32:
        words.append(number & _WORD)
    return words
