"""What vLLM gives back, as completions and measurements."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evalkit.clients.local.prompting import Prompt
from evalkit.response import Completion, Efficiency, FinishReason, Token, total_logprob

if TYPE_CHECKING:
    from evalkit.clients.local.detokenizer import Detokenizer, StopDetector
    from evalkit.request import Request

_REASONS: Mapping[str | None, FinishReason] = {"stop": "stop", "length": "length"}


def completion_of(output: Any, request: Request, watch: StopDetector, *, with_tokens: bool) -> Completion:
    """A generated text, spelled as for every engine: vLLM itself leaves out half a character at the end.

    Args:
        output: vLLM's `CompletionOutput`, with whatever ended it.
        request: What was asked.
        watch: Finds the answer in it.
        with_tokens: Give each token with its log-probability.
    """
    ids, reason = list(output.token_ids), _REASONS.get(output.finish_reason, "unknown")
    if reason == "stop" and not isinstance(output.stop_reason, str):
        ids = ids[:-1]  # the end token; a stop sequence is cut below
    ending = watch.ending(ids)
    if not with_tokens:
        return ending.completion(reason)
    tops, detokenizer = request.top_k_per_token, watch.detokenizer
    tokens = []
    for place, text in zip(ending.places, watch.token_texts(ids, ending), strict=True):
        at = output.logprobs[place]
        alternatives = _alternatives(at, tops, detokenizer) if tops > 1 else None
        tokens.append(Token(text, at[ids[place]].logprob, alternatives))
    return ending.completion(reason, total_logprob(tokens), tuple(tokens))


def scored_completion(
    outputs: Sequence[Any], request: Request, prompt: Prompt, detokenizer: Detokenizer
) -> Completion:
    """A scored prompt: its tokens from the first one that is wanted on.

    Args:
        outputs: vLLM's `RequestOutput` for all but the last token, with that as its continuation; empty where
            the prompt is one token, which follows nothing.
        request: What was asked.
        prompt: What was scored.
        detokenizer: Spells the alternatives.
    """
    places: list[Mapping[int, Any] | None] = [None] * len(prompt.ids)
    for output in outputs:
        places[-1] = output.outputs[0].logprobs[0]
        num_context = len(prompt.ids) - 1
        for index in range(max(1, prompt.first_scored), num_context):
            # Counted from the end: of what comes from its cache, vLLM may leave out the places.
            places[index] = output.prompt_logprobs[index - num_context]
    logprobs, tops, greedy = [], [], []
    for token, place in list(zip(prompt.ids, places, strict=True))[prompt.first_scored :]:
        found = None if place is None else place[token]
        logprobs.append(None if found is None else found.logprob)
        tops.append(
            _alternatives(place, request.top_k_per_token, detokenizer)
            if place is not None and request.top_k_per_token > 1
            else None
        )
        if found is not None:
            greedy.append(found.rank == 1)
    tokens = prompt.tokens(logprobs, tops)
    return Completion(
        "".join(token.text for token in tokens),
        "length",
        total_logprob(tokens),
        tokens,
        is_greedy=all(greedy),
    )


def efficiency_of(outputs: Sequence[Any], handed_over_s: float, now_s: float, num_running: int) -> Efficiency:
    """How an answer came about.

    Args:
        outputs: vLLM's `RequestOutput`s of one request.
        handed_over_s: When it was submitted, by `time.monotonic`; vLLM's engine reads the same clock.
        now_s: The time now, by the same clock.
        num_running: How many requests the engine computes at the moment.
    """
    metrics = [output.metrics for output in outputs if output.metrics is not None]
    began = [m.scheduled_ts for m in metrics if m.scheduled_ts > 0]
    began_s = min(max(min(began, default=handed_over_s), handed_over_s), now_s)
    firsts = [m.first_token_ts for m in metrics if m.first_token_ts > 0]
    reused = sum(output.num_cached_tokens or 0 for output in outputs)
    return Efficiency(
        started_at=time.time() - (now_s - began_s),
        queue_s=began_s - handed_over_s,
        first_token_s=max(0.0, min(firsts) - began_s) if firsts else None,
        reused_tokens=reused,
        batch_size=max(1, num_running),
    )


def _alternatives(place: Mapping[int, Any], number: int, detokenizer: Detokenizer) -> dict[str, float]:
    """The likeliest tokens at one place with their log-probabilities, best first."""
    best = sorted(place.items(), key=lambda item: -item[1].logprob)[:number]
    tops: dict[str, float] = {}
    for token, found in best:
        tops.setdefault(detokenizer.piece(token), found.logprob)
    return tops
