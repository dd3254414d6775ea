"""A prompt as a chat: instructions as system message, few-shot examples as turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evalkit.adapters.prompt import Layout, Prompt
from evalkit.adapters.window import Window
from evalkit.request import Message


class Turn(NamedTuple):
    """A few-shot example as two turns: what the user asks, and what the assistant answers."""

    question: str
    answer: str


class ChatContext:
    """What the chats of one train trial share (the adapter spec's `chat_style`).

    The global prefix and the instructions are the system message, left out where both are empty; the global
    suffix ends the last user message. Substitutions are applied to each message.

    Args:
        layout: How prompts look.
        window: What prompts must fit into; the marks that a server puts around messages are not counted.
        turns: The few-shot examples as turns, for the style `turns`.
        blocks: The few-shot examples as text, for the style `system`.
    """

    def __init__(self, layout: Layout, window: Window, turns: Sequence[Turn], blocks: Sequence[str]) -> None:
        self._layout, self._window, self._turns, self._blocks = layout, window, turns, blocks
        spec = layout.spec
        self._max_tokens = spec.max_tokens
        system = layout.substituted((spec.global_prefix + spec.instructions).strip())
        self._system = (Message("system", system),) if system else ()

    def prompt(self, block: str, *, few_shot: bool = True) -> Prompt:
        """The chat for one question block, fitted to the window.

        While it does not fit, the last few-shot example is dropped; with none left, the question is cut from
        the right.

        Raises:
            UsageError: The window has no room for any prompt.
        """
        messages: tuple[Message, ...] = ()
        for kept in range(len(self._blocks) if few_shot else 0, -1, -1):
            messages = self._messages(kept, block)
            text = _text_of(messages)
            if self._window.fits(text, self._max_tokens):
                return Prompt(text, kept, messages=messages)
        return self._cut(messages)

    def _messages(self, kept: int, block: str) -> tuple[Message, ...]:
        layout = self._layout
        examples: tuple[Message, ...] = ()
        if layout.spec.chat_style == "turns":
            examples = tuple(
                message
                for turn in self._turns[:kept]
                for message in (
                    Message("user", layout.substituted(turn.question)),
                    Message("assistant", layout.substituted(turn.answer)),
                )
            )
        else:
            block = layout.spec.instance_prefix.join([*self._blocks[:kept], block])
        return (*self._system, *examples, Message("user", layout.finish("", block)))

    def _cut(self, messages: tuple[Message, ...]) -> Prompt:
        """The chat without examples, its question cut; the system message too, if that alone is too long."""
        before = _text_of((*messages[:-1], Message("user", "")))
        text = self._window.truncate(_text_of(messages), self._max_tokens)
        question = Message("user", text[len(before) :])
        if len(text) <= len(before):
            return Prompt(text, truncated=True, messages=(Message("user", text),))
        return Prompt(text, truncated=True, messages=(*messages[:-1], question))


def _text_of(messages: Sequence[Message]) -> str:
    return "\n\n".join(message.content for message in messages)
