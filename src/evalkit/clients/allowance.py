"""What sending a request allows a server to bill: the bound that plans and budgets rely on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_LENGTH_LIMITS = ("max_tokens", "max_completion_tokens")
_THINKING_LIMITS = frozenset(
    {"thinking_budget", "thinking_token_budget", "reasoning_budget", "budget_tokens", "max_thinking_tokens"}
)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one request allows a server to bill.

    Attributes:
        completion_tokens: Most tokens that may be generated, over all completions, thinking included; None:
            no limit is sent.
        sends: How often the prompt is sent, and billed.
        added_prompt_tokens: Most tokens that the client adds to each prompt.
        thinking_tokens: By how many one completion may be longer than the request asks for.
    """

    completion_tokens: int | None
    sends: int = 1
    added_prompt_tokens: int = 0
    thinking_tokens: int = 0


def length_limit(body: Mapping[str, Any]) -> int | None:
    """The most tokens that a body allows for one completion; None where it names no limit.

    Of two limits the larger counts, since servers differ in which they heed.
    """
    limits = [value for name in _LENGTH_LIMITS if type(value := body.get(name)) is int]
    return max(limits, default=None)


def thinking_limit(body: Any) -> int:
    """The most thinking tokens that a body names anywhere; 0 where it names none."""
    return max(_thinking_limits(body, within_thinking=False), default=0)


def num_drawn(body: Mapping[str, Any]) -> int:
    """How many completions a body has the server generate; it bills those it drops, too."""
    return max([1, *(value for name in ("n", "best_of") if type(value := body.get(name)) is int)])


def tokens_at_most(extra_body: Mapping[str, Any] | None) -> int:
    """The most tokens that fields such as tools or a system prompt add to a prompt: one for each byte."""
    if not extra_body:
        return 0
    import json

    return len(json.dumps(extra_body, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _thinking_limits(body: Any, *, within_thinking: bool) -> Iterator[int]:
    if not isinstance(body, Mapping):
        return
    for name, value in body.items():
        if type(value) is int and (name in _THINKING_LIMITS or (within_thinking and name in _LENGTH_LIMITS)):
            yield value
        yield from _thinking_limits(value, within_thinking="reason" in name or "think" in name)
