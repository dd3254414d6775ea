"""Which prompts begin alike, so that their common beginning need be computed only once."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

Tokens = tuple[int, ...]
Kept = TypeVar("Kept")

# A shorter beginning is as quickly computed again as set apart.
_LEAST_TOKENS = 16
_LEAST_SAVED_TOKENS = 64
_NUM_RECENT = 16


@dataclass(frozen=True, slots=True)
class PrefixGroup:
    """Prompts with a common beginning.

    Attributes:
        prefix: What they begin with, shorter than each of them; empty: they share nothing.
        members: Their places in the list of prompts.
    """

    prefix: Tokens
    members: tuple[int, ...]


def common_length(one: Tokens, other: Tokens) -> int:
    """How many tokens two texts have in common at their beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def families(prompts: Sequence[Tokens]) -> list[PrefixGroup]:
    """Divide prompts, which are all different, so that few tokens are computed more than once."""
    order = sorted(range(len(prompts)), key=prompts.__getitem__)
    texts = [prompts[index] for index in order]
    # A prompt's last token is never shared: what comes after it is wanted.
    shared = [min(common_length(a, b), len(a) - 1) for a, b in pairwise(texts)]
    return [
        PrefixGroup(texts[first][:length], tuple(order[first:last]))
        for first, last, length in _division(shared, len(order))
    ]


def _division(shared: Sequence[int], number: int) -> list[tuple[int, int, int]]:
    """Runs of sorted texts, each with the length of what it shares.

    A run is divided where its neighbours have least in common, as long as that saves more.
    """
    stack, done = [(0, number)] if number else [], []
    while stack:
        first, last = stack.pop()
        if last - first == 1:
            done.append((first, last, 0))
            continue
        least = min(shared[first : last - 1])
        cuts = [index + 1 for index in range(first, last - 1) if shared[index] == least]
        parts = list(zip([first, *cuts], [*cuts, last], strict=True))
        saved = _saved(least, first, last)
        finer = sum(_saved(min(shared[a : b - 1], default=0), a, b) for a, b in parts)
        if saved and saved >= finer:
            done.append((first, last, least))
        else:
            stack.extend(parts)
    return sorted(done)


def _saved(length: int, first: int, last: int) -> int:
    """Tokens saved if texts `first` to `last` share `length` tokens; 0 where that is not worth it."""
    saved = length * (last - first - 1)
    return saved if length >= _LEAST_TOKENS and saved >= _LEAST_SAVED_TOKENS else 0


class PrefixStore(Generic[Kept]):
    """What was computed for the prefixes used last, and which beginnings come again.

    Args:
        max_prefixes: How many are kept.
        max_tokens: How many tokens they have together, at most.
    """

    def __init__(self, max_prefixes: int = 4, max_tokens: int = 8192) -> None:
        self._max_prefixes, self._max_tokens = max_prefixes, max_tokens
        self._kept: OrderedDict[Tokens, Kept] = OrderedDict()
        self._recent: deque[Tokens] = deque(maxlen=_NUM_RECENT)

    def plan(self, prompts: Sequence[Tokens]) -> list[PrefixGroup]:
        """Divide prompts, which are all different, by what they share with each other or earlier ones."""
        members: dict[Tokens, list[int]] = {}
        for family in families(prompts):
            if family.prefix:
                members.setdefault(family.prefix, []).extend(family.members)
                continue
            for member in family.members:
                members.setdefault(self._known(prompts[member]), []).append(member)
        self._remember(prompts)
        return [PrefixGroup(prefix, tuple(places)) for prefix, places in members.items()]

    def longest(self, prompt: Tokens) -> Tokens:
        """The longest prefix kept that the prompt begins with, and goes beyond; empty if there is none."""
        fitting = [p for p in self._kept if len(p) < len(prompt) and prompt[: len(p)] == p]
        return max(fitting, key=len, default=())

    def get(self, prefix: Tokens) -> Kept | None:
        """What was computed for a prefix; it counts as used now."""
        if prefix not in self._kept:
            return None
        self._kept.move_to_end(prefix)
        return self._kept[prefix]

    def put(self, prefix: Tokens, computed: Kept) -> None:
        """Keep what was computed, unless it alone is too much."""
        if len(prefix) > self._max_tokens:
            return
        self._kept[prefix] = computed
        while len(self._kept) > self._max_prefixes or sum(map(len, self._kept)) > self._max_tokens:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._recent.clear()

    def _known(self, prompt: Tokens) -> Tokens:
        """What a prompt shares with earlier ones, kept already or worth to be."""
        known = self.longest(prompt)
        seen = max((common_length(prompt, other) for other in self._recent), default=0)
        seen = min(seen, len(prompt) - 1)
        if seen >= max(_LEAST_SAVED_TOKENS, 2 * len(known)):
            return prompt[:seen]
        return known if len(known) >= _LEAST_TOKENS else ()

    def _remember(self, prompts: Iterable[Tokens]) -> None:
        self._recent.extend(list(prompts)[-_NUM_RECENT:])
