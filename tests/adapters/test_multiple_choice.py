from __future__ import annotations

import itertools
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.adapters.adapter import RequestSlot
from evalkit.adapters.multiple_choice import (
    MultipleChoiceJointAdapter,
    MultipleChoiceJointChainOfThoughtAdapter,
    MultipleChoiceSeparateCalibratedAdapter,
    MultipleChoiceSeparateOriginalAdapter,
    OptionLetters,
)
from evalkit.errors import DataError, UsageError
from evalkit.instance import Instance, Reference
from evalkit.metrics.reference import reference_tokens
from evalkit.request import RequestState
from evalkit.response import Completion, Response, Token
from evalkit.scoring.unit import Answer
from evalkit.specs.run_spec import AdapterSpec, Substitution


def question(
    *texts: str, right: int = 0, split: str = "test", extra: dict[str, Any] | None = None
) -> Instance:
    references = tuple(Reference(t, ("correct",) if i == right else ()) for i, t in enumerate(texts))
    return Instance("Which?", references, split, "id0", extra=extra)


@given(count=st.integers(1, 26), other=st.integers(1, 26))
def test_letters_count_up(count: int, other: int) -> None:
    letters = OptionLetters(AdapterSpec(reference_prefix="(A) "))
    for size in (count, other, count):
        instance = question(*["x"] * size)
        assert letters.of(instance) == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:size])
        assert letters.prefixes(instance)[:size] == [f"({c}) " for c in letters.of(instance)]


def test_named_letters() -> None:
    adapter = MultipleChoiceJointAdapter(
        AdapterSpec(reference_prefix="[1] ", reference_prefix_characters=("い", "ろ"), max_train_instances=0)
    )
    (state,) = adapter.requests([question("x", "y", right=1)], [])
    assert state.request.prompt == "Input: Which?\n[い] x\n[ろ] y\nOutput:"
    assert state.output_mapping == {"い": "x", "ろ": "y"}
    assert adapter.gold(question("x", "y", right=1)) == "ろ"
    with pytest.raises(UsageError, match="2 letters for 3 options"):
        list(adapter.requests([question("x", "y", "z")], []))


def test_prefix_without_a_letter_is_an_error() -> None:
    with pytest.raises(UsageError, match="no letter or digit"):
        MultipleChoiceJointAdapter(AdapterSpec(reference_prefix="- "))


@pytest.mark.parametrize(
    "adapter_class",
    [
        MultipleChoiceJointAdapter,
        MultipleChoiceJointChainOfThoughtAdapter,
        MultipleChoiceSeparateOriginalAdapter,
        MultipleChoiceSeparateCalibratedAdapter,
    ],
)
def test_no_options_is_an_error(adapter_class: Any) -> None:
    with pytest.raises(DataError, match="id0 has no references"):
        list(adapter_class(AdapterSpec()).requests([question()], []))


def test_joint_asks_for_one_letter_with_alternatives() -> None:
    spec = AdapterSpec(num_outputs=7, max_tokens=1, temperature=0, stop_sequences=("\n",))
    (state,) = MultipleChoiceJointAdapter(spec).requests([question("x", "y")], [])
    request = state.request
    assert (request.num_completions, request.top_k_per_token, request.stop_sequences) == (1, 7, ())
    assert (request.max_tokens, request.temperature, request.echo_prompt) == (1, 0, False)
    assert state.unit_size == 1


def test_unlabelled_example_shows_no_letter() -> None:
    adapter = MultipleChoiceJointAdapter(AdapterSpec())
    assert adapter.example(question("x", "y", right=9)).endswith("Output: n/a\n")


def test_chain_of_thought_must_be_there() -> None:
    adapter = MultipleChoiceJointChainOfThoughtAdapter(AdapterSpec())
    train = [question("x", "y", split="train")]
    with pytest.raises(DataError, match="chain_of_thought"):
        list(adapter.requests([question("x", "y")], train))
    shown = adapter.example(
        question("x", "y", right=1, split="train", extra={"chain_of_thought": "Because."})
    )
    assert shown == "Input: Which?\nA. x\nB. y\nOutput: Because.\nB. \n"


def test_separate_scores_each_option_with_and_without_its_question() -> None:
    spec = AdapterSpec(
        input_prefix="", input_suffix="", output_prefix=" ", output_suffix="", instructions="I", temperature=1
    )
    train = [question("t", split="train")]
    states = list(MultipleChoiceSeparateCalibratedAdapter(spec).requests([question("x", "y")], train))
    assert [s.request.prompt for s in states] == [
        "I\nWhich? t\nWhich? x",
        "I\nAnswer: x",
        "I\nWhich? t\nWhich? y",
        "I\nAnswer: y",
    ]
    assert [s.num_train_instances for s in states] == [1, 0, 1, 0]
    for state in states:
        request = state.request
        assert request.echo_prompt
        assert (request.max_tokens, request.temperature, request.num_completions) == (0, 0, 1)
    original = MultipleChoiceSeparateOriginalAdapter(spec)
    assert original.slots(question("x", "y")) == [RequestSlot(0, "original"), RequestSlot(1, "original")]


def echo(state: RequestState, cuts: set[int], from_character: int) -> Answer:
    """The prompt's tokens that reach beyond a character, cut as a tokenizer might do."""
    text = state.request.prompt
    places = [0, *sorted(cut for cut in cuts if 0 < cut < len(text)), len(text)]
    tokens = tuple(
        Token(text[begin:end], -float(begin))
        for begin, end in itertools.pairwise(places)
        if end > from_character
    )
    spelled = "".join(token.text for token in tokens)
    return Answer(state, Response((Completion(spelled, "length", tokens=tokens),)))


@pytest.mark.parametrize(
    "adapter_class", [MultipleChoiceSeparateOriginalAdapter, MultipleChoiceSeparateCalibratedAdapter]
)
@given(
    options=st.lists(st.text("ab é\n", min_size=1, max_size=6), min_size=1, max_size=4),
    suffix=st.sampled_from(("", "\n", " .")),
    seed=st.integers(0, 999),
)
def test_what_is_scored_is_enough_for_the_metric(
    adapter_class: Any, options: list[str], suffix: str, seed: int
) -> None:
    spec = AdapterSpec(output_suffix=suffix)
    random = Random(seed)
    for state in adapter_class(spec).requests([question(*options)], [question("t", split="train")]):
        request = state.request
        assert state.reference_index is not None
        option = options[state.reference_index]
        assert request.scored_from is not None
        assert request.prompt[request.scored_from :] == option + suffix
        cuts = {random.randrange(len(request.prompt)) for _ in range(random.randint(0, 60))}
        found = [
            reference_tokens(echo(state, cuts, begin), option, suffix) for begin in (0, request.scored_from)
        ]
        assert found[0] == found[1]


def test_a_prompt_that_does_not_end_with_its_option_is_scored_whole() -> None:
    spec = AdapterSpec(substitutions=(Substitution(source="sky", target="sea"),), output_suffix="")
    adapter = MultipleChoiceSeparateOriginalAdapter(spec)
    states = list(adapter.requests([question("blue sky", "red")], []))
    assert states[0].request.prompt.endswith("blue sea")
    assert states[0].request.scored_from is None
    assert states[1].request.scored_from is not None
