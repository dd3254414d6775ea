from __future__ import annotations

import numpy as np
import pytest

from evalkit.scenarios.numpy_random import NumpyRandom


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
