from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.adapters.window import Tokenizer
from evalkit.errors import UnknownNameError
from evalkit.models.tokenizers import estimate_tokens, tokenizer

ANY_TEXT = st.text(alphabet=st.characters(), max_size=60)


@pytest.mark.parametrize("name", ["simple/tokenizer1", "bytes"])
@given(text=st.text(max_size=60))
def test_decoding_undoes_encoding(name: str, text: str) -> None:
    found: Tokenizer = tokenizer(name)
    tokens = found.encode(text)
    assert found.decode(tokens) == text
    assert found.count(text) == len(tokens)


@given(ANY_TEXT)
def test_bytes_count_any_text_lone_surrogates_too(text: str) -> None:
    found = tokenizer("bytes")
    assert found.count(text) == len(found.encode(text)) >= len(text)


def test_one_token_per_character() -> None:
    assert tokenizer("simple/tokenizer1").encode("aあ ") == ["a", "あ", " "]


def test_a_character_cut_in_two_is_dropped() -> None:
    found = tokenizer("bytes")
    assert found.decode(found.encode("aあ")[:-1]) == "a"


def test_unknown_tokenizer() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'simple/tokenizer1'"):
        tokenizer("simple/tokenizer")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("日本語", 3), ("日本 ab", 3), ("кот", 2), ("😀", 1)],
)
def test_estimate(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


@given(ANY_TEXT, ANY_TEXT)
def test_estimate_grows_with_the_text(a: str, b: str) -> None:
    assert max(estimate_tokens(a), estimate_tokens(b)) <= estimate_tokens(a + b) <= len(a + b)
