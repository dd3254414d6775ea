"""Conversations that a benchmark gives as they are to be sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from evalkit.adapters.adapter import Adapter, RequestSlot
from evalkit.adapters.chat_context import ChatContext
from evalkit.adapters.prompt import Context, Prompt
from evalkit.errors import DataError
from evalkit.instance import Instance
from evalkit.registry import Output, adapter
from evalkit.request import Message

MESSAGES = "messages"
_ROLES = ("system", "user", "assistant")


@adapter("chat")
class ChatAdapter(Adapter):
    """One request per instance: the messages in its extra data (`messages`), sent unchanged.

    Instructions, prefixes and few-shot examples have no place in it, and the window is not looked at.
    """

    can_chat: ClassVar[bool] = False
    makes_prompts_singly: ClassVar[bool] = True
    gives: ClassVar[frozenset[Output] | None] = frozenset({"generated_text"})

    def context(self, train: Sequence[Instance], trial: int) -> Context:
        """Nothing is shared."""
        return Context(self.layout, self.window, ())

    def prompt(self, context: Context | ChatContext, instance: Instance, slot: RequestSlot) -> Prompt:
        """The instance's messages.

        Raises:
            DataError: It has none, or one that is not a message.
        """
        given = (instance.extra or {}).get(MESSAGES)
        if not given:
            raise DataError(f"instance {instance.id} has no '{MESSAGES}' to send; the method chat needs them")
        messages = []
        for message in given:
            role, content = message.get("role"), message.get("content")
            if role not in _ROLES or not isinstance(content, str):
                raise DataError(
                    f"instance {instance.id}: a message needs a role ({', '.join(_ROLES)}) and text"
                )
            messages.append(Message(role, content))
        return Prompt("", messages=tuple(messages))
