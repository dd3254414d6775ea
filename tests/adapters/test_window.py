from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.adapters.window import NO_WINDOW, TokenWindow
from evalkit.errors import UsageError
from tests.adapters.golden_rows import CharacterTokenizer


class ByteTokenizer:
    """One token per byte: a cut can go through a character."""

    prefix_token = ""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(tokens).decode(errors="replace")

    def count(self, text: str) -> int:
        return len(text.encode())


class UnstableTokenizer(CharacterTokenizer):
    """The text of the first tokens has more tokens than they were; a start token is always counted."""

    def decode(self, tokens: Sequence[str]) -> str:
        return "".join(tokens) + "!!!"

    def count(self, text: str) -> int:
        return len(text) + 1


def test_no_window() -> None:
    assert NO_WINDOW.fits("x" * 10**6, 10**6)
    assert NO_WINDOW.truncate("x", 5) == "x"


def test_prompt_and_completion_share_the_window() -> None:
    window = TokenWindow(CharacterTokenizer(), 10)
    assert window.fits("x" * 7, 3)
    assert not window.fits("x" * 8, 3)
    assert window.truncate("abcdefghij", 3) == "abcdefg"
    assert window.truncate("abc", 3) == "abc"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(text=texts, length=st.integers(1, 40), data=st.data())
def test_truncation_keeps_the_longest_beginning(text: str, length: int, data: st.DataObject) -> None:
    max_tokens = data.draw(st.integers(0, length - 1))
    window = TokenWindow(ByteTokenizer(), length)
    kept = window.truncate(text, max_tokens)
    assert text.startswith(kept)
    assert window.fits(kept, max_tokens)
    assert kept == text or not window.fits(text[: len(kept) + 1], max_tokens)


def test_truncation_checks_the_tokens_of_what_is_left() -> None:
    window = TokenWindow(UnstableTokenizer(), 10)
    assert window.truncate("abcdefghijkl", 2) == "abcdefg"


@pytest.mark.parametrize("max_tokens", [10, 11, 5000])
def test_no_room_is_an_error_where_helm_never_ends(max_tokens: int) -> None:
    window = TokenWindow(CharacterTokenizer(), 10)
    assert not window.fits("abc", max_tokens)
    with pytest.raises(UsageError, match=f"max_tokens={max_tokens}.*window of 10 tokens"):
        window.truncate("abc", max_tokens)


def test_no_room_beside_a_start_token() -> None:
    with pytest.raises(UsageError, match="no room"):
        TokenWindow(UnstableTokenizer(), 10).truncate("abc", 10)
