from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evalkit.adapters.language_modeling import LanguageModelingAdapter, pieces_of
from evalkit.adapters.window import NO_WINDOW, TokenWindow, Window
from evalkit.errors import UsageError
from evalkit.instance import Instance
from evalkit.request import RequestState
from evalkit.specs.run_spec import AdapterSpec
from evalkit.tokenization import Tokenizer
from tests.adapters.golden_rows import CharacterTokenizer


class Bytes(Tokenizer):
    """One token per byte, so that a window can cut a character in two."""

    prefix_token = ""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(tokens).decode(errors="replace")

    def count(self, text: str) -> int:
        return len(text.replace("\ufffd", "?").encode())


class Plain(CharacterTokenizer):
    """Characters, without a prefix token."""

    prefix_token = ""


class ByteLevel(Bytes):
    """Counts what it encodes."""

    prefix_token = "^"

    def count(self, text: str) -> int:
        return len(self.encode(text))


class Growing(Plain):
    """Any text has more tokens than the window takes."""

    def count(self, text: str) -> int:
        return 1000


def requests(text: str, window: Window = NO_WINDOW, **changes: Any) -> list[RequestState]:
    plain = {"method": "language_modeling", "max_train_instances": 0, "max_tokens": 0}
    spec = AdapterSpec.model_validate(plain | changes)
    return list(LanguageModelingAdapter(spec, window).requests([Instance(text, (), "test", "id0")], []))


def test_without_a_tokenizer_the_text_is_one_request() -> None:
    (state,) = requests("Hello world")
    assert (state.request.prompt, state.num_conditioning_tokens) == ("Hello world", 0)
    assert (state.request.echo_prompt, state.request.max_tokens, state.request.temperature) == (True, 0, 0)
    assert state.key == "t0/id0"


def test_a_short_text_begins_with_the_prefix_token_which_is_not_scored() -> None:
    (state,) = requests("Hello", TokenWindow(CharacterTokenizer(), 2048))
    assert (state.request.prompt, state.num_conditioning_tokens) == ("<s>Hello", 1)


def test_a_long_text_is_asked_in_windows_with_as_much_context_as_fits() -> None:
    states = requests("abcdefghij", TokenWindow(Plain(), 5, max_sequence_length=4))
    assert [(s.request.prompt, s.num_conditioning_tokens) for s in states] == [
        ("abcd", 0),
        ("defgh", 1),
        ("fghij", 3),
    ]
    assert [s.key for s in states] == ["t0/id0/w00000", "t0/id0/w00001", "t0/id0/w00002"]
    assert {s.unit_size for s in states} == {3}


def test_a_limit_on_prompt_and_completion_together_counts() -> None:
    pieces = pieces_of("abcdefgh", TokenWindow(Plain(), 8, max_sequence_length=4, max_total_length=6), 1)
    assert [piece.text for piece in pieces] == ["abcd", "defgh"]
    with pytest.raises(UsageError, match="leaves no room"):
        pieces_of("ab", TokenWindow(Plain(), 8, max_total_length=6), 5)


def test_halves_of_characters_are_dropped_from_the_edges() -> None:
    pieces = pieces_of("aé" * 4, TokenWindow(Bytes(), 5, max_sequence_length=5), 0)
    assert pieces[0].text == "aéa"
    assert not any("\ufffd" in piece.text for piece in pieces)


@given(st.text(alphabet="abc", min_size=1, max_size=80), st.integers(2, 12))
def test_every_token_is_scored_once(text: str, length: int) -> None:
    pieces = pieces_of(text, TokenWindow(Plain(), length), 0)
    assert "".join(piece.text[piece.num_conditioning_tokens :] for piece in pieces) == text
    assert max(len(piece.text) for piece in pieces) <= length


def test_a_tokenizer_that_never_fits_is_told() -> None:
    with pytest.raises(UsageError, match="can't cut this text into windows"):
        pieces_of("abc", TokenWindow(Growing(), 5), 0)


def test_examples_are_refused() -> None:
    with pytest.raises(UsageError, match="set max_train_instances=0"):
        requests("x", max_train_instances=3)


@settings(deadline=None)
@given(st.text(alphabet="aé日\ufffd", min_size=1, max_size=60), st.integers(8, 16), st.integers(0, 3))
@example("aéé日éaé", 10, 3)
def test_no_token_is_lost_where_characters_have_several(text: str, length: int, more: int) -> None:
    window = TokenWindow(ByteLevel(), length, max_sequence_length=length + more)
    pieces = pieces_of(text, window, 0)
    scored = [ByteLevel().encode(piece.text)[piece.num_conditioning_tokens :] for piece in pieces]
    assert [token for tokens in scored for token in tokens] == ByteLevel().encode(text)
    assert max(len(ByteLevel().encode(piece.text)) for piece in pieces) <= length


def test_a_first_window_with_a_start_token_leaves_to_the_next_what_does_not_fit(tmp_path: Path) -> None:
    """Local models take one token less than their length, for the start token that they add themselves."""
    pytest.importorskip("transformers")
    from evalkit.models.tokenizers.fast import FastTokenizer
    from evalkit.testing.models import make_tokenizer

    make_tokenizer(tmp_path)
    tokenizer = FastTokenizer(tmp_path / "tokenizer.json", "tiny", "<s>")
    words = ("the quick brown fox", "質問：答え", "naïve café", "jumping  over\n\nlazier", "dogs")
    random = Random(0)
    for num_words in (1, 5, 300):
        text = " ".join(random.choices(words, k=num_words))
        pieces = pieces_of(text, TokenWindow(tokenizer, 63, max_sequence_length=64), 0)
        scored = [tokenizer.encode(piece.text)[piece.num_conditioning_tokens :] for piece in pieces]
        assert [token for tokens in scored for token in tokens] == tokenizer.encode(text)
        assert pieces[0].text.startswith("<s>")


class TwoAtTheStart(Plain):
    """Characters, and a start of two special tokens, as GLM has it."""

    prefix_token = "[gMASK]<sop>"
    stand_in = False

    def encode(self, text: str) -> list[str]:
        special = re.split(r"(\[gMASK\]|<sop>)", text)
        return [token for part in special for token in ([part] if part[:1] in ("[", "<") else part)]

    def count(self, text: str) -> int:
        return len(self.encode(text))


@given(st.text(alphabet="abc", min_size=1, max_size=60), st.integers(3, 12))
def test_all_tokens_that_stand_before_a_text_are_context(text: str, length: int) -> None:
    tokenizer = TwoAtTheStart()
    pieces = pieces_of(text, TokenWindow(tokenizer, length), 0)
    scored = [tokenizer.encode(piece.text)[piece.num_conditioning_tokens :] for piece in pieces]
    assert [token for tokens in scored for token in tokens] == list(text)
    assert (pieces[0].text[: len("[gMASK]<sop>")], pieces[0].num_conditioning_tokens) == ("[gMASK]<sop>", 2)
