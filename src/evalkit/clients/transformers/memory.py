"""How much memory there is, was used, and can be given back."""

from __future__ import annotations

import gc
import sys
from typing import Any

# Of what the weights leave free on a GPU, so much is for keys and values; the rest is for computing.
_CACHE_SHARE = 0.4
_CPU_TOKENS, _CPU_ROWS = 65536, 64
_GPU_ROWS = 256


def peak_memory_bytes(device: Any) -> int | None:
    """The most memory held so far: on the GPU, or else by this process. None where it can't be known."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_memory(device: Any = None) -> None:
    """Give back what is no longer used."""
    gc.collect()
    if device is not None and device.type == "cuda":
        import torch

        torch.cuda.empty_cache()


def batch_limits(model: Any, device: Any) -> tuple[int, int]:
    """How many tokens and rows a batch may have unless the user says otherwise.

    On a GPU it goes by the memory that is free besides the weights; on a CPU by what is fastest.
    """
    if device.type != "cuda":
        return _CPU_TOKENS, _CPU_ROWS
    import torch

    free_bytes, _ = torch.cuda.mem_get_info(device)
    return max(4096, int(free_bytes * _CACHE_SHARE / _token_bytes(model))), _GPU_ROWS


def _token_bytes(model: Any) -> int:
    """What the keys and values of one token take."""
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or getattr(config, "num_attention_heads", 1)
    size = getattr(config, "head_dim", None)
    if size is None:
        size = config.hidden_size // max(1, getattr(config, "num_attention_heads", 1))
    return int(2 * config.num_hidden_layers * heads * size * model.dtype.itemsize)
