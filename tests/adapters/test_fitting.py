"""Prompts fitted to a window many at a time: the same as one by one, and not many more than are asked for."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from evalkit.adapters.adapter import Adapter, RequestSlot
from evalkit.adapters.chat_context import ChatContext
from evalkit.adapters.generation import GenerationAdapter
from evalkit.adapters.multiple_choice import (
    MultipleChoiceJointAdapter,
    MultipleChoiceSeparateCalibratedAdapter,
    MultipleChoiceSeparateOriginalAdapter,
)
from evalkit.adapters.prompt import Context, Prompt
from evalkit.adapters.window import NO_WINDOW, TokenWindow
from evalkit.errors import PluginError, UsageError
from evalkit.instance import TRAIN, Instance, Reference
from evalkit.models.tokenizers import tokenizer
from evalkit.request import RequestState
from evalkit.specs.run_spec import AdapterSpec
from evalkit.tokenization import Tokenizer
from tests.models.made_tokenizers import byte_level, save

WORDS = tuple(
    [
        "which",
        "of",
        "these",
        "bones",
        "is",
        "part",
        "the",
        "hand",
        "carpal",
        "metatarsal",
        "femur",
        "日本語",
        "naïve",
        "café",
        "🙂",
        "1234",
    ]
)


def instances(number: int, split: str, seed: int) -> list[Instance]:
    """Questions of very different lengths, with four options."""
    drawn = random.Random(seed)

    def text(longest: int) -> str:
        return " ".join(drawn.choices(WORDS, k=drawn.randint(1, longest)))

    return [
        Instance(
            f"{text(60)}?",
            tuple(Reference(text(8), ("correct",) if right == 1 else ()) for right in range(4)),
            split,
            f"id{position}",
        )
        for position in range(number)
    ]


TRAINS, TESTS = instances(8, TRAIN, 1), instances(400, "test", 2)


def spec(method: str, **changes: Any) -> AdapterSpec:
    plain = {
        "method": method,
        "instructions": "Answer the question.\n",
        "input_prefix": "Question: ",
        "output_prefix": "Answer: ",
        "max_train_instances": 5,
        "max_tokens": 5,
        "num_train_trials": 2,
    }
    return AdapterSpec.model_validate(plain | changes)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return tokenizer(str(save(byte_level(), tmp_path_factory.mktemp("model"))))


class OneByOne(TokenWindow):
    """A window that looks at a prompt at a time, and counts the tokens of each."""

    fitted_at_once = 1

    def fits_many(self, texts: Sequence[str], max_tokens: int) -> list[bool]:
        return [self.tokenizer.count(text) + max_tokens <= self.max_request_length for text in texts]


METHODS: dict[str, type[Adapter]] = {
    "generation": GenerationAdapter,
    "multiple_choice_joint": MultipleChoiceJointAdapter,
    "multiple_choice_separate_original": MultipleChoiceSeparateOriginalAdapter,
    "multiple_choice_separate_calibrated": MultipleChoiceSeparateCalibratedAdapter,
}


@pytest.mark.parametrize(
    ("method", "changes"),
    [(method, {}) for method in METHODS]
    + [("generation", {"chat_style": style}) for style in ("turns", "system")]
    + [("multiple_choice_joint", {"max_train_instances": 0})],
)
@pytest.mark.parametrize("length", [60, 300, 450, 100_000])
def test_requests_are_the_same_as_one_by_one(
    method: str, changes: dict[str, Any], length: int, model: Tokenizer
) -> None:
    made = [
        list(METHODS[method](spec(method, **changes), window).requests(TESTS[:40], TRAINS))
        for window in (TokenWindow(model, length), OneByOne(model, length))
    ]
    assert made[0] == made[1]
    dropped = [state.num_train_instances for state in made[0]]
    assert {len(states) for states in made} == {len(dropped)} != {0}
    if length == 60:
        assert any(state.prompt_truncated for state in made[0])
    if length == 300 and not changes:
        assert len(set(dropped)) > 2


class Watched(TokenWindow):
    """Keeps how many prompts it was shown at a time."""

    shown: list[int]

    def fits_many(self, texts: Sequence[str], max_tokens: int) -> list[bool]:
        self.shown.append(len(texts))
        return super().fits_many(texts, max_tokens)


def watched(model: Tokenizer, length: int = 100_000) -> Watched:
    window = Watched(model, length)
    window.shown = []
    return window


def test_the_first_is_made_alone_and_then_more_and_more(model: Tokenizer) -> None:
    window = watched(model)
    stream: Iterator[RequestState] = GenerationAdapter(spec("generation"), window).requests(TESTS, TRAINS)
    assert window.shown == []
    next(stream)
    assert window.shown == [1]
    next(stream)
    assert window.shown == [1, 2]
    for _ in range(400):
        next(stream)
    assert window.shown == [1, 2, 4, 8, 16, 32, 64, 128, 145, 1, 2]


def test_few_are_held_where_prompts_are_long(model: Tokenizer) -> None:
    long = [Instance("x" * 1_500_000, (), "test", f"id{position}") for position in range(8)]
    window = watched(model, 10_000_000)
    adapter = GenerationAdapter(spec("generation", max_train_instances=0, num_train_trials=1), window)
    assert sum(1 for _ in adapter.requests(long, [])) == 8
    assert window.shown == [1, 2, 2, 2, 1]


def test_a_prompt_method_that_would_not_be_called_is_refused() -> None:
    with pytest.raises(PluginError, match=r"adapter Ignored overrides `prompt`.*makes_prompts_singly = True"):

        class Ignored(GenerationAdapter):
            def prompt(self, context: Context | ChatContext, instance: Instance, slot: RequestSlot) -> Prompt:
                return context.prompt("never made", few_shot=False)


class OwnPrompts(GenerationAdapter):
    makes_prompts_singly = True

    def prompt(self, context: Context | ChatContext, instance: Instance, slot: RequestSlot) -> Prompt:
        return context.prompt(f"own {instance.id}", few_shot=False)


def test_a_method_that_makes_its_own_prompts_is_asked_one_by_one(model: Tokenizer) -> None:
    window = watched(model)
    made = [state.request.prompt for state in OwnPrompts(spec("generation"), window).requests(TESTS[:5], [])]
    assert made == [f"Answer the question.\n\nown id{position}" for position in range(5)] * 2
    assert window.shown == [1] * 10


def test_no_room_is_an_error_as_before(model: Tokenizer) -> None:
    adapter = GenerationAdapter(spec("generation", max_tokens=50), TokenWindow(model, 40))
    with pytest.raises(UsageError, match="leaves no room"):
        list(adapter.requests(TESTS, TRAINS))


def test_fitting_prompts_that_are_far_from_the_window_costs_next_to_nothing(
    model: Tokenizer,
) -> None:
    def seconds(window: Any) -> float:
        adapter = MultipleChoiceJointAdapter(spec("multiple_choice_joint"), window)
        start = time.process_time()
        assert sum(1 for _ in adapter.requests(TESTS, TRAINS)) == 800
        return time.process_time() - start

    model.count("loaded")
    counted = min(seconds(OneByOne(model, 100_000)) for _ in range(2))
    bounded = min(seconds(TokenWindow(model, 100_000)) for _ in range(2))
    unfitted = min(seconds(NO_WINDOW) for _ in range(2))
    assert bounded - unfitted < (counted - unfitted) / 10
