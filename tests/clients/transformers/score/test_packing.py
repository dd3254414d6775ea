from __future__ import annotations

from collections.abc import Sequence
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from evalkit.clients.transformers.score.packing import (
    SHORTEST_PREFIX_TOKENS,
    Limits,
    Span,
    isolated_packs,
    pack_by_length,
    pack_by_prefix,
)
from evalkit.clients.transformers.score.prefix_tree import PrefixTree, shared_length, sort_key


def spans_of(sequences: Sequence[Sequence[int]], first_needed: Sequence[int]) -> list[Span]:
    return [Span(sort_key(s), first) for s, first in zip(sequences, first_needed, strict=True)]


def computed(sequences: Sequence[Sequence[int]], first_needed: Sequence[int], as_tree: bool) -> int:
    """Positions of a pack behind what all of it shares."""
    keys = [sort_key(s) for s in sequences]
    shared = min(shared_length(min(keys), max(keys)), *first_needed, *map(len, sequences))
    known = shared if shared >= SHORTEST_PREFIX_TOKENS else 0
    tree = PrefixTree.of([s[known:] for s in sequences], known)
    return len(tree.tokens) if as_tree else len(tree.leaves) * tree.longest


def questions(
    random: Random, context: Sequence[int], number: int, choices: int = 4, tokens: int = 20
) -> tuple[list[list[int]], list[int]]:
    """Questions of some tokens after a context, each with choices of three tokens, and where those begin."""
    sequences, first = [], []
    for _ in range(number):
        question = [*context, *(random.randrange(1000) for _ in range(tokens))]
        for _ in range(choices):
            sequences.append([*question, *(random.randrange(1000) for _ in range(3))])
            first.append(len(question) - 1)
    return sequences, first


SEQUENCE = st.builds(
    lambda context, tail: [context] * (40 * context) + tail,
    st.integers(0, 3),
    st.lists(st.integers(0, 3), min_size=1, max_size=30),
)


@given(
    st.lists(SEQUENCE, min_size=1, max_size=40),
    st.integers(1, 200),
    st.integers(1, 9),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_every_sequence_is_in_one_pack_within_its_limits(
    sequences: list[list[int]], max_tokens: int, max_size: int, as_tree: bool, random: Random
) -> None:
    first = [random.randrange(len(s)) for s in sequences]
    limits = Limits(max_tokens, max_size, max_tokens if as_tree else None)
    for packs in (
        pack_by_prefix(spans_of(sequences, first), limits),
        pack_by_length(spans_of(sequences, first), limits),
    ):
        assert sorted(index for pack in packs for index in pack) == list(range(len(sequences)))
        for pack in packs:
            assert 1 <= len(pack) <= max_size
            distinct = {tuple(sequences[index]) for index in pack}
            if len(distinct) > 1:
                rows = len(distinct) * max(map(len, distinct))
                taken = computed([sequences[i] for i in pack], [first[i] for i in pack], as_tree)
                assert min(taken, rows) <= max_tokens


def test_a_question_is_not_torn_from_its_choices() -> None:
    random = Random(0)
    context = [random.randrange(1000) for _ in range(100)]
    sequences, first = questions(random, context, 50)
    packs = pack_by_prefix(spans_of(sequences, first), Limits(1000, 100, 110))
    for pack in packs:
        assert len(pack) % 4 == 0
        assert {index // 4 for index in pack} == {index // 4 for index in pack if index % 4 == 0}
    # 29 tokens each: three questions fit.
    assert len(packs) == 17


def test_questions_after_other_examples_are_packed_apart() -> None:
    random = Random(1)
    sequences, first = [], []
    for _ in range(2):
        context = [random.randrange(1000) for _ in range(60)]
        more, more_first = questions(random, context, 20)
        sequences += more
        first += more_first
    packs = pack_by_prefix(spans_of(sequences, first), Limits(1000, 100, 400))
    # The last few of the first would leave room for some of the second, but their examples are kept already.
    assert all(len({index // 80 for index in pack}) == 1 for pack in packs)


def test_questions_without_examples_fill_packs() -> None:
    random = Random(2)
    sequences, first = questions(random, [], 30, tokens=40)
    packs = pack_by_prefix(spans_of(sequences, first), Limits(1000, 100, 500))
    assert len(packs) == 4  # 52 tokens each: nine fit


def test_texts_of_their_own_are_packed_by_length() -> None:
    random = Random(3)
    sequences = [[random.randrange(1000) for _ in range(length)] for length in (9, 90, 10, 88, 11, 91)]
    packs = pack_by_prefix(spans_of(sequences, [0] * 6), Limits(300, 100, 300))
    assert packs == [[5, 1, 3], [4, 2, 0]]


def test_equal_texts_take_one_row() -> None:
    sequences = [[1, 2, 3, 4]] * 5 + [[5, 6, 7, 8]]
    assert len(pack_by_length(spans_of(sequences, [0] * 6), Limits(8, 100))) == 1


def test_packs_that_begin_unlike_their_neighbours_stand_apart() -> None:
    context = list(range(40))
    sequences = [[*context, n, *range(100, 150)] for n in (1, 2)]
    sequences += [[50 + n, *range(100, 150)] for n in (1, 2)]
    spans = spans_of(sequences, [50] * 4)
    assert isolated_packs(spans, [[0], [1], [2], [3]]) == [False, False, True, True]
    assert isolated_packs(spans, [[2]]) == [False]
    assert isolated_packs(spans, []) == []
