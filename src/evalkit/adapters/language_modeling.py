"""Language modeling: how likely a text is, in pieces that the model can take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from evalkit.adapters.adapter import Adapter, Slot
from evalkit.adapters.chat_context import ChatContext
from evalkit.adapters.prompt import Context, Prompt
from evalkit.adapters.window import NO_WINDOW, TokenWindow, Window
from evalkit.errors import UsageError
from evalkit.instance import Instance
from evalkit.registry import adapter
from evalkit.specs.run_spec import AdapterSpec

_CUT_CHARACTER = "\ufffd"


class Piece(NamedTuple):
    """A part of a document.

    Attributes:
        num_conditioning_tokens: So many tokens at its start are context and not scored.
    """

    text: str
    num_conditioning_tokens: int


@adapter("language_modeling")
class LanguageModelingAdapter(Adapter):
    """One request per window of the text; the prompt's own tokens are scored.

    The first window begins with the tokenizer's prefix token; each further one predicts as many new tokens
    as it can and has as many earlier ones for context as fit. Without a tokenizer the text is one window.

    Raises:
        UsageError: Few-shot examples are asked for.
    """

    can_chat: ClassVar[bool] = False

    def __init__(self, spec: AdapterSpec, window: Window = NO_WINDOW) -> None:
        if spec.max_train_instances:
            raise UsageError("language_modeling shows no examples; set max_train_instances=0")
        super().__init__(spec, window)
        self._pieces_of: tuple[str, list[Piece]] = ("", [])

    def context(self, train: Sequence[Instance], trial: int) -> Context:
        """Nothing is shared."""
        return Context(self.layout, self.window, ())

    def slots(self, instance: Instance) -> Sequence[Slot]:
        """One per window, numbered where there are several."""
        count = len(self._pieces(instance.input))
        return [Slot()] if count == 1 else [Slot(part=part) for part in range(count)]

    def prompt(self, context: Context | ChatContext, instance: Instance, slot: Slot) -> Prompt:
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
    """The windows of a text.

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
    tokens = tokenizer.encode(text)
    first = min(window.max_sequence_length, len(tokens))
    prefix = tokenizer.encode(tokenizer.prefix_token)
    begin = _fitted(window, prefix, tokens[:first], longest)
    pieces = [Piece(begin.text, 1 if tokenizer.prefix_token else 0)]
    done = first
    while done < len(tokens):
        end = done + min(len(tokens) - done, longest - 1)
        pieces.append(_fitted(window, tokens[max(0, end - longest) : done], tokens[done:end], longest))
        done = end
    return pieces


def _fitted(window: TokenWindow, context: Sequence[Any], new: Sequence[Any], longest: int) -> Piece:
    """Context and new tokens as a text of at most `longest` tokens, without halves of characters."""
    tokenizer = window.tokenizer
    text = tokenizer.decode([*context, *new])
    # Text made of tokens may make more tokens again.
    while (excess := tokenizer.count(text) - longest) > 0:
        new = new[:-excess]
        if not new:
            raise UsageError(
                f"the tokenizer makes a text longer than {longest} tokens of its own tokens; "
                "this text can't be cut into windows with it"
            )
        text = tokenizer.decode([*context, *new])
    whole = text.strip(_CUT_CHARACTER)
    if whole == text:
        return Piece(text, len(context))
    leading = longest - tokenizer.count(text.lstrip(_CUT_CHARACTER))
    trailing = longest - tokenizer.count(text.rstrip(_CUT_CHARACTER))
    if trailing >= len(new):
        return Piece(whole, tokenizer.count(whole))
    return Piece(whole, 1 if leading >= len(context) else len(context) - leading)
