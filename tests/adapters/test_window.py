from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.adapters.window import NO_WINDOW, CommonWindow, TokenWindow
from evalkit.errors import UsageError
from evalkit.tokenization import Tokenizer
from tests.adapters.golden_rows import CharacterTokenizer


class ByteTokenizer(Tokenizer):
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


class SpyTokenizer(CharacterTokenizer):
    """Keeps what it was asked to count, and says that no text has more tokens than twice its characters."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def count(self, text: str) -> int:
        self.calls.append([text])
        return len(text)

    def count_many(self, texts: Sequence[str]) -> list[int]:
        self.calls.append(list(texts))
        return [len(text) for text in texts]

    def most_tokens(self, text: str) -> float:
        return 2 * len(text)


def test_only_texts_that_may_not_fit_are_tokenised_and_in_one_call() -> None:
    window = TokenWindow(spy := SpyTokenizer(), 10)
    texts = ["x" * 4, "x" * 5, "x" * 8, "x" * 9, ""]
    assert window.fits_many(texts, 2) == [True, True, True, False, True]
    assert spy.calls == [["x" * 5, "x" * 8, "x" * 9]]
    assert window.fits_many(["", "x" * 4], 2) == [True, True]
    assert window.fits("x" * 4, 2)
    assert len(spy.calls) == 1


@given(texts=st.lists(texts, max_size=8), length=st.integers(1, 40), max_tokens=st.integers(0, 50))
def test_many_fit_where_each_does(texts: list[str], length: int, max_tokens: int) -> None:
    for tokenizer in (ByteTokenizer(), UnstableTokenizer(), SpyTokenizer()):
        window = TokenWindow(tokenizer, length)
        expected = [tokenizer.count(text) + max_tokens <= length for text in texts]
        assert window.fits_many(texts, max_tokens) == expected
    assert NO_WINDOW.fits_many(texts, max_tokens) == [True] * len(texts)


@given(text=texts, lengths=st.tuples(st.integers(5, 40), st.integers(5, 40)), max_tokens=st.integers(0, 4))
def test_what_fits_several_models_fits_each_as_it_counts(
    text: str, lengths: tuple[int, int], max_tokens: int
) -> None:
    windows = [TokenWindow(ByteTokenizer(), lengths[0]), TokenWindow(CharacterTokenizer(), lengths[1])]
    common = CommonWindow(windows)
    assert common.fits(text, max_tokens) == all(window.fits(text, max_tokens) for window in windows)
    assert common.fits_many([text, ""], max_tokens) == [common.fits(text, max_tokens), True]
    kept = common.truncate(text, max_tokens)
    assert text.startswith(kept)
    assert common.fits(kept, max_tokens)
    longer = text[: len(kept) + 1]
    assert kept == text or not common.fits(longer, max_tokens)


def test_no_room_in_one_of_several_windows() -> None:
    windows = [TokenWindow(ByteTokenizer(), 40), TokenWindow(CharacterTokenizer(), 4)]
    with pytest.raises(UsageError, match="leaves no room"):
        CommonWindow(windows).truncate("abcdef", 4)
