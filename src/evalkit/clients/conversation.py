"""Chats written out as one text, for models that have their own format and no chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from evalkit.errors import UsageError, nearest_names
from evalkit.request import Message, Request


@dataclass(frozen=True, slots=True)
class Conversation:
    """How the turns of a chat become a text, as FastChat's custom conversation templates have it.

    The text is the system message and a separator; of each message its role, a separator, the message and a
    separator; and the role that answers next with its own separator.

    Attributes:
        system: The system message of chats that have none.
        roles: What the user and the model are called.
        separator: Stands behind the system message and each message.
        role_message_separator: Stands between a role and its message.
        role_only_separator: Stands behind the role that answers next.
        stop: Texts that end an answer, besides those of the request.
        stop_token_ids: Tokens that end an answer.
    """

    system: str = ""
    roles: tuple[str, ...] = ("User", "Assistant")
    separator: str = "\n"
    role_message_separator: str = ": "
    role_only_separator: str = ":"
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()

    @staticmethod
    def of(settings: Mapping[str, Any] | None) -> Conversation | None:
        """The format that a deployment's argument `conversation` describes; None without it.

        Raises:
            UsageError: A setting is unknown, or has a value of another kind.
        """
        if settings is None:
            return None
        known = [field.name for field in fields(Conversation)]
        for name in settings:
            if name not in known:
                nearest = nearest_names(name, known, limit=1)
                right = f"did you mean '{nearest[0]}'?" if nearest else f"known: {', '.join(known)}"
                raise UsageError(f"conversation has no setting '{name}'; {right}")
        given = {name: _checked(name, value) for name, value in settings.items()}
        made = Conversation(**given)
        if len(made.roles) != 2:
            raise UsageError("conversation: roles must be two texts: who asks, and who answers")
        return made

    def applied(self, request: Request) -> Request:
        """A request for a chat as one for a text; any other request as it is."""
        if request.messages is None:
            return request
        text = self.text(request.messages)
        stops = tuple(dict.fromkeys((*request.stop_sequences, *self.stop)))
        return replace(request, prompt=text, messages=None, stop_sequences=stops)

    def text(self, messages: Sequence[Message]) -> str:
        """The text of a chat, up to where the model goes on."""
        said = [message for message in messages if message.role != "system"]
        system = "\n\n".join(message.content for message in messages if message.role == "system")
        parts = [system or self.system, self.separator]
        for message in said:
            role = self.roles[message.role == "assistant"]
            parts += [role, self.role_message_separator, message.content, self.separator]
        if said and said[-1].role == "assistant":
            return "".join(parts[:-1])  # the model goes on with what it has begun
        return "".join((*parts, self.roles[1], self.role_only_separator))

    def with_tokens(self, tokenizer: Any) -> Conversation:
        """The format in which the tokens that end an answer are texts."""
        texts = (tokenizer.decode([token], skip_special_tokens=False) for token in self.stop_token_ids)
        return replace(self, stop=(*self.stop, *filter(None, texts)), stop_token_ids=())


def _checked(name: str, value: Any) -> Any:
    """A setting of its kind, lists as tuples.

    Raises:
        UsageError: It has another kind.
    """
    kind = int if name == "stop_token_ids" else str
    if name in ("roles", "stop", "stop_token_ids"):
        if isinstance(value, list | tuple) and all(type(each) is kind for each in value):
            return tuple(value)
        raise UsageError(f"conversation: {name} must be a list of {'numbers' if kind is int else 'texts'}")
    if not isinstance(value, str):
        raise UsageError(f"conversation: {name} must be a text")
    return value
