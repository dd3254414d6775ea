"""Generated tokens as text, and where a stop sequence cuts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Some tokenizers drop the blank before a text's first word: so many tokens of the prompt stand before it.
_CONTEXT_TOKENS = 6
_INCOMPLETE = "\ufffd"
# Of this many tokens each is tried in turn; no character has as many.
_FEW_TOKENS = 5


class Speller:
    """Spells what a model generated after a prompt; used from one thread.

    Args:
        tokenizer: Of transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._pieces: dict[int, str] = {}

    def piece(self, token: int) -> str:
        """What a token spells on its own; "\ufffd" in it where it is but a part of a character."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._decode([token])
        return piece

    def text(self, prompt: Sequence[int], tokens: Sequence[int]) -> str:
        """What the tokens add to the prompt; special tokens spell nothing."""
        context = list(prompt[-_CONTEXT_TOKENS:])
        before = self._decode(context)
        if before and not before.endswith(_INCOMPLETE):
            whole = self._decode([*context, *tokens])
            if whole.startswith(before):
                return whole[len(before) :]
        return self._decode(tokens)

    def pieces(self, prompt: Sequence[int], tokens: Sequence[int]) -> list[str]:
        """What each token adds, together the text. A character of several tokens is the last one's."""
        ids = [*prompt[-_CONTEXT_TOKENS:], *tokens]
        start, spelt = 0, len(ids) - len(tokens)
        pieces = []
        for end in range(spelt + 1, len(ids) + 1):
            # What was spelt last is enough of a context to spell what follows.
            known, grown = self._decode(ids[start:spelt]), self._decode(ids[start:end])
            if len(grown) > len(known) and not grown.endswith(_INCOMPLETE):
                pieces.append(grown[len(known) :])
                start, spelt = spelt, end
            else:
                pieces.append("")
        if pieces:
            pieces[-1] += self.text(prompt, tokens)[len("".join(pieces)) :]
        return pieces

    def num_tokens(self, prompt: Sequence[int], tokens: Sequence[int], text: str) -> int:
        """How many of the tokens it takes to spell the text; a part of a character spells nothing.

        Args:
            prompt: What the tokens follow.
            tokens: Generated.
            text: The beginning of what they spell.
        """
        low, high = 0, len(tokens) if text else 0
        while high - low > _FEW_TOKENS:
            # With half a character at its end, even what stands before it may be spelled otherwise (byte
            # fallback), so nothing is concluded from there.
            middle = (low + high) // 2
            spelt = self.text(prompt, tokens[:middle])
            while spelt.endswith(_INCOMPLETE) and middle < high:
                middle += 1
                spelt = self.text(prompt, tokens[:middle])
            if middle == high:
                break
            if spelt.startswith(text):
                high = middle
            else:
                low = middle + 1
        for number in range(low, high):
            if self.text(prompt, tokens[:number]).startswith(text):
                return number
        return high

    def _decode(self, tokens: Sequence[int]) -> str:
        spelt: str = self._tokenizer.decode(list(tokens), skip_special_tokens=True)
        return spelt


@dataclass(frozen=True, slots=True)
class Ending:
    """A finished text.

    Attributes:
        text: Up to the stop sequence, if one is in it.
        num_tokens: How many of its tokens spell that text.
        stopped: Whether a stop sequence was found.
    """

    text: str
    num_tokens: int
    stopped: bool


class StopWatch:
    """Watches one completion for its stop sequences, exactly, but looks closely only where one may end.

    Args:
        speller: Spells the tokens.
        prompt: What the completion follows.
        stops: Where it ends; they are no part of it.
    """

    def __init__(self, speller: Speller, prompt: Sequence[int], stops: Sequence[str]) -> None:
        self._speller, self._prompt = speller, prompt
        self._stops = tuple(stop for stop in stops if stop)
        self._last = frozenset(stop[-1] for stop in self._stops)

    def stops(self, tokens: Sequence[int]) -> bool:
        """Whether the text of the tokens has a stop sequence in it; ask after each token."""
        if not self._stops:
            return False
        piece = self._speller.piece(tokens[-1])
        # A stop sequence is complete only with its last character. What a token spells on its own may be
        # unlike what it adds where it is blank or a part of a character.
        suspicious = piece.strip(" ") == "" or _INCOMPLETE in piece or " " in self._last
        if not suspicious and self._last.isdisjoint(piece):
            return False
        text = self._speller.text(self._prompt, tokens)
        return any(stop in text for stop in self._stops)

    def ending(self, tokens: Sequence[int]) -> Ending:
        """The text, cut before the first stop sequence."""
        text = self._speller.text(self._prompt, tokens)
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if not found:
            return Ending(text, len(tokens), stopped=False)
        cut = min(found)
        num_tokens = self._speller.num_tokens(self._prompt, tokens, text[:cut])
        return Ending(text[:cut], num_tokens, stopped=True)
