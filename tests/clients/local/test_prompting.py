from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.clients.local.prompting import ChatStyle, Prompt, Prompter
from evalkit.errors import BadRequestError
from evalkit.request import Message, Request
from evalkit.testing.models import CHAT_TEMPLATE, make_tokenizer

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(place)
    return place


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def prompt_of(tokenizer: Any, request: Request, chat: ChatStyle | None = None) -> Prompt:
    (prompt,) = Prompter(tokenizer, chat or ChatStyle()).prompts([request])
    assert isinstance(prompt, Prompt), prompt
    return prompt


def test_a_plain_prompt_begins_with_the_beginning_token_once(tokenizer: Any) -> None:
    ids = tuple(tokenizer("it was")["input_ids"])
    assert ids[0] == tokenizer.bos_token_id
    assert prompt_of(tokenizer, Request("it was")).ids == ids
    assert prompt_of(tokenizer, Request("<s>it was")).ids == ids


def test_a_tokenizer_that_adds_nothing(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    make_tokenizer(tmp_path, bos=False)
    bare = AutoTokenizer.from_pretrained(tmp_path)
    assert prompt_of(bare, Request("it was")).ids == tuple(bare("it was")["input_ids"])
    (empty,) = Prompter(bare, ChatStyle()).prompts([Request("")])
    assert isinstance(empty, BadRequestError)


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.mark.parametrize("is_fast", [True, False])
def test_transformers_says_nothing_of_long_prompts(folder: Path, is_fast: bool) -> None:
    """It would write to stderr that errors will follow; the client fits prompts into the window itself."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=4)
    if not is_fast:
        type_of = type(tokenizer)
        tokenizer.__class__ = type("Slow", (type_of,), {"is_fast": False})
    kept, logger = Kept(), logging.getLogger("transformers")
    logger.addHandler(kept)
    try:
        assert len(prompt_of(tokenizer, Request("it was it was it was it was")).ids) > 4
    finally:
        logger.removeHandler(kept)
    assert not kept.messages


def test_an_empty_prompt_is_the_beginning_token(tokenizer: Any) -> None:
    assert prompt_of(tokenizer, Request("")).ids == (tokenizer.bos_token_id,)


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab \n.é日🦊—“"), max_size=25), st.integers(0, 25))
def test_pieces_spell_the_prompt_and_scoring_begins_where_it_should(
    tokenizer: Any, text: str, at: int
) -> None:
    at = min(at, len(text))
    prompt = prompt_of(tokenizer, Request(text, echo_prompt=True, scored_from=at, max_tokens=0))
    assert len(prompt.ids) == len(prompt.pieces)
    scored = prompt.pieces[prompt.first_scored :]
    spelt = "".join(scored)
    assert text.endswith(spelt)
    # Only tokens that reach beyond the place are scored, and all of them.
    assert len(text) - len(spelt) <= at
    if scored and scored[0]:
        assert len(text) - len(spelt) + len(scored[0]) > at
    whole = prompt_of(tokenizer, Request(text, echo_prompt=True, max_tokens=0))
    assert (whole.ids, "".join(whole.pieces)) == (prompt.ids, text)


def test_many_are_tokenised_in_one_call(tokenizer: Any) -> None:
    class Counting:
        calls = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(tokenizer, name)

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return tokenizer(*args, **kwargs)

    counting = Counting()
    prompter = Prompter(counting, ChatStyle())
    before = counting.calls
    made = prompter.prompts([Request(f"it was {n}") for n in range(50)])
    assert counting.calls == before + 1
    assert made == [prompt_of(tokenizer, Request(f"it was {n}")) for n in range(50)]


def test_a_chat_is_written_by_the_template_alone(tokenizer: Any) -> None:
    chat = Request("", (Message("system", "be brief"), Message("user", "who?")))
    prompt = prompt_of(tokenizer, chat, ChatStyle(CHAT_TEMPLATE))
    spelt = "<s><|system|>be brief</s><|user|>who?</s><|assistant|>"
    assert tokenizer.decode(prompt.ids) == spelt
    assert prompt.ids.count(tokenizer.bos_token_id) == 1


def test_a_chat_that_ends_with_the_model_s_words_goes_on_there(tokenizer: Any) -> None:
    chat = Request("", (Message("user", "who?"), Message("assistant", "It was")))
    prompt = prompt_of(tokenizer, chat, ChatStyle(CHAT_TEMPLATE))
    assert tokenizer.decode(prompt.ids).endswith("<|assistant|>It was")


def test_plain_prompts_are_wrapped_where_that_is_asked_for(tokenizer: Any) -> None:
    wrapped = prompt_of(tokenizer, Request("who?"), ChatStyle(CHAT_TEMPLATE, wrap=True))
    chat = prompt_of(tokenizer, Request("", (Message("user", "who?"),)), ChatStyle(CHAT_TEMPLATE))
    assert wrapped == chat


def test_one_that_has_no_prompt_does_not_spoil_the_others(tokenizer: Any) -> None:
    failing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}hello"
    requests = [
        Request("", (Message("system", "x"),)),
        Request("", (Message("user", "x"),)),
        Request("it"),
        Request("", (Message("user", "x"),), echo_prompt=True, max_tokens=0),
    ]
    refused, chat, plain, scored = Prompter(tokenizer, ChatStyle(failing)).prompts(requests)
    assert isinstance(refused, BadRequestError)
    assert "no system" in str(refused)
    assert isinstance(chat, Prompt)
    assert isinstance(plain, Prompt)
    assert isinstance(scored, BadRequestError)


def test_special_tokens_in_a_text_count_as_such(tokenizer: Any) -> None:
    prompt = prompt_of(tokenizer, Request("it was</s>"))
    assert prompt.ids[-1] == tokenizer.eos_token_id
