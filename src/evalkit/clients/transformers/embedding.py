"""Embeddings of prompts: the states of a model's last layer, pooled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from evalkit.clients.transformers.job import Job
from evalkit.clients.transformers.loading import LoadedModel
from evalkit.clients.transformers.network import Network
from evalkit.clients.transformers.score.layouts import pad_right

Pooling = Literal["mean", "last"]


def embed(loaded: LoadedModel, batch: Sequence[Job], pooling: Pooling) -> list[tuple[float, ...]]:
    """The embedding of each prompt, computed in one pass.

    Rows are padded on the right, where no token of a prompt looks, and the padding is left out of the pool.
    Prompts whose length changes how the model computes them (dynamic RoPE) have their own pass.

    Args:
        loaded: The model.
        batch: The prompts; at least one.
        pooling: The mean over a prompt's tokens, or its last token.

    Returns:
        For each prompt as many numbers as the model's states have.
    """
    network = Network(loaded)
    alone = [[place] for place, job in enumerate(batch) if network.changes_with_length(len(job.prompt.ids))]
    together = sorted(set(range(len(batch))).difference(*alone))
    vectors: list[tuple[float, ...]] = [()] * len(batch)
    for places in [together, *alone] if together else alone:
        pooled = _pooled(network, [batch[place].prompt.ids for place in places], pooling)
        for place, vector in zip(places, pooled.tolist(), strict=True):
            vectors[place] = tuple(vector)
    return vectors


def _pooled(network: Network, prompts: Sequence[Sequence[int]], pooling: Pooling) -> torch.Tensor:
    """One vector for each prompt, [prompts, size]."""
    with torch.inference_mode():
        network.forget_lengths()
        states = network.states(pad_right(prompts).to(network.device)).float()
        lengths = torch.tensor([len(ids) for ids in prompts], device=states.device)
        if pooling == "last":
            return states[torch.arange(len(prompts), device=states.device), lengths - 1]
        is_real = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
        return states.masked_fill(~is_real[..., None], 0.0).sum(1) / lengths[:, None]
