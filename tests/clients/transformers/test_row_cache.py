from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from torch import Tensor

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from evalkit.clients.transformers.row_cache import BufferSize, FreshLayer, RowCache  # noqa: E402

LAYERS, HEADS, SIZE = 2, 3, 4
Row = list[int]


def states(tokens: list[list[int]], layer: int, sign: int) -> Tensor:
    """Keys (or values) that tell which token, head and layer they are of: [rows, heads, columns, size]."""
    numbers = torch.tensor(tokens, dtype=torch.float32)[:, None, :, None] * 10 + layer
    heads = torch.arange(HEADS)[None, :, None, None] * 0.1
    return sign * (numbers + heads).expand(-1, -1, -1, SIZE).clone()


class Reference:
    """A cache, and the rows it should hold, token by token."""

    def __init__(self) -> None:
        self.cache = RowCache(LAYERS)
        self.rows: list[Row] = []
        self._tokens = itertools.count(1)

    def _some(self, number: int) -> Row:
        return list(itertools.islice(self._tokens, number))

    def join(self, lengths: list[int], more: int) -> None:
        new = [self._some(length) for length in lengths]
        width = max(lengths)
        padded = [[*row, *[-1] * (width - len(row))] for row in new]
        fresh = [FreshLayer() for _ in range(LAYERS)]
        for layer, one in enumerate(fresh):
            one.update(states(padded, layer, 1), states(padded, layer, -1))
        self.rows += new
        size = BufferSize(len(self.rows), max(map(len, self.rows)), more)
        self.cache.join(fresh, lengths, size)

    def step(self) -> None:
        tokens = self._some(len(self.rows))
        for row, token in zip(self.rows, tokens, strict=True):
            row.append(token)
        new = [[token] for token in tokens]
        for layer in range(LAYERS):
            keys, values = self.cache.cache.update(states(new, layer, 1), states(new, layer, -1), layer)
            self._check(keys, layer, 1)
            self._check(values, layer, -1)
        self.cache.stepped()
        assert self.cache.lengths == [len(row) for row in self.rows]
        assert self.cache.width == keys.shape[2] >= max(self.cache.lengths)

    def keep(self, kept: list[int]) -> None:
        order = self.cache.keep(kept)
        assert sorted(order) == kept
        self.rows = [self.rows[place] for place in order]
        assert self.cache.lengths == [len(row) for row in self.rows]

    def _check(self, seen: Tensor, layer: int, sign: int) -> None:
        assert seen.shape[:2] == (len(self.rows), HEADS)
        assert seen.isfinite().all()
        for place, row in enumerate(self.rows):
            expected = states([row], layer, sign)[0]
            assert torch.equal(seen[place, :, -len(row) :], expected)


actions = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 80)),
        st.tuples(st.just("step"), st.just([0]), st.integers(1, 70)),
        st.tuples(st.just("keep"), st.lists(st.integers(0, 9), max_size=6), st.just(0)),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(actions)
def test_rows_that_come_and_go_keep_their_keys_and_values(done: list[tuple[str, list[int], int]]) -> None:
    reference = Reference()
    for action, numbers, number in done:
        if action == "join":
            reference.join(sorted(numbers, reverse=True), number)
        elif action == "keep":
            reference.keep(sorted({place for place in numbers if place < len(reference.rows)}))
        elif reference.rows:
            for _ in range(number):
                reference.step()
    if reference.rows:
        reference.step()


def test_a_step_copies_nothing() -> None:
    reference = Reference()
    reference.join([5, 3], 10)
    reference.step()
    (first,) = {layer.keys.data_ptr() for layer in reference.cache.cache.layers[:1]}
    for _ in range(9):
        reference.step()
    assert reference.cache.cache.layers[0].keys.data_ptr() == first


def test_columns_that_only_long_rows_needed_are_given_up() -> None:
    reference = Reference()
    reference.join([60, 3, 2], 10)
    reference.step()
    reference.keep([1, 2])
    assert reference.cache.width == 4
    reference.step()


def test_a_prefix_stands_before_every_row() -> None:
    prefix = (states([[1, 2, 3]], 0, 1), states([[1, 2, 3]], 0, -1))
    layer = FreshLayer(prefix)
    assert layer.get_seq_length() == 3
    assert layer.get_mask_sizes(2) == (5, 0)
    keys, values = layer.update(states([[4, 5], [6, 7]], 0, 1), states([[4, 5], [6, 7]], 0, -1))
    assert torch.equal(keys, states([[1, 2, 3, 4, 5], [1, 2, 3, 6, 7]], 0, 1))
    assert torch.equal(values, -keys)
