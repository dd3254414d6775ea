from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evalkit.clients.transformers.generate.prefix_groups import (
    PrefixGroup,
    PrefixStore,
    common_length,
    families,
)

CONTEXT, OTHER = tuple(range(1000, 1100)), tuple(range(2000, 2100))


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_common_length(one: list[int], other: list[int]) -> None:
    expected = 0
    while expected < min(len(one), len(other)) and one[expected] == other[expected]:
        expected += 1
    assert common_length(tuple(one), tuple(other)) == expected


def test_a_context_is_found() -> None:
    prompts = [(*CONTEXT, 1, 2), (*CONTEXT, 3), (*CONTEXT, 1, 4)]
    assert families(prompts) == [PrefixGroup(CONTEXT, (0, 2, 1))]


def test_a_prompt_s_last_token_is_not_shared() -> None:
    assert families([CONTEXT, (*CONTEXT, 3)]) == [PrefixGroup(CONTEXT[:-1], (0, 1))]


def test_two_contexts_under_one_header_are_told_apart() -> None:
    header = tuple(range(30))
    prompts = [(*header, *context, number) for context in (CONTEXT, OTHER) for number in range(5)]
    found = families(prompts)
    assert {family.prefix for family in found} == {(*header, *CONTEXT), (*header, *OTHER)}


def test_what_is_short_or_alone_shares_nothing() -> None:
    prompts = [(1, 2, 3, 4), (1, 2, 3, 5), (7,) * 40]
    assert all(family.prefix == () for family in families(prompts))


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=120).map(tuple), unique=True, max_size=20))
def test_every_prompt_is_in_one_family_and_begins_with_its_prefix(prompts: list[tuple[int, ...]]) -> None:
    found = families(prompts)
    assert sorted(member for family in found for member in family.members) == list(range(len(prompts)))
    for family in found:
        for member in family.members:
            assert prompts[member][: len(family.prefix)] == family.prefix
            assert len(family.prefix) < len(prompts[member])


def test_a_prefix_that_is_kept_is_used_for_single_prompts() -> None:
    store: PrefixStore[str] = PrefixStore()
    (family,) = store.plan([(*CONTEXT, 1), (*CONTEXT, 2)])
    store.put(family.prefix, "computed")
    assert store.plan([(*CONTEXT, 3)]) == [PrefixGroup(CONTEXT, (0,))]
    assert store.get(CONTEXT) == "computed"
    assert store.plan([(*OTHER, 3)]) == [PrefixGroup((), (0,))]


def test_a_beginning_that_comes_again_is_a_prefix() -> None:
    store: PrefixStore[str] = PrefixStore()
    assert store.plan([(*CONTEXT, 1)]) == [PrefixGroup((), (0,))]
    assert store.plan([(*CONTEXT, 2)]) == [PrefixGroup(CONTEXT, (0,))]


def test_only_the_prefixes_used_last_are_kept() -> None:
    store: PrefixStore[int] = PrefixStore(max_prefixes=2, max_tokens=250)
    first, second, third = (tuple(range(k, k + 100)) for k in (0, 1000, 2000))
    store.put(first, 1)
    store.put(second, 2)
    assert store.get(first) == 1
    store.put(third, 3)
    assert (store.get(first), store.get(second), store.get(third)) == (1, None, 3)
    store.put(tuple(range(300)), 4)
    assert store.get(tuple(range(300))) is None
    store.put(tuple(range(200)), 5)
    assert store.get(third) is None
    store.clear()
    assert store.get(tuple(range(200))) is None
