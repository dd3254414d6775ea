"""Finding out what a model can share between prompts, by trying it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import torch

from evalkit.clients.transformers.batching import is_out_of_memory
from evalkit.clients.transformers.network import Feed, Network
from evalkit.clients.transformers.score.layouts import Sharing, row_feed, tree_feed
from evalkit.clients.transformers.score.prefix_tree import PrefixTree
from evalkit.clients.transformers.score.prefixes import Prefix, Prefixes

_SEED = 0x5EED
_COMMON_TOKENS = 48
_ENDINGS_TOKENS = ((8, (5, 1, 9)), (3, (4, 6)))  # families: what they share, and how each goes on
# How far logits may be off, relative to how far they spread over the vocabulary.
_TOLERANCES = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 2e-2}
_TOLERANCE = 6e-2  # bfloat16, and what computes in it
# Most times the error of rows without sharing that sharing may have, and the most error at all.
_TIMES_NOISE, _MOST_NOISE = 4, 0.15


def probe(network: Network, is_recurrent: bool) -> Sharing:
    """What sharing leaves the logits as they are; also finds out whether the network has parts.

    The logits of a few random texts are computed plainly, one by one, and then in each way, until one agrees.
    Nothing is shared where none does. Running out of memory is passed on.
    """
    texts = _texts(random.Random(_SEED), network.vocab_size)
    tolerance = _TOLERANCES.get(network.dtype, _TOLERANCE)
    with torch.inference_mode():
        plain = [network.plain_logits(text) for text in texts]
        noise = _off(network, texts, plain, 0, row_feed)
        if network.has_parts and noise > tolerance:
            network.has_parts = False
            noise = _off(network, texts, plain, 0, row_feed)
        if is_recurrent:
            return Sharing.NONE
        # What is quantised on the way differs by the batch, whether anything is shared or not.
        tolerance = max(tolerance, min(_TIMES_NOISE * noise, _MOST_NOISE))
        if network.takes_masks and _off(network, texts, plain, _COMMON_TOKENS, tree_feed) <= tolerance:
            return Sharing.TREE
        if _off(network, texts, plain, _COMMON_TOKENS, row_feed) <= tolerance:
            return Sharing.PREFIX
    return Sharing.NONE


def _texts(draw: random.Random, vocab_size: int) -> list[list[int]]:
    def some(count: int) -> list[int]:
        return [draw.randrange(vocab_size) for _ in range(count)]

    common = some(_COMMON_TOKENS)
    texts = []
    for shared, endings in _ENDINGS_TOKENS:
        question = [*common, *some(shared)]
        texts += [[*question, *some(length)] for length in endings]
    return texts


def _off(
    network: Network,
    texts: list[list[int]],
    plain: list[torch.Tensor],
    known: int,
    feed: Callable[[Network, PrefixTree, Prefix | None], Feed],
) -> float:
    """How far the texts' logits are off the plain ones, relative to how far those spread over the vocabulary.

    Args:
        network: The model.
        texts: They begin alike.
        plain: Their logits.
        known: How many of their tokens are a prefix that is computed first.
        feed: How they are put to the model; infinitely far off where it refuses.
    """
    tree = PrefixTree.of([text[known:] for text in texts], known)
    try:
        prefix = Prefixes(network).of(texts[0][:known])[0] if known else None
        found = torch.cat(list(network.logits(feed(network, tree, prefix))))
    except Exception as error:  # a model may refuse in any way it likes
        if is_out_of_memory(error):
            raise
        return math.inf
    worst = 0.0
    for path, wanted in zip(tree.paths, plain, strict=True):
        wanted = wanted[known:].to(found.device)
        off = (found[list(path)] - wanted).square().mean(-1).sqrt() / wanted.std(-1).clamp_min(1e-30)
        worst = max(worst, float(off.nan_to_num(math.inf).max()))
    return worst
