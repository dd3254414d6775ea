"""The context window of a model: whether a prompt fits, and what is left of one that does not."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol

from evalkit.errors import UsageError
from evalkit.tokenization import Tokenizer

_REPLACEMENT = "\ufffd"


class Window(Protocol):
    """How much text a model takes.

    Attributes:
        fitted_at_once: How many prompts are best fitted together.
    """

    fitted_at_once: int

    def fits(self, text: str, max_tokens: int) -> bool:
        """Whether `text` leaves room for a completion of `max_tokens`."""

    def fits_many(self, texts: Sequence[str], max_tokens: int) -> list[bool]:
        """Whether each text leaves room for a completion of `max_tokens`."""

    def truncate(self, text: str, max_tokens: int) -> str:
        """The longest beginning of `text` that leaves room for a completion of `max_tokens`."""


class _NoWindow:
    """No limit is known: everything fits."""

    fitted_at_once = 1

    def fits(self, text: str, max_tokens: int) -> bool:
        return True

    def fits_many(self, texts: Sequence[str], max_tokens: int) -> list[bool]:
        return [True] * len(texts)

    def truncate(self, text: str, max_tokens: int) -> str:
        return text


NO_WINDOW: Window = _NoWindow()


class TokenWindow:
    """A window of `max_request_length` tokens, shared by the prompt and its completion.

    Args:
        tokenizer: The model's tokenizer.
        max_request_length: Most tokens of prompt and completion together.
        max_sequence_length: Longest text the model was made for, without a prefix token; the same if left
            out. It and `max_total_length` matter to language modeling only.
        max_total_length: Where the server has its own limit for prompt and completion together.
    """

    fitted_at_once = 256

    def __init__(
        self,
        tokenizer: Tokenizer,
        max_request_length: int,
        *,
        max_sequence_length: int | None = None,
        max_total_length: int | None = None,
    ) -> None:
        self.tokenizer, self.max_request_length = tokenizer, max_request_length
        self.max_sequence_length = max_sequence_length or max_request_length
        self.max_total_length = max_total_length or sys.maxsize

    def fits(self, text: str, max_tokens: int) -> bool:
        """Whether prompt and completion together take at most `max_request_length` tokens."""
        return self.fits_many((text,), max_tokens)[0]

    def fits_many(self, texts: Sequence[str], max_tokens: int) -> list[bool]:
        """Whether each text and its completion together take at most `max_request_length` tokens.

        Texts that surely fit by their length are not tokenised, the others in one call of the library.
        """
        room_tokens = self.max_request_length - max_tokens
        fit = [self.tokenizer.most_tokens(text) <= room_tokens for text in texts]
        unsure = [position for position, sure in enumerate(fit) if not sure]
        if len(unsure) == 1:
            fit[unsure[0]] = self.tokenizer.count(texts[unsure[0]]) <= room_tokens
        elif unsure:
            counts = self.tokenizer.count_many([texts[position] for position in unsure])
            for position, count in zip(unsure, counts, strict=True):
                fit[position] = count <= room_tokens
        return fit

    def truncate(self, text: str, max_tokens: int) -> str:
        """`text` cut from the right to leave room for `max_tokens`; unchanged where it fits.

        Raises:
            UsageError: `max_tokens` leaves no room for a prompt at all (HELM never returns then).
        """
        if self.fits(text, max_tokens):
            return text
        room_tokens = self.max_request_length - max_tokens
        if room_tokens <= 0 or not self.fits("", max_tokens):
            raise UsageError(
                f"max_tokens={max_tokens} leaves no room for a prompt in a context window of "
                f"{self.max_request_length} tokens; lower max_tokens or choose a model with a longer window"
            )
        cut = self.tokenizer.decode(self.tokenizer.encode(text)[:room_tokens])
        if not text.startswith(cut):
            cut = cut.rstrip(_REPLACEMENT)  # the cut went through the bytes of a character
        # Tokens of a part may be other and more than the part of the tokens, so this is checked again.
        while not self.fits(cut, max_tokens):
            cut = cut[:-1]
        return cut


class CommonWindow:
    """What fits the windows of several models, each counted by its own tokenizer.

    Args:
        windows: The windows, at least one.
    """

    def __init__(self, windows: Sequence[Window]) -> None:
        self._windows = tuple(windows)
        self.fitted_at_once = min(window.fitted_at_once for window in windows)

    def fits(self, text: str, max_tokens: int) -> bool:
        """Whether every model has room for `text` and a completion of `max_tokens`."""
        return all(window.fits(text, max_tokens) for window in self._windows)

    def fits_many(self, texts: Sequence[str], max_tokens: int) -> list[bool]:
        """Whether every model has room for each text and a completion of `max_tokens`."""
        each = [window.fits_many(texts, max_tokens) for window in self._windows]
        return [all(fit) for fit in zip(*each, strict=True)]

    def truncate(self, text: str, max_tokens: int) -> str:
        """`text` cut from the right until it fits every model.

        Raises:
            UsageError: `max_tokens` leaves no room for a prompt at all.
        """
        # What is cut for one model may, in odd cases, have more tokens of another than before: look again.
        while not self.fits(text, max_tokens):
            for window in self._windows:
                text = window.truncate(text, max_tokens)
        return text
