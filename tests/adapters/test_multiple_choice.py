from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.adapters.adapter import Slot
from evalkit.adapters.multiple_choice import (
    MultipleChoiceJointAdapter,
    MultipleChoiceJointChainOfThoughtAdapter,
    MultipleChoiceSeparateCalibratedAdapter,
    MultipleChoiceSeparateOriginalAdapter,
    OptionLetters,
)
from evalkit.errors import DataError, UsageError
from evalkit.instance import Instance, Reference
from evalkit.specs.run_spec import AdapterSpec


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
    assert original.slots(question("x", "y")) == [Slot(0, "original"), Slot(1, "original")]
