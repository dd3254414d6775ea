"""Ways to put a tree of prompts to a model in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import torch

from evalkit.clients.transformers.network import Feed, Network
from evalkit.clients.transformers.score.prefix_tree import PrefixTree
from evalkit.clients.transformers.score.prefixes import Prefix


class Sharing(Enum):
    """What prompts of one pass can share, from most to least."""

    TREE = "every common beginning, by an attention mask"
    PREFIX = "the beginning that all have in common, by its keys and values"
    NONE = "nothing: rows that are padded on the right, of which a model that looks back only sees nothing"


def tree_feed(network: Network, tree: PrefixTree, prefix: Prefix | None) -> Feed:
    """All nodes in one row, each of which sees the prefix and the nodes before it in its sequences."""
    device = network.device
    ids, depths, ends = (torch.tensor(each, device=device) for each in (tree.tokens, tree.depths, tree.ends))
    at = torch.arange(len(tree.tokens), device=device)
    sees = (at <= at[:, None]) & (at[:, None] < ends)
    known = torch.arange(prefix.length if prefix else 0, device=device)
    sees = torch.cat([sees.new_ones(len(at), len(known)), sees], dim=1)
    distance = depths[:, None] - torch.cat([known, depths])
    options: dict[str, Any] = {
        "attention_mask": network.mask(sees, distance),
        "position_ids": depths[None],
        **_cache(prefix),
    }
    return Feed(ids[None], torch.zeros_like(at), at, options)


def row_feed(network: Network, tree: PrefixTree, prefix: Prefix | None) -> Feed:
    """A row for each sequence that is not a beginning of another, after the prefix, padded on the right.

    No token sees what stands to its right, so the padding needs no mask.
    """
    rows, columns = [0] * len(tree.tokens), [0] * len(tree.tokens)
    paths = [tree.paths[leaf] for leaf in tree.leaves]
    for row, path in enumerate(paths):
        for column, node in enumerate(path):
            rows[node], columns[node] = row, column
    ids = pad_right([[tree.tokens[node] for node in path] for path in paths]).to(network.device)
    where = torch.tensor([rows, columns], device=network.device)
    return Feed(ids, where[0], where[1], _cache(prefix))


def pad_right(sequences: Sequence[Sequence[int]]) -> torch.Tensor:
    """Sequences of tokens as rows, [sequences, tokens of the longest]; behind them stands any token."""
    ids = torch.zeros(len(sequences), max(map(len, sequences)), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
    return ids


def make_feed(network: Network, tree: PrefixTree, prefix: Prefix | None, sharing: Sharing) -> Feed:
    """The pass that does least work for a tree, of those that the model can do."""
    known = prefix.length if prefix else 0
    weight = network.weight_per_position + known
    as_tree = len(tree.tokens) * (weight + len(tree.tokens))
    as_rows = len(tree.leaves) * tree.longest * (weight + tree.longest / 2)
    if sharing is Sharing.TREE and len(tree.leaves) > 1 and as_tree < as_rows:
        return tree_feed(network, tree, prefix)
    return row_feed(network, tree, prefix)


def _cache(prefix: Prefix | None) -> dict[str, Any]:
    return {} if prefix is None else {"past_key_values": prefix.cache(), "use_cache": True}
