"""What servers of OpenAI's protocol answer, as completions; what can't be read is never an empty text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from evalkit.clients.completions import finish_reason
from evalkit.errors import ClientError, TransientError
from evalkit.response import Completion, Token, Usage, total_logprob


def completions_of(
    answer: Mapping[str, Any], wanted: int, *, chat: bool, echoed: bool = False
) -> tuple[Completion, ...]:
    """The first completions of an answer.

    Args:
        answer: The parsed body.
        wanted: How many there must be.
        chat: They are turns of a chat, not continuations of a text.
        echoed: They begin with the prompt, whose first token may lack its log-probability.

    Raises:
        TransientError: The answer has another shape, or there are too few.
    """
    try:
        choices = answer["choices"]
        if len(choices) < wanted:
            raise TransientError(f"{len(choices)} of {wanted} completions came back", "malformed")
        if chat:
            return tuple(_chat_completion(choice) for choice in choices[:wanted])
        return tuple(_text_completion(choice, echoed) for choice in choices[:wanted])
    except ClientError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise TransientError(f"the server's answer has another shape ({detail})", "malformed") from None


def usage_of(usage: Any) -> Usage:
    """Tokens billed; zero where the server does not say, or says no number."""
    if not isinstance(usage, Mapping):
        return Usage()
    return Usage(num_tokens(usage.get("prompt_tokens")), num_tokens(usage.get("completion_tokens")))


def has_thought(usage: Any) -> bool:
    """Whether tokens went into thinking, shown or not."""
    details = usage.get("completion_tokens_details") if isinstance(usage, Mapping) else None
    return isinstance(details, Mapping) and num_tokens(details.get("reasoning_tokens")) > 0


def num_tokens(value: Any) -> int:
    """A count of tokens, which servers also give as text or with a fraction; 0 for what is no count."""
    try:
        return max(0, int(float(value)))
    except (TypeError, ValueError, OverflowError):
        return 0


def _chat_completion(choice: Mapping[str, Any]) -> Completion:
    if choice.get("finish_reason") == "error":
        raise TransientError(f"the server broke off: {str(choice.get('error', ''))[:200]}")
    message = choice["message"]
    content, thoughts = _content(message.get("content"))
    text = message.get("refusal") or "" if content is None else content
    thinking = message.get("reasoning_content") or message.get("reasoning") or thoughts or None
    tokens = _chat_tokens(choice.get("logprobs"))
    logprob = None if tokens is None else total_logprob(tokens)
    return Completion(text, finish_reason(choice.get("finish_reason")), logprob, tokens, thinking)


def _content(content: Any) -> tuple[str | None, str]:
    """Text and thinking of a message's content, which is a string, null, or a list of typed parts."""
    if content is None or isinstance(content, str):
        return content, ""
    texts, thoughts = [], []
    for part in content:
        if part["type"] == "thinking":
            inner = part["thinking"]
            thoughts.append(inner if isinstance(inner, str) else "".join(p["text"] for p in inner))
        elif part["type"] == "text":
            texts.append(part["text"])
    return "".join(texts), "".join(thoughts)


def _text_completion(choice: Mapping[str, Any], echoed: bool) -> Completion:
    text = choice["text"]
    if not isinstance(text, str):
        raise TypeError("text is no string")
    tokens, logprob = None, None
    if (listed := choice.get("logprobs")) is not None:
        tokens = _listed_tokens(listed, echoed)
        logprob = total_logprob(tokens)
    thinking = choice.get("reasoning_content") or choice.get("reasoning") or None
    return Completion(text, finish_reason(choice.get("finish_reason")), logprob, tokens, thinking)


def _chat_tokens(logprobs: Any) -> tuple[Token, ...] | None:
    """Tokens of a chat turn, which servers report in two shapes; None where they report none.

    Raises:
        ValueError: They are reported in a third.
    """
    if not logprobs:
        return None
    if (listed := logprobs.get("content")) is not None:
        return tuple(
            Token(_text(t["token"]), _logprob(t["logprob"]), _alternatives(t.get("top_logprobs")))
            for t in listed
        )
    if logprobs.get("tokens") is not None:
        return _listed_tokens(logprobs, echoed=False)
    if any(value for name, value in logprobs.items() if name != "refusal"):
        raise ValueError(f"log-probabilities as {sorted(logprobs)}")
    return None


def _listed_tokens(listed: Mapping[str, Any], echoed: bool) -> tuple[Token, ...]:
    """Tokens as lists of equal length; only those of an echoed prompt may lack their log-probability."""
    texts, values = listed["tokens"], listed["token_logprobs"]
    tops = listed.get("top_logprobs") or [None] * len(texts)
    return tuple(
        Token(_text(text), None if value is None and echoed else _logprob(value), _alternatives(top))
        for text, value, top in zip(texts, values, tops, strict=True)
    )


def _alternatives(tops: Any) -> dict[str, float] | None:
    """Alternatives by their text, an object or a list of objects; of those spelled alike the likeliest."""
    if not tops:
        return None
    pairs = tops.items() if isinstance(tops, Mapping) else ((top["token"], top["logprob"]) for top in tops)
    likeliest: dict[str, float] = {}
    for text, value in pairs:
        logprob = _logprob(value)
        if text not in likeliest or logprob > likeliest[text]:
            likeliest[_text(text)] = logprob
    return likeliest


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a token is {type(value).__name__}, no string")
    return value


def _logprob(value: Any) -> float:
    logprob = float(value)
    if math.isnan(logprob) or logprob == math.inf:
        raise ValueError(f"a log-probability is {logprob}")
    return logprob
