"""A prompt as a chat: instructions as system message, few-shot examples as turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evalkit.adapters.prompt import FittedContext, Layout, Prompt
from evalkit.adapters.window import Window
from evalkit.request import Message


class Turn(NamedTuple):
    """A few-shot example as two turns: what the user asks, and what the assistant answers."""

    question: str
    answer: str


class ChatContext(FittedContext):
    """What the chats of one train trial share (the adapter spec's `chat_style`).

    The global prefix and the instructions are the system message, left out where both are empty; the global
    suffix ends the last user message. Substitutions are applied to each message.

    Args:
        layout: How prompts look.
        window: What prompts must fit into; the marks that a server puts around messages are not counted. A
            question that does not fit is cut from the right.
        turns: The few-shot examples as turns, for the style `turns`.
        blocks: The few-shot examples as text, for the style `system`.
    """

    def __init__(self, layout: Layout, window: Window, turns: Sequence[Turn], blocks: Sequence[str]) -> None:
        spec = layout.spec
        super().__init__(window, spec.max_tokens, len(blocks))
        self._layout, self._turns, self._blocks = layout, turns, blocks
        system = layout.substituted((spec.global_prefix + spec.instructions).strip())
        self._system = (Message("system", system),) if system else ()

    def _draft(self, kept: int, block: str) -> Prompt:
        messages = self._messages(kept, block)
        return Prompt(text_of(messages), kept, messages=messages)

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

    def _cut(self, draft: Prompt) -> Prompt:
        """The chat with its question cut; the system message too, if that alone is too long."""
        messages = self.cut(draft.messages or ())
        return Prompt(text_of(messages), truncated=True, messages=messages)

    def cut(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """A chat that does not fit, its last message cut; all before it too, if that alone is too long.

        Raises:
            UsageError: The window has no room for any prompt.
        """
        before = text_of((*messages[:-1], Message("user", "")))
        text = self._window.truncate(text_of(messages), self._max_tokens)
        if len(text) <= len(before):
            return (Message("user", text),)
        return (*messages[:-1], Message("user", text[len(before) :]))


def text_of(messages: Sequence[Message]) -> str:
    """The chat as one text, as it is measured against the window."""
    return "\n\n".join(message.content for message in messages)
