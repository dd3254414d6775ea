from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evalkit.clients.transformers.score.prefix_tree import (
    PrefixTree,
    beginning,
    shared_length,
    sort_key,
    token_count,
)

# Few different tokens, so that much is shared; some beyond a byte and beyond two.
TOKENS = st.sampled_from((0, 1, 2, 300, 70_000))
SEQUENCES = st.lists(st.lists(TOKENS, max_size=8), min_size=1, max_size=12)


def test_a_question_with_choices_stands_there_once() -> None:
    tree = PrefixTree.of([[7, 8, 1], [7, 8, 2, 3], [7, 8], [5]], depth=10)
    assert tree.tokens == (5, 7, 8, 1, 2, 3)
    assert tree.depths == (10, 10, 11, 12, 12, 13)
    assert tree.ends == (1, 6, 6, 4, 6, 6)
    assert tree.paths == ((1, 2, 3), (1, 2, 4, 5), (1, 2), (0,))
    assert tree.leaves == (3, 0, 1)
    assert tree.longest == 4


@given(SEQUENCES)
def test_paths_spell_the_sequences_and_nothing_stands_there_twice(sequences: list[list[int]]) -> None:
    tree = PrefixTree.of(sequences)
    beginnings = {tuple(s[: n + 1]) for s in sequences for n in range(len(s))}
    assert len(tree.tokens) == len(beginnings)
    for sequence, path in zip(sequences, tree.paths, strict=True):
        assert [tree.tokens[node] for node in path] == sequence
        assert [tree.depths[node] for node in path] == list(range(len(sequence)))


@given(SEQUENCES)
def test_a_node_comes_after_those_of_its_own_beginning_only(sequences: list[list[int]]) -> None:
    tree = PrefixTree.of(sequences)
    before = {node: set(path[: at + 1]) for path in tree.paths for at, node in enumerate(path)}
    for node in range(len(tree.tokens)):
        seen = {other for other in range(len(tree.tokens)) if other <= node < tree.ends[other]}
        assert seen == before[node]


@given(SEQUENCES)
def test_leaves_hold_all_nodes(sequences: list[list[int]]) -> None:
    tree = PrefixTree.of(sequences)
    assert {node for leaf in tree.leaves for node in tree.paths[leaf]} == set(range(len(tree.tokens)))
    texts = [tuple(sequences[leaf]) for leaf in tree.leaves]
    assert not any(a != b and b[: len(a)] == a for a in texts for b in texts)
    assert len(set(texts)) == len(texts)


@given(st.lists(TOKENS, max_size=9), st.lists(TOKENS, max_size=9))
def test_keys_sort_and_compare_as_tokens(a: list[int], b: list[int]) -> None:
    assert (sort_key(a) < sort_key(b)) == (a < b)
    assert token_count(sort_key(a)) == len(a)
    assert beginning(sort_key(a), 2) == sort_key(a[:2])
    naive = next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    assert shared_length(sort_key(a), sort_key(b)) == naive
