"""Embeddings of prompts: the states of a model's last layer, pooled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from evalkit.clients.transformers.job import Job
from evalkit.clients.transformers.layouts import pad_right
from evalkit.clients.transformers.loading import LoadedModel
from evalkit.clients.transformers.network import Network

Pooling = Literal["mean", "last"]


def embed(loaded: LoadedModel, batch: Sequence[Job], pooling: Pooling) -> list[tuple[float, ...]]:
    """The embedding of each prompt, computed in one pass.

    Rows are padded on the right, where no token of a prompt looks, and the padding is left out of the pool.

    Args:
        loaded: The model.
        batch: The prompts; at least one.
        pooling: The mean over a prompt's tokens, or its last token.

    Returns:
        For each prompt as many numbers as the model's states have.
    """
    network = Network(loaded)
    prompts = [job.prompt.ids for job in batch]
    with torch.inference_mode():
        states = network.states(pad_right(prompts).to(network.device)).float()
        lengths = torch.tensor([len(ids) for ids in prompts], device=states.device)
        if pooling == "last":
            pooled = states[torch.arange(len(prompts), device=states.device), lengths - 1]
        else:
            is_real = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
            pooled = (states * is_real[..., None]).sum(1) / lengths[:, None]
    return [tuple(vector) for vector in pooled.tolist()]
