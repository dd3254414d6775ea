"""What the API clients do alike with completions: stop sequences, finish reasons, seeds."""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evalkit.errors import ContentFilterError
from evalkit.response import Completion, FinishReason, Response, Usage, total_logprob

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
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
}
"""A provider's word for why a completion ended, in lower case, to ours; anything else is "unknown"."""


def finish_reason(word: object) -> FinishReason:
    """A provider's finish reason in our words."""
    return FINISH_REASONS.get(word.casefold(), "unknown") if isinstance(word, str) else "unknown"


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
    """A count of tokens, which servers also give as text or with a fraction; 0 for what is no count."""
    try:
        return max(0, int(float(value)))
    except (TypeError, ValueError, OverflowError):
        return 0


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
    usage = Usage(
        sum(r.usage.prompt_tokens for r in responses), sum(r.usage.completion_tokens for r in responses)
    )
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
