"""Loading a model and its tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to compute.

    Attributes:
        model: A causal language model of transformers, in evaluation mode.
        tokenizer: Its tokenizer.
        device: Where inputs go.
        is_recurrent: It keeps a state (Mamba, …) in place of keys and values: nothing can be shared or padded
            away by a mask alone.
        max_length_tokens: Longest prompt and completion together; None: no limit is known.
    """

    model: Any
    tokenizer: Any
    device: Any
    is_recurrent: bool
    max_length_tokens: int | None
