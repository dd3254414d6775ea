"""A causal language model as scoring sees it: states of tokens, and logits where they are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from evalkit.clients.transformers.loading import LoadedModel

# Logits are computed for this many positions at once: 64 MB in float32, whatever the size of the vocabulary.
_MAX_LOGITS = 16 * 2**20
_FULL, _SLIDING = "full_attention", "sliding_attention"
# Attention over a part of what stands before, reckoned in ways that no mask from outside can follow.
_OTHER_WINDOWS = ("window_size", "attention_window", "attention_chunk_size", "local_attention_window")
_CHANGING_ROPES = ("dynamic", "longrope", "yarn_dynamic")


@dataclass(frozen=True, slots=True)
class Feed:
    """What a model is given in one pass, and where in it each token of interest stands.

    Attributes:
        ids: Tokens, [rows, columns].
        rows: The row of each token of interest.
        columns: The column of each.
        options: More arguments of the model's forward.
    """

    ids: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_positions(self) -> int:
        """Positions that are computed, padding included."""
        return int(self.ids.numel())


class Network:
    """A loaded model, taken apart into the part that makes states and the head that makes logits.

    Attributes:
        device: Where inputs go.
        has_parts: Whether it can be taken apart; else it makes logits itself, all of a pass at once. Set to
            False where the parts turn out to give something else.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        model = loaded.model
        self.device = loaded.device
        self.config = model.config.get_text_config()
        self._model = model
        self._trunk, self._head = model.base_model, model.get_output_embeddings()
        dtype = getattr(getattr(self._head, "weight", None), "dtype", None)
        # States may be kept in more digits than the head computes in. Quantised weights say nothing of that.
        self._head_dtype = dtype if dtype is not None and dtype.is_floating_point else None
        self._softcap: float | None = getattr(self.config, "final_logit_softcapping", None)
        self.has_parts = self._trunk is not model and self._head is not None

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        dtype: torch.dtype = self._model.dtype
        return dtype

    @cached_property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return int(self._model.get_input_embeddings().weight.shape[0])

    @cached_property
    def weight_per_position(self) -> float:
        """The work of a token outside attention, in tokens that it might attend to for the same work."""
        embeddings = self._model.get_input_embeddings().weight
        weights = sum(parameter.numel() for parameter in self._trunk.parameters()) - embeddings.numel()
        num_layers = getattr(self.config, "num_hidden_layers", 1)
        return max(1.0, float(weights / num_layers / (2 * embeddings.shape[-1])))

    @property
    def takes_masks(self) -> bool:
        """Whether it is known which tokens each layer attends to, so that a mask can say it."""
        kinds = set(getattr(self.config, "layer_types", None) or ())
        other = any(getattr(self.config, name, None) for name in _OTHER_WINDOWS)
        return kinds <= {_FULL, _SLIDING} and not other

    @cached_property
    def same_up_to_tokens(self) -> int | None:
        """Longer texts are computed in another way from their first token on; None: all in the same way."""
        ropes = getattr(self.config, "rope_parameters", None) or {}
        found = [ropes, *(rope for rope in ropes.values() if isinstance(rope, Mapping))]
        lengths = [
            rope.get("original_max_position_embeddings") or self.config.max_position_embeddings
            for rope in found
            if rope.get("rope_type") in _CHANGING_ROPES
        ]
        return min(lengths, default=None)

    def mask(self, sees: torch.Tensor, distance: torch.Tensor) -> Any:
        """The attention mask that its forward takes.

        Args:
            sees: Whether each token comes after each other one, [queries, keys].
            distance: How many tokens after, [queries, keys].
        """
        kinds = set(getattr(self.config, "layer_types", None) or ())
        window = getattr(self.config, "sliding_window", None)
        if window is None or kinds == {_FULL}:
            return self._additive(sees)
        near = self._additive(sees & (distance < window))
        return {_FULL: self._additive(sees), _SLIDING: near} if len(kinds) > 1 else near

    def _additive(self, sees: torch.Tensor) -> torch.Tensor:
        mask = torch.zeros(sees.shape, dtype=self.dtype, device=self.device)
        return mask.masked_fill_(~sees, torch.finfo(self.dtype).min)[None, None]

    def states(self, ids: torch.Tensor, **options: Any) -> torch.Tensor:
        """The last layer's states, [rows, columns, size].

        Args:
            ids: Tokens, [rows, columns].
            options: More arguments of the model's forward.
        """
        options = {"use_cache": False, **options}
        states: torch.Tensor
        if self._trunk is not self._model:
            states = self._trunk(ids, **options)[0]
        else:
            states = self._model(ids, output_hidden_states=True, **options).hidden_states[-1]
        return states

    def logits(self, feed: Feed) -> Iterator[torch.Tensor]:
        """The logits after each token of interest in float32, [some tokens, vocabulary], in their order."""
        if self.has_parts:
            states = self.states(feed.ids, **feed.options)
            chosen = states[feed.rows.to(states.device), feed.columns.to(states.device)]
            step = max(1, _MAX_LOGITS // self.vocab_size)
            for part in chosen.split(step):
                yield self._capped(
                    self._head(part if self._head_dtype is None else part.to(self._head_dtype)).float()
                )
            return
        columns, which = torch.unique(feed.columns, return_inverse=True)
        options = {"use_cache": False, **feed.options}
        logits = self._model(feed.ids, logits_to_keep=columns, **options).logits
        if logits.shape[1] != len(columns):  # it has not heard of `logits_to_keep`
            logits = logits[:, columns.to(logits.device)]
        yield logits[feed.rows.to(logits.device), which.to(logits.device)].float()

    def plain_logits(self, ids: list[int]) -> torch.Tensor:
        """The logits after each of some tokens, as the model gives them by itself, [tokens, vocabulary]."""
        given = torch.tensor([ids], device=self.device)
        logits: torch.Tensor = self._model(given, use_cache=False).logits[0].float()
        return logits

    def forget_lengths(self) -> None:
        """Make it forget that it has seen long texts, which may change how it computes other ones.

        To be called before each pass that begins a text. It does nothing for models whose way to compute does
        not depend on the length; the others forget when they see a short text.
        """
        if self.same_up_to_tokens is not None:
            self.states(torch.zeros(1, 1, dtype=torch.long, device=self.device))

    def changes_with_length(self, num_tokens: int) -> bool:
        """Whether a text of that length is computed in another way than shorter ones, and so alone."""
        return self.same_up_to_tokens is not None and num_tokens > self.same_up_to_tokens

    def fill(self, feed: Feed) -> None:
        """Compute for the sake of the cache in the feed's options only."""
        if self.has_parts:
            self.states(feed.ids, **feed.options)
        else:
            self._model(feed.ids, logits_to_keep=1, **feed.options)

    def _capped(self, logits: torch.Tensor) -> torch.Tensor:
        if self._softcap is None:
            return logits
        return torch.tanh(logits / self._softcap) * self._softcap
