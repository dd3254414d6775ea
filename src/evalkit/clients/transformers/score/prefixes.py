"""Keys and values of beginnings that many prompts share, kept while they are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers.cache_utils import Cache

from evalkit.clients.transformers.network import Feed, Network
from evalkit.clients.transformers.row_cache import FreshLayer
from evalkit.clients.transformers.score.packing import SHORTEST_PREFIX_TOKENS
from evalkit.clients.transformers.score.prefix_tree import beginning, shared_length, sort_key, token_count

_MOST_KEPT = 4
_MOST_KEPT_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Prefix:
    """A beginning that is computed.

    Attributes:
        key: Its tokens, by `sort_key`.
        layers: Keys and values of each layer, each [1, heads, tokens, size].
    """

    key: bytes
    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    @property
    def length(self) -> int:
        """Its tokens."""
        return token_count(self.key)

    def cut(self, length: int) -> Prefix:
        """Its first tokens."""
        layers = tuple((keys[:, :, :length], values[:, :, :length]) for keys, values in self.layers)
        return Prefix(beginning(self.key, length), layers)

    def cache(self) -> Cache:
        """A cache that holds it, for one pass over any number of rows; the prefix itself stays as it is."""
        return Cache(layers=[FreshLayer(layer) for layer in self.layers])


class Prefixes:
    """The beginnings used last, at most four.

    Args:
        network: Computes them.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._kept: list[Prefix] = []  # the last used last

    def of(self, ids: Sequence[int]) -> tuple[Prefix, int]:
        """The keys and values of these tokens, or of nearly as many of them where those are kept.

        Returns:
            The prefix, and how many tokens had to be computed for it.
        """
        key = sort_key(ids)
        nearest = max(self._kept, key=lambda kept: shared_length(kept.key, key), default=None)
        shared = 0 if nearest is None else shared_length(nearest.key, key)
        if nearest is not None and shared >= SHORTEST_PREFIX_TOKENS:
            self._kept.remove(nearest)
            self._kept.append(nearest)
            if len(ids) - shared <= SHORTEST_PREFIX_TOKENS:
                return nearest.cut(shared), 0
            made = self._computed(key, ids, nearest.cut(shared))
            if shared == nearest.length:
                self._kept.remove(nearest)  # the longer one has it in it
        else:
            shared = 0
            made = self._computed(key, ids, None)
        self._kept.append(made)
        while len(self._kept) > 1 and (
            len(self._kept) > _MOST_KEPT or sum(kept.length for kept in self._kept) > _MOST_KEPT_TOKENS
        ):
            del self._kept[0]
        return made, len(ids) - shared

    def has_some_of(self, ids: Sequence[int]) -> bool:
        """Whether enough of a beginning of these tokens is kept."""
        key = sort_key(ids)
        return any(shared_length(kept.key, key) >= SHORTEST_PREFIX_TOKENS for kept in self._kept)

    def clear(self) -> None:
        """Keep none."""
        self._kept.clear()

    def _computed(self, key: bytes, ids: Sequence[int], known: Prefix | None) -> Prefix:
        cache = Cache(layer_class_to_replicate=FreshLayer) if known is None else known.cache()
        fresh = torch.tensor([ids[known.length if known else 0 :]], device=self._network.device)
        nothing = torch.empty(0, dtype=torch.long, device=self._network.device)
        self._network.fill(Feed(fresh, nothing, nothing, {"past_key_values": cache, "use_cache": True}))
        return Prefix(key, tuple((layer.keys, layer.values) for layer in cache.layers))
