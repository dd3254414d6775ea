"""Which prompts are computed together: those that share their beginnings, or those of a length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from evalkit.clients.transformers.score.prefix_tree import shared_length, token_count

# A shared beginning that is shorter is computed with what follows it: another pass costs more.
SHORTEST_PREFIX_TOKENS = 32
# Sequences that share less of their length with a neighbour are better off in their own rows.
_LEAST_SHARED = 0.2
# A full pack is cut where its sequences share least, within so much of its end.
_CUT_WITHIN = 1 / 3


@dataclass(frozen=True, slots=True)
class Span:
    """A sequence of tokens that is to be computed.

    Attributes:
        key: Its tokens, by `sort_key`.
        first_needed: Its first token whose state is wanted, so that it has to be computed with the pack.
    """

    key: bytes
    first_needed: int

    @property
    def length(self) -> int:
        """Its tokens."""
        return token_count(self.key)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a pack may hold; a single sequence may be longer.

    Attributes:
        max_tokens: Positions computed after what all of the pack shares, padding included.
        max_size: Sequences.
        max_tree_tokens: Where each shared token is computed once: most of them; None: only what the whole
            pack shares is computed once, and the rest in rows.
    """

    max_tokens: int
    max_size: int
    max_tree_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class _Pack:
    """Neighbours in sorted order, and what it takes to compute them."""

    shared: int
    nodes: int
    longest: int
    last: int
    leaves: int = 1
    size: int = 1

    @staticmethod
    def of(span: Span) -> _Pack:
        return _Pack(min(span.first_needed, span.length), span.length, span.length, span.length)

    def grown(self, span: Span, shared: int) -> _Pack:
        """Itself and one more, which shares `shared` tokens with the last."""
        return _Pack(
            shared=min(self.shared, shared, span.first_needed),
            nodes=self.nodes + span.length - shared,
            longest=max(self.longest, span.length),
            last=span.length,
            leaves=self.leaves + (shared < self.last),
            size=self.size + 1,
        )

    @property
    def prefix(self) -> int:
        """Tokens that are computed once before the rest."""
        return self.shared if self.shared >= SHORTEST_PREFIX_TOKENS else 0

    def fits(self, limits: Limits) -> bool:
        if limits.max_tree_tokens is not None:
            fits = self.nodes - self.prefix <= min(limits.max_tokens, limits.max_tree_tokens)
        else:
            fits = self.leaves * (self.longest - self.prefix) <= limits.max_tokens
        return fits and self.size <= limits.max_size


def pack_by_prefix(spans: Sequence[Span], limits: Limits) -> list[list[int]]:
    """Packs of sequences that share their beginnings, in sorted order, by their indices.

    Sequences that share little with any other are packed by length.
    """
    order = sorted(range(len(spans)), key=lambda index: spans[index].key)
    shared = _shared(spans, order)
    related: list[int] = []
    alone: list[int] = []
    for at, index in enumerate(order):
        most = max(shared[at : at + 2])
        (related if most >= _LEAST_SHARED * spans[index].length else alone).append(index)
    shared = _shared(spans, related)
    packs, begin = [], 0
    while begin < len(related):
        end = _end_of_pack(spans, related, shared, begin, limits)
        packs.append(related[begin:end])
        begin = end
    in_rows = pack_by_length([spans[index] for index in alone], limits)
    return packs + [[alone[index] for index in pack] for pack in in_rows]


def pack_by_length(spans: Sequence[Span], limits: Limits) -> list[list[int]]:
    """Packs of sequences that are of a length, longest first, by their indices; equal ones are neighbours."""
    limits = Limits(limits.max_tokens, limits.max_size)
    order = sorted(range(len(spans)), key=lambda index: (-spans[index].length, spans[index].key))
    packs: list[list[int]] = []
    pack: _Pack | None = None
    before = b""
    for index in order:
        span = Span(spans[index].key, 0)  # nothing is left to a prefix
        grown = None
        if pack is not None:
            grown = pack.grown(span, span.length if span.key == before else 0)
        if grown is None or not grown.fits(limits):
            packs.append([])
            grown = _Pack.of(span)
        packs[-1].append(index)
        pack, before = grown, span.key
    return packs


def isolated_packs(spans: Sequence[Span], packs: Sequence[Sequence[int]]) -> list[bool]:
    """Of each pack, whether its prefix is useless to its neighbours.

    Never true of a single pack: a later one may continue it.

    Args:
        spans: The sequences.
        packs: As `pack_by_prefix` made them: neighbours share most.
    """
    edges = [
        shared_length(spans[one[-1]].key, spans[other[0]].key) < SHORTEST_PREFIX_TOKENS
        for one, other in pairwise(packs)
    ]
    if not edges:
        return [False] * len(packs)
    return [before and after for before, after in zip([True, *edges], [*edges, True], strict=True)]


def _shared(spans: Sequence[Span], order: Sequence[int]) -> list[int]:
    """How many tokens each shares with the one before it; 0 for the first."""
    keys = [spans[index].key for index in order]
    return [0, *(shared_length(a, b) for a, b in pairwise(keys))]


def _end_of_pack(
    spans: Sequence[Span], order: Sequence[int], shared: Sequence[int], begin: int, limits: Limits
) -> int:
    """Where the pack ends that begins at `begin` of `order`."""
    pack = _Pack.of(spans[order[begin]])
    for at in range(begin + 1, len(order)):
        grown = pack.grown(spans[order[at]], shared[at])
        if not grown.fits(limits):
            return _best_cut(shared, begin, at)
        # The packs before this one have left its prefix behind: don't compute that again to take in another.
        is_kept = pack.prefix < shared[begin] + SHORTEST_PREFIX_TOKENS
        if is_kept and grown.prefix + SHORTEST_PREFIX_TOKENS < pack.prefix:
            return at
        pack = grown
    return len(order)


def _best_cut(shared: Sequence[int], begin: int, end: int) -> int:
    """The place near the end of a full pack where least is computed on both sides; the last of equal ones."""
    earliest = max(begin + 1, end - int((end - begin) * _CUT_WITHIN))
    return min(range(end, earliest - 1, -1), key=shared.__getitem__)
