"""Sequences of tokens that begin alike, laid out so that what they share stands there once."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

_BYTES_PER_TOKEN = 4


def sort_key(ids: Sequence[int]) -> bytes:
    """The tokens as bytes: they sort as the tokens do, and compare at the speed of memory."""
    return struct.pack(f">{len(ids)}I", *ids)


def token_count(key: bytes) -> int:
    """How many tokens a sort key encodes."""
    return len(key) // _BYTES_PER_TOKEN


def beginning(key: bytes, length: int) -> bytes:
    """The sort key of its first tokens."""
    return key[: length * _BYTES_PER_TOKEN]


def shared_length(a: bytes, b: bytes) -> int:
    """With how many equal tokens two sequences begin, given as their sort keys."""
    low, high = 0, min(token_count(a), token_count(b))
    while low < high:
        middle = (low + high + 1) // 2
        span = slice(low * _BYTES_PER_TOKEN, middle * _BYTES_PER_TOKEN)
        if a[span] == b[span]:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(frozen=True, slots=True)
class PrefixTree:
    """Sequences as a tree: one node for each token, depth first.

    Attributes:
        tokens: The token of each node.
        depths: How many tokens stand before it in its sequences, those before the tree included.
        ends: The first node behind it that is not its descendant: node t comes after node s in a sequence
            if and only if s <= t < ends[s].
        paths: For each sequence the nodes of its tokens.
        leaves: Sequences that together hold all nodes: none is a beginning of another.
    """

    tokens: tuple[int, ...]
    depths: tuple[int, ...]
    ends: tuple[int, ...]
    paths: tuple[tuple[int, ...], ...]
    leaves: tuple[int, ...]

    @staticmethod
    def of(sequences: Sequence[Sequence[int]], depth: int = 0) -> PrefixTree:
        """The tree of some sequences, which all follow the same `depth` tokens."""
        tokens: list[int] = []
        depths: list[int] = []
        ends: list[int] = []
        paths: list[tuple[int, ...]] = [()] * len(sequences)
        leaves: list[int] = []
        path: list[int] = []
        keys = [sort_key(sequence) for sequence in sequences]
        before = b""
        for index in sorted(range(len(sequences)), key=keys.__getitem__):
            sequence = sequences[index]
            shared = shared_length(before, keys[index])
            if leaves and shared == len(path):
                leaves.pop()  # it goes on where the one before ends
            for node in path[shared:]:
                ends[node] = len(tokens)
            path[shared:] = range(len(tokens), len(tokens) + len(sequence) - shared)
            tokens.extend(sequence[shared:])
            depths.extend(range(depth + shared, depth + len(sequence)))
            ends.extend([0] * (len(sequence) - shared))
            leaves.append(index)
            paths[index] = tuple(path)
            before = keys[index]
        for node in path:
            ends[node] = len(tokens)
        return PrefixTree(tuple(tokens), tuple(depths), tuple(ends), tuple(paths), tuple(leaves))

    @property
    def longest(self) -> int:
        """Nodes of the longest sequence."""
        return max((len(self.paths[leaf]) for leaf in self.leaves), default=0)
