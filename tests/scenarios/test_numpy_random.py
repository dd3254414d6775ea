from __future__ import annotations

import numpy as np
import pytest

from evalkit.scenarios.numpy_random import NumpyGenerator, NumpyRandom


@pytest.mark.parametrize("seed", [0, 1, 42, 2**32 - 1])
def test_draws_are_numpys(seed: int) -> None:
    ours, theirs = NumpyRandom(seed), np.random.RandomState(seed)
    items = ["a", "b", "c", "d", "e"]
    for size in (1, 2, 3, 5, 700, 2**31):
        assert ours.between(0, size) == theirs.randint(0, size)
        assert ours.between(7, 7 + size) == theirs.randint(7, 7 + size)
        assert ours.choices(items, 3) == theirs.choice(items, size=3).tolist()
        mine, other = list(items), list(items)
        ours.shuffle(mine)
        theirs.shuffle(other)
        assert mine == other


@pytest.mark.parametrize(
    "seed", [0, 1, 100, 2**32, 2**127 + 5, (100, 1), (1, 2, 3, 4, 5, 6), (0,), (2**70, 7)]
)
def test_the_new_generators_draws_are_numpys(seed: int | tuple[int, ...]) -> None:
    ours, theirs = NumpyGenerator(seed), np.random.default_rng(seed)
    items, weights = ["a", "b", "c", "d", "e"], [0.1, 0.2, 0.3, 0.15, 0.25]
    for size in (1, 2, 3, 5, 198, 700, 2**31, 3 * 2**30 + 1, 2**32):
        assert ours.integers(0, size) == theirs.integers(0, size)
        assert ours.integers(-99, size - 99) == theirs.integers(-99, size - 99)
        assert ours.random() == theirs.random()
        assert ours.choice(items) == theirs.choice(items)
        assert [ours.choice(items) for _ in range(3)] == theirs.choice(items, size=3, replace=True).tolist()
        assert ours.weighted_choice(items, weights) == theirs.choice(items, p=weights)
        assert ours.weighted_choice(["only"], [1]) == theirs.choice(["only"], p=[1])
        mine, other = list(items), list(items)
        ours.shuffle(mine)
        theirs.shuffle(other)
        assert mine == other


@pytest.mark.parametrize(("low", "high"), [(0, 0), (3, 2), (-1, 2**32)])
def test_a_range_that_cannot_be_drawn_from(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="numbers"):
        NumpyGenerator(0).integers(low, high)
