"""Keys and values of many sequences that come and go: rows of one buffer, all ending at the same column.

A row's keys and values lie side by side at the right end, with nothing in between: so models that reckon
by columns (sliding windows, ALiBi) see the distances they expect, and one column is written for all rows
at once. The buffer grows by chunks; nothing is copied for a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

_CHUNK_COLUMNS = 64


class FreshLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer during a prefill: what it is given, after a prefix that all rows share.

    Args:
        prefix: Keys and values of the prefix, each [1, heads, columns, size]; None: there is none.
    """

    is_sliding = False
    keys: torch.Tensor | None
    values: torch.Tensor | None

    def __init__(self, prefix: tuple[torch.Tensor, torch.Tensor] | None = None) -> None:
        super().__init__()
        if prefix is not None:
            self.keys, self.values = prefix
            self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing to prepare."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the layer attends to: the prefix and what is new."""
        if self.keys is None or self.values is None:
            self.keys, self.values = key_states, value_states
        else:
            rows = key_states.shape[0]
            self.keys = torch.cat([self.keys.expand(rows, -1, -1, -1), key_states], dim=-2)
            self.values = torch.cat([self.values.expand(rows, -1, -1, -1), value_states], dim=-2)
        self.is_initialized = True
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns, and where they begin."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Columns so far."""
        return 0 if self.keys is None else self.keys.shape[-2]

    def get_max_length(self) -> int:
        """No limit."""
        return -1


@dataclass(frozen=True, slots=True)
class BufferSize:
    """What a buffer must hold: `rows` rows, `width` columns up to now, and `more` to come."""

    rows: int
    width: int
    more: int


class RowLayer(CacheLayerMixin):  # type: ignore[misc]
    """Buffers of one layer, [rows, heads, columns, size]: `rows`, and columns `low` to `high`, are used."""

    is_sliding = False
    keys: torch.Tensor | None
    values: torch.Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.rows = self.low = self.high = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Buffers come with the first rows."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the next columns of all rows; what the layer attends to."""
        assert self.keys is not None
        assert self.values is not None
        end = self.high + key_states.shape[-2]
        if end > self.keys.shape[-2]:
            self.reserve(self.rows, 0, key_states.shape[-2] + _CHUNK_COLUMNS)
            end = self.high + key_states.shape[-2]
        self.keys[: self.rows, :, self.high : end] = key_states
        self.values[: self.rows, :, self.high : end] = value_states
        self.high = end
        used = (slice(0, self.rows), slice(None), slice(self.low, end))
        return self.keys[used], self.values[used]

    def reserve(self, rows: int, width: int, more: int) -> None:
        """Make room for `rows` rows, `width` columns up to now and `more` to come, if there is none yet."""
        assert self.keys is not None
        assert self.values is not None
        used = self.high - self.low
        width = max(width, used)
        if self.rows == 0 and rows <= self.keys.shape[0] and width + more <= self.keys.shape[-2]:
            self.low = self.high = width
            return
        if rows <= self.keys.shape[0] and width <= self.high and self.high + more <= self.keys.shape[-2]:
            return
        self.keys, self.values = (
            self._moved(buffer, rows, width, width + more) for buffer in (self.keys, self.values)
        )
        self.low, self.high = width - used, width

    def _moved(self, buffer: torch.Tensor, rows: int, width: int, columns: int) -> torch.Tensor:
        """The used part in a new buffer, ending at column `width`."""
        # What is masked is still multiplied, by zero: it has to be finite.
        moved = buffer.new_zeros((rows, buffer.shape[1], columns, buffer.shape[3]))
        used = buffer[: self.rows, :, self.low : self.high]
        moved[: self.rows, :, width - used.shape[-2] : width] = used
        return moved

    def join(self, fresh: FreshLayer, lengths: Sequence[int], size: BufferSize) -> None:
        """Add rows that were computed elsewhere, padded on the right: of row i, `lengths[i]` columns."""
        assert fresh.keys is not None
        assert fresh.values is not None
        rows = self.rows + len(lengths)
        if self.keys is None or self.values is None:
            columns = size.width + size.more
            self.keys, self.values = (
                tensor.new_zeros((size.rows, tensor.shape[1], columns, tensor.shape[3]))
                for tensor in (fresh.keys, fresh.values)
            )
            self.low = self.high = size.width
            self.is_initialized = True
        else:
            self.reserve(size.rows, size.width, size.more)
        for buffer, new in ((self.keys, fresh.keys), (self.values, fresh.values)):
            for first, last, length in _runs(lengths):
                target = slice(self.rows + first, self.rows + last)
                buffer[target, :, self.high - length : self.high] = new[first:last, :, :length]
        self.rows = rows
        self.low = min(self.low, self.high - max(lengths))

    def keep(self, rows: int, to: torch.Tensor, source: torch.Tensor, low: int) -> None:
        """Only `rows` rows stay: those at `source` move to `to`, and columns before `low` are dropped."""
        assert self.keys is not None
        assert self.values is not None
        if len(to):
            self.keys[to] = self.keys[source]
            self.values[to] = self.values[source]
        self.rows, self.low = rows, low

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns, and where they begin."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Columns so far."""
        return self.high - self.low

    def get_max_length(self) -> int:
        """No limit."""
        return -1


def _runs(lengths: Sequence[int]) -> list[tuple[int, int, int]]:
    """Neighbours of equal length: first, last + 1, length."""
    runs: list[tuple[int, int, int]] = []
    for index, length in enumerate(lengths):
        if runs and runs[-1][2] == length:
            runs[-1] = (runs[-1][0], index + 1, length)
        else:
            runs.append((index, index + 1, length))
    return runs


class RowCache:
    """The rows of a batch, in all layers.

    Args:
        num_layers: Of the model.

    Attributes:
        cache: What the model is given as `past_key_values`.
        lengths: Tokens in each row.
    """

    def __init__(self, num_layers: int) -> None:
        self._layers = [RowLayer() for _ in range(num_layers)]
        self.cache = Cache(layers=list(self._layers))
        self.lengths: list[int] = []

    @property
    def width(self) -> int:
        """Columns in use: the longest row, more or less."""
        return self._layers[0].get_seq_length()

    def join(self, fresh: Sequence[FreshLayer], lengths: Sequence[int], size: BufferSize) -> None:
        """Add rows after a prefill.

        Args:
            fresh: Each layer's keys and values, padded on the right.
            lengths: How many tokens each row has.
            size: What there will be, with the rows that are joined next, so that room is made once.
        """
        for layer, new in zip(self._layers, fresh, strict=True):
            layer.join(new, lengths, size)
        self.lengths.extend(lengths)

    def keep(self, kept: Sequence[int]) -> list[int]:
        """Give up all rows but these; where the rows that stay were before, in their new order."""
        order = list(range(len(self.lengths)))
        stays = set(kept)
        moved = [row for row in kept if row >= len(kept)]
        holes = [row for row in range(len(kept)) if row not in stays]
        for hole, row in zip(holes, moved, strict=True):
            order[hole] = row
        order = order[: len(kept)]
        self.lengths = [self.lengths[row] for row in order]
        for layer in self._layers:
            if not order:
                # The buffers stay: the next rows are likely to be of the same size.
                layer.rows, layer.low = 0, layer.high
                continue
            assert layer.keys is not None
            device = layer.keys.device
            to, source = (torch.tensor(rows, dtype=torch.long, device=device) for rows in (holes, moved))
            layer.keep(len(order), to, source, layer.high - max(self.lengths))
        return order

    def scrub(self) -> None:
        """Fill with zeros what is not in use, of rows that were given up."""
        for layer in self._layers:
            if layer.keys is not None and layer.values is not None:
                layer.keys[layer.rows :].zero_()
                layer.values[layer.rows :].zero_()

    def stepped(self) -> None:
        """The model was run with one more token per row."""
        self.lengths = [length + 1 for length in self.lengths]
