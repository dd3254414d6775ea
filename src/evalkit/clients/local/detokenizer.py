"""Generated tokens as text, and where a stop sequence cuts it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

from evalkit.clients.thinking import lies_in
from evalkit.response import Completion, FinishReason, Token
from evalkit.thinking import KNOWN_STYLE, Reading, Span, ThinkingStyle

# Some tokenizers drop the blank before a text's first word: this many tokens of the prompt are put before it.
_CONTEXT_TOKENS = 6
_INCOMPLETE = "\ufffd"
# In as many tokens at its end a prompt may open thinking.
_OPENING_TOKENS = 16
# Of this many tokens each is tried in turn; no character has as many.
_FEW_TOKENS = 5


class Detokenizer:
    """Spells what a model generated after a prompt; used from one thread.

    Special tokens are spelled too: stop sequences and the marks of thinking may be such. Where the answer is
    found, they are left out of it.

    Args:
        tokenizer: Of transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._pieces: dict[int, str] = {}
        self.special = _special_tokens(tokenizer)

    def piece(self, token: int) -> str:
        """What a token spells on its own: nothing if it is special.

        "\ufffd" is in it where it is but a part of a character.
        """
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._decode([token])
        return piece

    def text(self, prompt: Sequence[int], tokens: Sequence[int]) -> str:
        """What the tokens add to the prompt."""
        if self.special.keys().isdisjoint(tokens):
            return self._added(prompt, tokens)
        return "".join(text for text, _ in self.parts(prompt, tokens))

    def end_of(self, prompt: Sequence[int]) -> str:
        """What the last tokens of a prompt spell."""
        return self.text((), prompt[-_OPENING_TOKENS:])

    def pieces(self, prompt: Sequence[int], tokens: Sequence[int]) -> list[str]:
        """What each token adds, together the text. A character of several tokens is the last one's."""
        if self.special.keys().isdisjoint(tokens):
            return self._added_pieces(prompt, tokens)
        pieces: list[str] = []
        for text, run in self.parts(prompt, tokens):
            before = [*prompt, *tokens[: len(pieces)]]
            pieces += [text] if run[0] in self.special else self._added_pieces(before, run)
        return pieces

    def parts(self, prompt: Sequence[int], tokens: Sequence[int]) -> Iterator[tuple[str, Sequence[int]]]:
        """The text in parts with their tokens: each special token for itself, and what is between them."""
        start = 0
        for place, token in enumerate(tokens):
            if token in self.special:
                if start < place:
                    run = tokens[start:place]
                    yield self._added([*prompt, *tokens[:start]], run), run
                yield self.special[token], [token]
                start = place + 1
        if start < len(tokens):
            yield self._added([*prompt, *tokens[:start]], tokens[start:]), tokens[start:]

    def _added(self, prompt: Sequence[int], tokens: Sequence[int]) -> str:
        """What tokens add to the prompt, none of which is special."""
        context = self._context(prompt, tokens)
        return self._decode([*context, *tokens])[len(self._decode(context)) :]

    def _added_pieces(self, prompt: Sequence[int], tokens: Sequence[int]) -> list[str]:
        """What each token adds, none of which is special; together what `_added` gives."""
        context = self._context(prompt, tokens)
        ids = [*context, *tokens]
        start, spelt = 0, len(context)
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
            pieces[-1] += self._added(prompt, tokens)[len("".join(pieces)) :]
        return pieces

    def _context(self, prompt: Sequence[int], tokens: Sequence[int]) -> list[int]:
        """The end of the prompt after which tokens are spelled; empty where they are spelled alone.

        After half a character they are: it is the prompt's, or was cut off by a special token.
        """
        context = list(prompt[-_CONTEXT_TOKENS:])
        before = self._decode(context)
        is_whole = before and not before.endswith(_INCOMPLETE)
        return context if is_whole and self._decode([*context, *tokens]).startswith(before) else []

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


def _special_tokens(tokenizer: Any) -> dict[int, str]:
    """The tokens that are left out of texts, and what they are called."""
    named: Mapping[int, Any] = getattr(tokenizer, "added_tokens_decoder", None) or {}
    numbers = {number for number, token in named.items() if getattr(token, "special", True)}
    special = {}
    for number in sorted(numbers | set(tokenizer.all_special_ids)):
        if not tokenizer.decode([number], skip_special_tokens=True):
            special[number] = str(named.get(number) or tokenizer.convert_ids_to_tokens(number))
    return special


@dataclass(frozen=True, slots=True)
class Ending:
    """A finished text.

    Attributes:
        text: The answer: without thinking and special tokens, up to the stop sequence, if one is in it.
        places: Which of its tokens spell that text.
        stopped: Whether a stop sequence was found.
        thinking: What was thought before.
        raw: The whole text with special tokens, where more than a stop sequence is missing in the answer.
        spans: Where in the whole text the answer stands.
    """

    text: str
    places: Sequence[int]
    stopped: bool
    thinking: str | None = None
    raw: str | None = None
    spans: tuple[Span, ...] = ()

    @property
    def num_tokens(self) -> int:
        """How many tokens spell the answer."""
        return len(self.places)

    def completion(
        self,
        finish_reason: FinishReason,
        logprob: float | None = None,
        tokens: tuple[Token, ...] | None = None,
    ) -> Completion:
        """The answer as a completion.

        Args:
            finish_reason: Why it ended, if not at a stop sequence.
            logprob: Of its tokens.
            tokens: Those tokens.
        """
        reason = "stop" if self.stopped else finish_reason
        return Completion(self.text, reason, logprob, tokens, self.thinking, raw=self.raw)


class StopDetector:
    """Watches one completion for its stop sequences, exactly, but looks closely only where one may end.

    Stop sequences are looked for in the answer. Thinking is passed over, if the text begins with its mark or
    the prompt has opened it.

    Args:
        detokenizer: Spells the tokens.
        prompt: What the completion follows.
        stops: Where it ends; they are not part of it.
        style: How the model thinks.
        waits: Look for stop sequences only once thinking has ended: it is expected to come.
    """

    def __init__(
        self,
        detokenizer: Detokenizer,
        prompt: Sequence[int],
        stops: Sequence[str],
        style: ThinkingStyle = KNOWN_STYLE,
        *,
        waits: bool = False,
    ) -> None:
        self.detokenizer = detokenizer
        self._prompt, self._style = prompt, style
        self._stops = tuple(stop for stop in stops if stop)
        self._last = frozenset(stop[-1] for stop in self._stops)
        self._closing = style.last_signs
        self._waits = waits or style.is_known
        self._is_thinking = bool(self._stops) and (self._waits or bool(self.opened))

    @cached_property
    def opened(self) -> str:
        """The mark of thinking with which the prompt ends; "" if there is none."""
        if not self._style.marks or not self._may_open():
            return ""
        return self._style.opened_by(self.detokenizer.end_of(self._prompt))

    def _may_open(self) -> bool:
        """Whether the prompt's last sign is one with which thinking may be opened."""
        for token in reversed(self._prompt[-_OPENING_TOKENS:]):
            piece = (self.detokenizer.special.get(token) or self.detokenizer.piece(token)).rstrip()
            if piece:
                return piece[-1] in self._style.opening_signs or _INCOMPLETE in piece
        return False

    def stops(self, tokens: Sequence[int]) -> bool:
        """Whether the answer has a stop sequence in it; ask after each token."""
        if not self._stops or not self._is_suspicious(tokens[-1]):
            return False
        text = self.detokenizer.text(self._prompt, tokens)
        reading = self._style.read(text, self.opened)
        self._is_thinking = reading.is_open or (self._waits and not reading.answer_from)
        return not self._is_thinking and reading.first_stop(text, self._stops) is not None

    def _is_suspicious(self, token: int) -> bool:
        """Whether a stop sequence may end with this token; while it thinks, whether the thinking may."""
        if token in self.detokenizer.special:
            return True
        piece = self.detokenizer.piece(token)
        if self._is_thinking:
            return _INCOMPLETE in piece or not self._closing.isdisjoint(piece)
        # A stop sequence is complete only with its last character. What a token spells on its own may be
        # unlike what it adds where it is blank or a part of a character.
        suspicious = piece.strip(" ") == "" or _INCOMPLETE in piece or " " in self._last
        return suspicious or not self._last.isdisjoint(piece)

    def ending(self, tokens: Sequence[int]) -> Ending:
        """The answer, cut before the first stop sequence."""
        text = self.detokenizer.text(self._prompt, tokens)
        reading = self._style.read(text, self.opened)
        stop = reading.first_stop(text, self._stops)
        spans = reading.answer if stop is None else reading.cut_at(stop)
        is_special = not self.detokenizer.special.keys().isdisjoint(tokens)
        if reading.thinking is None and not reading.answer_from and not is_special:
            if stop is None:
                return Ending(text, range(len(tokens)), stopped=False, spans=spans)
            num_tokens = self.detokenizer.num_tokens(self._prompt, tokens, text[:stop])
            return Ending(text[:stop], range(num_tokens), stopped=True, spans=spans)
        return self._ending(tokens, text, spans, reading, stopped=stop is not None)

    def ends_thinking(self, completion: Completion) -> bool:
        """Whether a completion ends inside its thinking."""
        return completion.raw is not None and self._style.read(completion.raw, self.opened).is_open

    def token_texts(self, tokens: Sequence[int], ending: Ending) -> list[str]:
        """What each token of an ending adds to its text, which they make together."""
        pieces = self.detokenizer.pieces(self._prompt, tokens)
        ends = list(accumulate(map(len, pieces), initial=0))
        texts = []
        for place in ending.places:
            start = ends[place]
            inside = "" if tokens[place] in self.detokenizer.special else pieces[place]
            texts.append("".join(inside[max(0, a - start) : max(0, b - start)] for a, b in ending.spans))
        # Half a character at the end is spelled by no piece of its own.
        spelt = "".join(texts)
        if texts and len(spelt) < len(ending.text) and ending.text.startswith(spelt):
            texts[-1] += ending.text[len(spelt) :]
        return texts

    def _ending(
        self, tokens: Sequence[int], text: str, spans: tuple[Span, ...], reading: Reading, *, stopped: bool
    ) -> Ending:
        """An answer that is only a part of the text."""
        pieces = self.detokenizer.pieces(self._prompt, tokens)
        ends = list(accumulate(map(len, pieces), initial=0))
        places = [place for place in range(len(tokens)) if lies_in(ends[place], ends[place + 1], spans)]
        ending = Ending("", places, stopped, self._plain(reading.thinking), text, spans)
        left = "".join(self.token_texts(tokens, ending))
        return replace(ending, text=left, raw=None if left == text else text)

    def _plain(self, thinking: str | None) -> str | None:
        """Thinking without the special tokens in it."""
        if thinking is None:
            return None
        for name in self.detokenizer.special.values():
            thinking = thinking.replace(name, "") if name in thinking else thinking
        return thinking.strip()
