from __future__ import annotations

from typing import Any

import pytest

from evalkit.adapters.adapter import Adapter
from evalkit.adapters.chat import ChatAdapter
from evalkit.adapters.generation import GenerationAdapter
from evalkit.adapters.language_modeling import LanguageModelingAdapter
from evalkit.adapters.multiple_choice import (
    MultipleChoiceJointAdapter,
    MultipleChoiceJointChainOfThoughtAdapter,
    MultipleChoiceSeparateOriginalAdapter,
)
from evalkit.adapters.ranking import RankingBinaryAdapter
from evalkit.adapters.window import NO_WINDOW, TokenWindow, Window
from evalkit.errors import DataError, UsageError
from evalkit.instance import Instance, Reference
from evalkit.request import Request
from evalkit.specs.run_spec import AdapterSpec
from tests.adapters.golden_rows import CharacterTokenizer

RIGHT = ("correct",)
TRAIN = [
    Instance(f"q{i}", (Reference(f"a{i}", RIGHT), Reference("no")), "train", f"id{i}", extra={"x": 1})
    for i in range(2)
]
ASKED = [Instance("q9", (Reference("a9", RIGHT), Reference("no")), "test", "id9")]


def spec(**changes: Any) -> AdapterSpec:
    plain = {"method": "generation", "instructions": "Answer.\n", "sample_train": False, "max_tokens": 5}
    return AdapterSpec.model_validate(plain | {"max_train_instances": 2} | changes)


def first(adapter: Adapter) -> Request:
    return next(iter(adapter.requests(ASKED, TRAIN))).request


def turns(request: Request) -> list[tuple[str, str]]:
    assert request.messages is not None
    return [(message.role, message.content) for message in request.messages]


def test_without_a_style_a_prompt_is_one_text() -> None:
    assert first(GenerationAdapter(spec())).messages is None


def test_turns() -> None:
    request = first(GenerationAdapter(spec(chat_style="turns", global_suffix="!")))
    assert turns(request) == [
        ("system", "Answer."),
        ("user", "Input: q0\nOutput:"),
        ("assistant", "a0"),
        ("user", "Input: q1\nOutput:"),
        ("assistant", "a1"),
        ("user", "Input: q9\nOutput:!"),
    ]
    assert request.prompt.endswith("Input: q9\nOutput:!")


def test_system_keeps_the_examples_in_one_message() -> None:
    request = first(GenerationAdapter(spec(chat_style="system")))
    examples = "Input: q0\nOutput: a0\n\nInput: q1\nOutput: a1\n\nInput: q9\nOutput:"
    assert turns(request) == [("system", "Answer."), ("user", examples)]


def test_without_instructions_there_is_no_system_message() -> None:
    request = first(GenerationAdapter(spec(chat_style="turns", instructions="", max_train_instances=0)))
    assert turns(request) == [("user", "Input: q9\nOutput:")]


def test_the_assistant_answers_with_letters_or_reasoning() -> None:
    joint = MultipleChoiceJointAdapter(spec(method="multiple_choice_joint", chat_style="turns"))
    assert turns(first(joint))[1:3] == [("user", "Input: q0\nA. a0\nB. no\nOutput:"), ("assistant", "A")]
    train = [Instance("q", TRAIN[0].references, "train", "id1", extra={"chain_of_thought": "since"})]
    method = "multiple_choice_joint_chain_of_thought"
    reasoned = MultipleChoiceJointChainOfThoughtAdapter(spec(method=method, chat_style="turns"))
    request = next(iter(reasoned.requests(ASKED, train))).request
    assert turns(request)[2] == ("assistant", "since\nA. ")


def test_substitutions_reach_every_message() -> None:
    marked = spec(chat_style="turns", substitutions=({"source": "q", "target": "Q"},))
    assert [text for role, text in turns(first(GenerationAdapter(marked))) if role == "user"] == [
        *("Input: Q0\nOutput:", "Input: Q1\nOutput:", "Input: Q9\nOutput:")
    ]


def window(length: int) -> Window:
    return TokenWindow(CharacterTokenizer(), length)


def test_examples_are_dropped_from_the_end_until_the_chat_fits() -> None:
    state = next(iter(GenerationAdapter(spec(chat_style="turns"), window(60)).requests(ASKED, TRAIN)))
    assert state.num_train_instances == 1
    assert not state.prompt_truncated
    assert [content for _, content in turns(state.request)][1:3] == ["Input: q0\nOutput:", "a0"]


def test_a_question_that_is_too_long_is_cut() -> None:
    state = next(iter(GenerationAdapter(spec(chat_style="turns"), window(20)).requests(ASKED, TRAIN)))
    assert (state.num_train_instances, state.prompt_truncated) == (0, True)
    assert turns(state.request) == [("system", "Answer."), ("user", "Input:")]
    tiny = next(iter(GenerationAdapter(spec(chat_style="turns"), window(10)).requests(ASKED, TRAIN)))
    assert turns(tiny.request) == [("user", "Answe")]


@pytest.mark.parametrize(
    "adapter",
    [
        MultipleChoiceSeparateOriginalAdapter,
        RankingBinaryAdapter,
        LanguageModelingAdapter,
        ChatAdapter,
    ],
)
def test_some_methods_can_be_no_chat(adapter: type[Adapter]) -> None:
    with pytest.raises(UsageError, match="chat_style=turns does not work with the method"):
        adapter(spec(chat_style="turns", max_train_instances=0), NO_WINDOW)


def test_the_method_chat_sends_messages_as_they_are() -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]
    instance = Instance("", (), "test", "id0", extra={"messages": messages})
    (state,) = ChatAdapter(spec(method="chat")).requests([instance], TRAIN)
    assert turns(state.request) == [("system", "s"), ("user", "hi")]
    assert (state.request.prompt, state.num_train_instances) == ("", 0)


@pytest.mark.parametrize("extra", [None, {"messages": []}, {"messages": [{"role": "robot", "content": "x"}]}])
def test_an_instance_without_messages_is_refused(extra: dict[str, Any] | None) -> None:
    with pytest.raises(DataError, match="instance id0"):
        list(ChatAdapter(spec(method="chat")).requests([Instance("", (), "test", "id0", extra=extra)], []))
