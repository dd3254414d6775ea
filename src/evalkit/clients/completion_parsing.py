"""What the API clients do alike with completions: stop sequences, finish reasons, seeds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from evalkit.errors import ContentFilterError, TransientError
from evalkit.response import Completion, FinishReason, Response, Usage, summed, total_logprob

FINISH_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "refusal": "content_filter",
    "guardrail_intervened": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "prohibited_content": "content_filter",
    "blocklist": "content_filter",
    "spii": "content_filter",
    "sensitive": "content_filter",
    "image_safety": "content_filter",
    "blocked": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
}
"""A provider's word for why a completion ended, as `_folded` spells it, to ours; else it is "unknown"."""
# The server gave up half-way: what came is not an answer, whatever it says.
BROKEN_OFF = frozenset(
    {
        *("error", "abort", "aborted", "cancelled", "canceled", "timeout", "timed_out", "failed", "failure"),
        *("insufficient_system_resource", "malformed_function_call", "internal_error", "server_error"),
        "pause_turn",
    }
)
# A word of it is enough: `network_error`, `error: the upstream died`.
_BREAKS = frozenset(
    {
        *("error", "errored", "exception", "abort", "aborted", "cancelled", "canceled", "failed", "failure"),
        *("timeout", "interrupted", "disconnected", "disconnect", "preempted", "killed", "unavailable"),
        *("overloaded", "crashed", "evicted", "shutdown"),
    }
)
# Google's word for it is `model`; some gateways leave the role empty.
_OF_THE_MODEL = frozenset({"assistant", "model", ""})
_SHOWN_ROLE = 40
_MOST_TOKENS = 10**9
_NUMERAL = re.compile(r"\s*\d{1,12}(\.\d{1,12})?\s*", re.ASCII)
_WORD_BORDER = re.compile(r"(?<=[a-z])(?=[A-Z])|[- ]")


@contextmanager
def answer_of_known_shape() -> Iterator[None]:
    """Inside, an answer is taken apart.

    Raises:
        TransientError: It has another shape than the API describes.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise TransientError(f"the server's answer has an unexpected shape ({detail})", "malformed") from None


def finish_reason(word: object) -> FinishReason:
    """A provider's finish reason in our words."""
    word = _named(word)
    if not isinstance(word, str):
        return "unknown"
    return FINISH_REASONS.get(word) or FINISH_REASONS.get(_folded(word), "unknown")


def is_broken_off(word: object) -> bool:
    """Whether a provider's finish reason says that it did not finish."""
    word = _named(word)
    if not isinstance(word, str) or word in FINISH_REASONS or _folded(word) in FINISH_REASONS:
        return False
    folded = _folded(word)
    return folded in BROKEN_OFF or not _BREAKS.isdisjoint(re.split(r"[^a-z]+", folded))


def _named(word: object) -> object:
    """The word of a reason that is an object (`{type: stop}`)."""
    return word.get("type") or word.get("reason") if isinstance(word, Mapping) else word


def _folded(word: str) -> str:
    """`contentFilter`, `content-filter` and `CONTENT_FILTER` as `content_filter`."""
    return _WORD_BORDER.sub("_", word).casefold()


def refuse_other_speaker(role: object) -> None:
    """Nothing, if a message is the model's by its role, or says nothing of a role.

    Raises:
        ValueError: It is someone else's: a server that repeats the question, or a tool's result.
    """
    if role is None or (type(role) is str and role.casefold() in _OF_THE_MODEL):
        return
    raise ValueError(f"the message has the role {str(role)[:_SHOWN_ROLE]!r}, not 'assistant'")


def refuse_blocked(completions: Sequence[Completion]) -> None:
    """Nothing, if no content filter had a hand in these.

    Raises:
        ContentFilterError: It blocked or cut off one of them; with what had been written.
    """
    blocked = [c.text for c in completions if c.finish_reason == "content_filter"]
    if blocked:
        text = max(blocked, key=len)
        what = "cut the answer off" if text else "blocked the answer"
        raise ContentFilterError(f"the provider's content filter {what}", text)


def num_tokens(value: Any) -> int:
    """A count of tokens, which servers also give as text or with a fraction; 0 for what is not a count."""
    return token_count(value) or 0


def token_count(value: Any) -> int | None:
    """A count of tokens, also one given as text or with a fraction; None for what is not a count.

    No request takes a billion tokens: a larger number is none either.
    """
    if type(value) is int:
        return value if 0 <= value <= _MOST_TOKENS else None
    if type(value) is str and _NUMERAL.fullmatch(value):
        value = float(value)
    # Neither NaN nor an infinite number is between these.
    if type(value) is float and 0 <= value <= _MOST_TOKENS:
        return int(value)
    return None


def cut_at_stop(completion: Completion, stop_sequences: Sequence[str]) -> Completion:
    """The completion up to the first of the stop sequences; itself if none is in it.

    Tokens that lie wholly behind the cut go, and the log-probability is summed anew. `raw` keeps the whole
    text.
    """
    found = [at for stop in stop_sequences if stop and (at := completion.text.find(stop)) >= 0]
    if not found:
        return completion
    cut = min(found)
    tokens, logprob = completion.tokens, completion.logprob
    if tokens is not None:
        kept, start = [], 0
        for token in tokens:
            if start >= cut:
                break
            kept.append(token)
            start += len(token.text)
        tokens, logprob = tuple(kept), total_logprob(kept)
    return replace(
        completion,
        text=completion.text[:cut],
        finish_reason="stop",
        tokens=tokens,
        logprob=logprob,
        raw=completion.text,
    )


async def send_all(sends: Iterable[Coroutine[Any, Any, Response]]) -> Response:
    """The responses of several sends at once, merged; the first failure ends them all and is raised."""
    import asyncio

    tasks = [asyncio.ensure_future(send) for send in sends]
    try:
        return merged(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def merged(responses: Sequence[Response]) -> Response:
    """The completions of several sends at once as one response: tokens added up, latency of the slowest."""
    usage = summed([response.usage for response in responses])
    completions = tuple(completion for response in responses for completion in response.completions)
    latency_s, first = max(r.latency_s for r in responses), responses[0]
    return Response(completions, usage, latency_s, first.served_model, efficiency=first.efficiency)


def seed_of(random: str | None) -> int | None:
    """A seed for the server: the number that `random` is, else one made of it that is always the same."""
    if random is None:
        return None
    if random.isascii() and random.isdigit() and len(random) <= 9:
        return int(random)
    digest = hashlib.sha256(random.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def billed_usage(usage: Any, prompt_names: Sequence[str], written_name: str, *, wrote: bool) -> Usage:
    """Tokens billed: those written to and read from the prompt cache are prompt tokens too.

    Not reported as soon as one of them is not a count, or where a text was written with none.

    Args:
        usage: What the server says of it.
        prompt_names: The fields that count tokens of the prompt.
        written_name: The field that counts what was written.
        wrote: Whether there is a text.
    """
    if not isinstance(usage, Mapping):
        return Usage()
    parts = [token_count(value) for name in prompt_names if (value := usage.get(name)) is not None]
    prompt = 0 if None in parts else sum(part or 0 for part in parts)
    written = token_count(usage.get(written_name))
    if not prompt or written is None or (wrote and not written):
        return Usage()
    return Usage(prompt, written)
