"""Language modeling: how likely a text is, in pieces that the model can take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from evalkit.adapters.adapter import Adapter, RequestSlot
from evalkit.adapters.chat_context import ChatContext
from evalkit.adapters.prompt import Context, Prompt
from evalkit.adapters.window import NO_WINDOW, TokenWindow, Window
from evalkit.errors import UsageError
from evalkit.instance import Instance
from evalkit.registry import Output, adapter
from evalkit.specs.run_spec import AdapterSpec
from evalkit.tokenization import Tokenizer

_CUT_CHARACTER = "\ufffd"
# What is tried where a window would begin or end inside a character or a word: up to this many tokens fewer
# at its end, and this many fewer, or more, at its beginning. A character has at most four, one for each byte.
_MOST_FEWER = 4
_SHIFTS = (0, 1, 2, 3, -1, -2, -3)


class Piece(NamedTuple):
    """A part of a document.

    Attributes:
        num_conditioning_tokens: How many tokens at its start are context and not scored.
    """

    text: str
    num_conditioning_tokens: int


@adapter("language_modeling")
class LanguageModelingAdapter(Adapter):
    """One request per window of the text; the prompt's own tokens are scored.

    The first window begins with the tokenizer's prefix token, or its several (GLM's `[gMASK]<sop>`); each
    further one predicts as many new tokens as it can and has as many earlier ones for context as fit. Without
    a tokenizer the text is one window.

    Raises:
        UsageError: Few-shot examples are asked for.
    """

    can_chat: ClassVar[bool] = False
    makes_prompts_singly: ClassVar[bool] = True
    gives: ClassVar[frozenset[Output] | None] = frozenset({"prompt_logprobs"})
    has_examples: ClassVar[bool] = False

    def __init__(self, spec: AdapterSpec, window: Window = NO_WINDOW) -> None:
        if spec.max_train_instances:
            raise UsageError("language_modeling shows no examples; set max_train_instances=0")
        super().__init__(spec, window)
        self._pieces_of: tuple[str, list[Piece]] = ("", [])

    def context(self, train: Sequence[Instance], trial: int) -> Context:
        """Nothing is shared."""
        return Context(self.layout, self.window, ())

    def slots(self, instance: Instance) -> Sequence[RequestSlot]:
        """One per window, numbered where there are several."""
        count = len(self._pieces(instance.input))
        return [RequestSlot()] if count == 1 else [RequestSlot(part=part) for part in range(count)]

    def prompt(self, context: Context | ChatContext, instance: Instance, slot: RequestSlot) -> Prompt:
        """The text of one window."""
        piece = self._pieces(instance.input)[slot.part or 0]
        return Prompt(piece.text, num_conditioning_tokens=piece.num_conditioning_tokens)

    def parameters(self) -> dict[str, Any]:
        """The prompt is scored; `max_tokens` (usually 0) are generated."""
        return {
            "temperature": 0.0,
            "max_tokens": self.spec.max_tokens,
            "stop_sequences": self.spec.stop_sequences,
            "echo_prompt": True,
        }

    def _pieces(self, text: str) -> list[Piece]:
        """The windows of a text; those of the last one are kept, which is asked for several times."""
        if self._pieces_of[0] != text or not self._pieces_of[1]:
            window = self.window
            whole = [Piece(text, 0)]
            pieces = (
                pieces_of(text, window, self.spec.max_tokens) if isinstance(window, TokenWindow) else whole
            )
            self._pieces_of = (text, pieces)
        return self._pieces_of[1]


def pieces_of(text: str, window: TokenWindow, max_tokens: int) -> list[Piece]:
    """The windows of a text: each of its tokens is scored in one of them.

    Args:
        text: The document.
        window: Tokenizer and lengths.
        max_tokens: Tokens to be generated after each window.

    Raises:
        UsageError: The window has no room for a token and its context.
    """
    longest = min(window.max_request_length, window.max_total_length - max_tokens)
    if longest < 2:
        raise UsageError(
            f"max_tokens={max_tokens} leaves no room in a window of {longest + max_tokens} tokens"
        )
    tokenizer = window.tokenizer
    tokens, prefix = tokenizer.encode(text), tokenizer.encode(tokenizer.prefix_token)
    first = tokens[: window.max_sequence_length]
    pieces: list[Piece] = []
    done = 0
    while not pieces or done < len(tokens):
        if done == 0:
            piece, taken = _fitted(tokenizer, [prefix], first, longest)
            # A stand-in spells out what is one token to the model, as every tokenizer's in HELM is.
            num_before = min(1, len(prefix)) if tokenizer.stand_in else len(prefix)
            piece = piece._replace(num_conditioning_tokens=num_before)
        else:
            new = tokens[done : done + longest - 1]
            begin = max(0, done + len(new) - longest)
            begins = [begin + shift for shift in _SHIFTS if 0 <= begin + shift < done]
            piece, taken = _fitted(tokenizer, [tokens[at:done] for at in begins], new, longest)
        pieces.append(piece)
        # What did not fit after all is left to the next window.
        done += taken
    return pieces


def _fitted(
    tokenizer: Tokenizer, contexts: Sequence[Sequence[Any]], new: Sequence[Any], longest: int
) -> tuple[Piece, int]:
    """Context and new tokens as a text of at most `longest` tokens, and how many new ones are in it.

    A text that is made of tokens may have other tokens: where it was cut inside a word, or in a character, of
    which no half can be sent. So other contexts and a little less of what is new are tried, until the text
    ends with the very tokens that are new.

    Args:
        tokenizer: Of the window.
        contexts: What may stand before, the best first.
        new: What is to be scored.
        longest: Tokens of a text.

    Raises:
        UsageError: No text is short enough.
    """
    nearest: tuple[Piece, int] | None = None
    fitting: dict[int, Sequence[Any]] = {}
    for fewer in range(_MOST_FEWER + 1):
        for number, context in enumerate(contexts):
            if number not in fitting:
                fitting[number] = _shortened(tokenizer, context, new, longest)
            kept = fitting[number][: max(0, len(fitting[number]) - fewer)]
            text = tokenizer.decode([*context, *kept])
            if (new and not kept) or tokenizer.count(text) > longest:
                continue
            least = 1 if context else 0
            again = tokenizer.encode(text)
            num_before = len(again) - len(kept)
            # A document may have such a character itself.
            is_cut = text.startswith(_CUT_CHARACTER) and again[:num_before] != list(context)
            if num_before >= least and again[num_before:] == list(kept) and not is_cut:
                return Piece(text, num_before), len(kept)
            whole = text.strip(_CUT_CHARACTER)
            if nearest is None and whole:
                nearest = Piece(whole, max(least, tokenizer.count(whole) - len(kept))), len(kept)
    if nearest is None:
        raise UsageError(
            f"the tokenizer makes more than {longest} tokens of a text that it decoded from fewer; "
            "evalkit can't cut this text into windows with it"
        )
    return nearest


def _shortened(
    tokenizer: Tokenizer, context: Sequence[Any], new: Sequence[Any], longest: int
) -> Sequence[Any]:
    """The most of what is new that makes a text of at most `longest` tokens after the context."""
    while new and (excess := tokenizer.count(tokenizer.decode([*context, *new])) - longest) > 0:
        # Half a character is spelled by more tokens than it has: so fewer of them may have to go.
        new = new[: max(0, len(new) - max(1, excess - _MOST_FEWER))]
    return new
