"""The next token of each row: the likeliest, or drawn from what the settings leave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch

from evalkit.clients.local.seeding import seed_bytes
from evalkit.clients.transformers.job import Settings
from evalkit.request import Request

# Divided by less than this, logits may be larger than a float holds.
_COLD = 1e-20


@dataclass(frozen=True, slots=True)
class Picked:
    """What was chosen, row by row.

    Attributes:
        ids: The tokens, as the model takes them next; [rows].
        tokens: The same as numbers.
        logprobs: Their natural-log probabilities in the model's own distribution, before temperature,
            penalties and cuts.
        tops: Each row's likeliest tokens with theirs, best first; None where no alternatives are wanted.
    """

    ids: torch.Tensor
    tokens: list[int]
    logprobs: list[float]
    tops: list[list[tuple[int, float]]] | None


def private_random(request: Request, index: int) -> Random:
    """The generator of one completion: the same for the same request, whatever it is computed with."""
    return Random(int.from_bytes(seed_bytes(request, index)[:16], "big"))


def pick(
    logits: torch.Tensor,
    settings: Settings,
    uniforms: Sequence[float],
    counts: Sequence[Counter[int]],
    seen: torch.Tensor | None = None,
) -> Picked:
    """Choose a token for each row.

    Args:
        logits: [rows, vocabulary].
        settings: Of all rows.
        uniforms: A number in [0, 1) for each row, used unless settings are greedy.
        counts: How often each token was generated in each row, used only for penalties.
        seen: Which tokens are in each row's text, its prompt included; [rows, vocabulary]. Needed only for a
            repetition penalty.
    """
    logits = logits.float()
    totals = logits.logsumexp(-1)
    scores = _penalised(logits, settings, counts)
    if settings.repetition_penalty != 1 and seen is not None:
        factor = settings.repetition_penalty
        scores = torch.where(seen, torch.where(scores > 0, scores / factor, scores * factor), scores)
    if settings.is_greedy:
        ids = scores.argmax(-1)
    else:
        if settings.temperature < _COLD:
            scores = scores - scores.amax(-1, keepdim=True)
        scores = scores / settings.temperature
        if 0 < settings.top_k < scores.shape[-1]:
            least = scores.topk(settings.top_k, dim=-1).values[:, -1:]
            scores = scores.masked_fill(scores < least, -torch.inf)
        ids = _drawn(scores, settings.top_p, uniforms)
    logprobs = logits.gather(-1, ids[:, None])[:, 0] - totals
    tops = None
    if settings.num_tops > 1:
        best = logits.topk(min(settings.num_tops, logits.shape[-1]), dim=-1)
        values = (best.values - totals[:, None]).tolist()
        tops = [list(zip(*row, strict=True)) for row in zip(best.indices.tolist(), values, strict=True)]
    return Picked(ids, ids.tolist(), logprobs.tolist(), tops)


def _penalised(logits: torch.Tensor, settings: Settings, counts: Sequence[Counter[int]]) -> torch.Tensor:
    if not settings.presence_penalty and not settings.frequency_penalty:
        return logits
    places = [(row, token, count) for row, seen in enumerate(counts) for token, count in seen.items()]
    if not places:
        return logits
    rows, tokens, times = (torch.tensor(column, device=logits.device) for column in zip(*places, strict=True))
    scores = logits.clone()
    scores[rows, tokens] -= settings.presence_penalty + settings.frequency_penalty * times.to(logits.dtype)
    return scores


def _drawn(scores: torch.Tensor, top_p: float, uniforms: Sequence[float]) -> torch.Tensor:
    """One token per row by inverting the cumulative distribution, which depends on nothing but the row."""
    probabilities = scores.softmax(-1)
    if top_p < 1:
        ordered = probabilities.sort(-1, descending=True).values
        outside = ordered.cumsum(-1) - ordered >= top_p
        outside[:, 0] = False
        least = ordered.masked_fill(outside, torch.inf).amin(-1, keepdim=True)
        probabilities = probabilities.masked_fill(probabilities < least, 0.0)
    exact = torch.float32 if scores.device.type == "mps" else torch.float64
    sums = probabilities.cumsum(-1, dtype=exact)
    drawn = torch.tensor(list(uniforms), dtype=exact, device=scores.device)[:, None] * sums[:, -1:]
    return torch.searchsorted(sums, drawn, right=True)[:, 0].clamp_(max=scores.shape[-1] - 1)
