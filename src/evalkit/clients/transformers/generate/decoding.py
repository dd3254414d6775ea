"""One step after the other for many sequences at once: prefill, decode, and the rows that come and go.

Three ways, from the best to the one that always works; `choose_decoder` finds by trying which a model can go.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from transformers.cache_utils import Cache, DynamicCache

from evalkit.clients.transformers.batching import is_out_of_memory
from evalkit.clients.transformers.generate.prefix_groups import PrefixStore, Tokens
from evalkit.clients.transformers.loading import LoadedModel
from evalkit.clients.transformers.row_cache import BufferSize, FreshLayer, RowCache

_JOINABLE_LAYERS = ("DynamicLayer", "DynamicSlidingWindowLayer")
_RESERVE_COLUMNS = 256


class AdmittedRow(NamedTuple):
    """A prompt that became a row.

    Attributes:
        prompt_index: Which of the prompts it is.
        padded_tokens: Positions that were computed for it, padding included.
        reused_tokens: Tokens of it that were computed for another.
    """

    prompt_index: int
    padded_tokens: int
    reused_tokens: int


class Admitted(NamedTuple):
    """Prompts that became rows.

    Attributes:
        rows: The new rows, in order.
        logits: For the first new token of each; [rows, vocabulary].
    """

    rows: list[AdmittedRow]
    logits: torch.Tensor


class _DistinctPrompt(NamedTuple):
    """A prompt, and where it is among those to admit."""

    tokens: Tokens
    indices: list[int]

    def rows(self, padded_tokens: int, reused_tokens: int) -> Iterator[AdmittedRow]:
        """A row for each copy: the first was computed, the others reuse all of it."""
        first, *copies = self.indices
        yield AdmittedRow(first, padded_tokens, reused_tokens)
        for index in copies:
            yield AdmittedRow(index, 0, len(self.tokens))


def _distinct(prompts: Sequence[Tokens]) -> list[_DistinctPrompt]:
    """Equal prompts as one, in the order of their first copies."""
    found: dict[Tokens, _DistinctPrompt] = {}
    for index, prompt in enumerate(prompts):
        found.setdefault(prompt, _DistinctPrompt(prompt, [])).indices.append(index)
    return list(found.values())


def _repeated(tensor: torch.Tensor, prompts: Sequence[_DistinctPrompt]) -> torch.Tensor:
    """A tensor with one row per prompt, with one for each copy of each prompt."""
    if all(len(prompt.indices) == 1 for prompt in prompts):
        return tensor
    return tensor[[place for place, prompt in enumerate(prompts) for _ in prompt.indices]]


class Decoder(Protocol):
    """Holds the rows of a running batch.

    Attributes:
        joins: Whether rows can be added to rows that are there.
        pads: Whether prompts of different length can be rows of one batch.
    """

    joins: bool
    pads: bool

    def admit(self, prompts: Sequence[Tokens], more: int) -> Admitted:
        """Compute prompts, and add them as rows after those that are there.

        Args:
            prompts: Equal ones are computed once.
            more: Up to how many tokens each row will grow by.
        """

    def step(self, ids: torch.Tensor) -> torch.Tensor:
        """Give each row its next token; logits for the one after it, [rows, vocabulary]."""

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Give up all other rows; where those that stay were, in their new order."""

    def scrub(self) -> None:
        """Rows were given up whose numbers are not finite: leave nothing of them where others will be."""

    def clear(self, forget: bool = False) -> None:
        """Give up all rows; and what was kept for others to reuse, if it is to be forgotten."""


@contextmanager
def _last_only(model: Any, last: torch.Tensor) -> Iterator[None]:
    """Within it, the output layer computes one position per row: the vocabulary is large."""
    head = model.get_output_embeddings()
    if head is None:
        yield
        return

    def narrow(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden, rows = args[0], torch.arange(len(last), device=args[0].device)
        return (hidden[rows, last.to(hidden.device)][:, None], *args[1:])

    handle = head.register_forward_pre_hook(narrow)
    try:
        yield
    finally:
        handle.remove()


class RowDecoder:
    """For models that keep nothing but keys and values: rows come and go, and beginnings are shared.

    Args:
        loaded: The model.
        chunk_tokens: About how many positions are computed at once in a prefill.
    """

    joins = pads = True

    def __init__(self, loaded: LoadedModel, chunk_tokens: int | None = None) -> None:
        self._model, self._device = loaded.model, loaded.device
        self._num_layers = len(DynamicCache(config=loaded.model.config).layers)
        self._takes_positions = "position_ids" in inspect.signature(loaded.model.forward).parameters
        self._chunk_tokens = chunk_tokens or (16384 if loaded.device.type == "cuda" else 2048)
        self._rows = RowCache(self._num_layers)
        self._prefixes: PrefixStore[list[FreshLayer]] = PrefixStore()

    def admit(self, prompts: Sequence[Tokens], more: int) -> Admitted:
        """Compute prompts, sharing what they begin with, and add them as rows."""
        distinct = _distinct(prompts)
        lengths = [*self._rows.lengths, *map(len, prompts)]
        size = BufferSize(len(lengths), max(lengths), min(more, _RESERVE_COLUMNS))
        rows: list[AdmittedRow] = []
        logits: list[torch.Tensor] = []
        for family in self._prefixes.plan([each.tokens for each in distinct]):
            shared = len(family.prefix)
            prefix, num_computed = self._prefix(family.prefix)
            for chunk in self._chunks([distinct[member] for member in family.members], shared):
                fresh, last = self._prefill([each.tokens[shared:] for each in chunk], prefix)
                width = max(len(each.tokens) for each in chunk) - shared
                for each in chunk:
                    rows += each.rows(width + num_computed, shared - num_computed)
                    num_computed = 0  # the first prompt of a family pays for the prefix
                self._join(fresh, chunk, size)
                logits.append(_repeated(last, chunk))
        return Admitted(rows, torch.cat(logits))

    def step(self, ids: torch.Tensor) -> torch.Tensor:
        """One more token per row."""
        lengths = torch.tensor(self._rows.lengths, device=self._device)
        width = self._rows.width
        options: dict[str, Any] = {}
        if min(self._rows.lengths) < width or not self._takes_positions:
            columns = torch.arange(width + 1, device=self._device)
            options["attention_mask"] = (columns >= (width - lengths)[:, None]).long()
        if self._takes_positions:
            options["position_ids"] = lengths[:, None]
        output = self._model(
            input_ids=ids.to(self._device)[:, None],
            past_key_values=self._rows.cache,
            use_cache=True,
            **options,
        )
        self._rows.stepped()
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Give up all other rows."""
        return self._rows.keep(rows)

    def scrub(self) -> None:
        """Zeros where no rows are now: what is masked is still multiplied, and NaN times zero is NaN."""
        self._rows.scrub()

    def clear(self, forget: bool = False) -> None:
        """Give up all rows."""
        if self._rows.lengths:
            self._rows.keep([])
        if forget:
            self._rows = RowCache(self._num_layers)
            self._prefixes.clear()

    def _prefix(self, prefix: Tokens) -> tuple[list[FreshLayer] | None, int]:
        """Keys and values of a prefix, and how many of its tokens had to be computed."""
        if not prefix:
            return None, 0
        kept = self._prefixes.get(prefix)
        if kept is not None:
            return kept, 0
        known = self._prefixes.longest(prefix)
        fresh, _ = self._prefill([prefix[len(known) :]], self._prefixes.get(known) if known else None)
        self._prefixes.put(prefix, fresh)
        return fresh, len(prefix) - len(known)

    def _chunks(self, prompts: Sequence[_DistinctPrompt], shared: int) -> Iterator[list[_DistinctPrompt]]:
        """Prompts of similar length, few enough to compute at once."""
        chunk: list[_DistinctPrompt] = []
        for prompt in sorted(prompts, key=lambda each: len(each.tokens), reverse=True):
            if chunk:
                width = len(chunk[0].tokens) - shared
                is_full = width * (len(chunk) + 1) > self._chunk_tokens
                is_shorter = (len(prompt.tokens) - shared) * 8 < width * 7
                if is_full or (is_shorter and width * len(chunk) * 4 > self._chunk_tokens):
                    yield chunk
                    chunk = []
            chunk.append(prompt)
        if chunk:
            yield chunk

    def _prefill(
        self, prompts: Sequence[Tokens], prefix: list[FreshLayer] | None
    ) -> tuple[list[FreshLayer], torch.Tensor]:
        """Compute prompts after a prefix; their keys and values, and logits after the last token of each."""
        width = max(map(len, prompts))
        # Padding stands on the right: nothing attends to it, and so no mask is needed.
        ids = torch.tensor(
            [[*prompt, *prompt[-1:] * (width - len(prompt))] for prompt in prompts], device=self._device
        )
        last = torch.tensor([len(prompt) - 1 for prompt in prompts], device=self._device)
        layers = [
            FreshLayer(None if prefix is None else (prefix[i].keys, prefix[i].values))
            for i in range(self._num_layers)
        ]
        with _last_only(self._model, last):
            output = self._model(input_ids=ids, past_key_values=Cache(layers=list(layers)), use_cache=True)
        logits = output.logits
        if logits.shape[1] != 1:
            logits = logits[torch.arange(len(prompts), device=logits.device), last.to(logits.device)]
        else:
            logits = logits[:, 0]
        return layers, logits

    def _join(self, fresh: list[FreshLayer], prompts: Sequence[_DistinctPrompt], size: BufferSize) -> None:
        """Add a row for each copy of each prompt."""
        for layer in fresh:
            assert layer.keys is not None
            assert layer.values is not None
            layer.keys, layer.values = _repeated(layer.keys, prompts), _repeated(layer.values, prompts)
        lengths = [len(prompt.tokens) for prompt in prompts for _ in prompt.indices]
        self._rows.join(fresh, lengths, size)


class OwnCacheDecoder:
    """For models that keep more than keys and values (Mamba, …): the cache is the model's own.

    Args:
        loaded: The model.
        pads: Whether it sees through padding on the left.
    """

    joins = False

    def __init__(self, loaded: LoadedModel, pads: bool) -> None:
        self.pads = pads
        self._model, self._device = loaded.model, loaded.device
        self._takes_positions = "position_ids" in inspect.signature(loaded.model.forward).parameters
        self._options: dict[str, Any] = {}
        self._live: list[int] = []
        self.clear()

    def admit(self, prompts: Sequence[Tokens], more: int) -> Admitted:
        """Compute prompts as the only rows."""
        width = max(map(len, prompts))
        ids = torch.tensor([[*[0] * (width - len(p)), *p] for p in prompts], device=self._device)
        mask = torch.tensor([[*[0] * (width - len(p)), *[1] * len(p)] for p in prompts], device=self._device)
        # Copies of a prompt are their own rows from the start: a recurrent state can't be split later.
        self._ids, self._options = ids, {"attention_mask": mask, "use_cache": True}
        if self._takes_positions:
            self._options["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        self._live = list(range(len(prompts)))
        logits = self._run(is_first_iteration=True)
        return Admitted([AdmittedRow(index, width, 0) for index in self._live], logits)

    def step(self, ids: torch.Tensor) -> torch.Tensor:
        """One more token per row."""
        column = self._ids.new_zeros(len(self._ids))
        column[self._live] = ids.to(self._device)
        self._ids = torch.cat([self._ids, column[:, None]], dim=-1)
        return self._run(next_sequence_length=1)

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Give up all other rows; they are computed on where the cache can't let go of single rows."""
        if not rows:
            self.clear()
            return []
        self._live = [self._live[row] for row in rows]
        cache = self._options.get("past_key_values", self._options.get("cache_params"))
        if isinstance(cache, Cache):
            index = torch.tensor(self._live, device=self._device)
            cache.reorder_cache(index)
            self._ids = self._ids[index]
            for name in ("attention_mask", "position_ids"):
                if name in self._options:
                    self._options[name] = self._options[name][index]
            self._live = list(range(len(rows)))
        return list(rows)

    def scrub(self) -> None:
        """Nothing: no row comes where another was."""

    def clear(self, forget: bool = False) -> None:
        """Give up all rows."""
        self._ids = torch.empty((0, 0), dtype=torch.long)
        self._options, self._live = {}, []

    def _run(self, **stage: Any) -> torch.Tensor:
        inputs = self._model.prepare_inputs_for_generation(self._ids, **stage, **self._options)
        if "logits_to_keep" in inspect.signature(self._model.forward).parameters:
            inputs["logits_to_keep"] = 1
        output = self._model(**inputs, return_dict=True)
        self._options = self._model._update_model_kwargs_for_generation(output, self._options)
        logits: torch.Tensor = output.logits[:, -1]
        return logits[self._live] if len(self._live) != len(logits) else logits


def choose_decoder(loaded: LoadedModel) -> Decoder:
    """The best decoder that gives what the model itself gives for each text alone, tried on a few tokens."""
    from random import Random

    random = Random(0)
    size = loaded.model.config.get_text_config(decoder=True).vocab_size
    texts = [tuple(random.randrange(size) for _ in range(length)) for length in (9, 5, 12)]
    expected = [_alone(loaded.model, loaded.device, text) for text in texts]
    ways: list[Decoder] = []
    if _is_joinable(loaded):
        ways.append(RowDecoder(loaded))
    ways.append(OwnCacheDecoder(loaded, pads=True))
    for decoder in ways:
        try:
            agrees = _agrees(decoder, texts, expected)
        except Exception as error:  # a model may refuse in any way it likes
            if is_out_of_memory(error):
                raise
            agrees = False
        decoder.clear(forget=True)
        if agrees:
            return decoder
    return OwnCacheDecoder(loaded, pads=False)


def _is_joinable(loaded: LoadedModel) -> bool:
    if loaded.is_recurrent:
        return False
    try:
        layers = DynamicCache(config=loaded.model.config).layers
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    return bool(layers) and all(type(layer).__name__ in _JOINABLE_LAYERS for layer in layers)


def _alone(model: Any, device: Any, text: Tokens) -> torch.Tensor:
    """The model's logits after each of the last three tokens, by plain forward passes."""
    with torch.inference_mode():
        output = model(input_ids=torch.tensor([text], device=device), use_cache=False)
    logits: torch.Tensor = output.logits[0, -3:].float()
    return logits


def _agrees(decoder: Decoder, texts: Sequence[Tokens], expected: Sequence[torch.Tensor]) -> bool:
    """Whether prefill and two steps give the same logits; rows join and leave where they can."""
    device = expected[0].device
    with torch.inference_mode():
        heads = [text[:-2] for text in texts]
        order: list[int] = []
        groups = [[0, 1], [2]] if decoder.joins else [[0, 1, 2]]
        seen: dict[tuple[int, int], torch.Tensor] = {}
        for group in groups:
            admitted = decoder.admit([heads[index] for index in group], 4)
            rows = [group[row.prompt_index] for row in admitted.rows]
            seen.update({(row, 0): logits for row, logits in zip(rows, admitted.logits, strict=True)})
            order += rows
        for step in (1, 2):
            ids = torch.tensor([texts[row][step - 3] for row in order], device=device)
            logits = decoder.step(ids)
            seen.update({(row, step): one for row, one in zip(order, logits, strict=True)})
            order = [
                order[place] for place in decoder.keep([p for p, row in enumerate(order) if row != step])
            ]
    return all(_close(logits, expected[row][step]) for (row, step), logits in seen.items())


def _close(logits: torch.Tensor, expected: torch.Tensor) -> bool:
    tolerance = {torch.float32: 1e-3, torch.float64: 1e-3}.get(logits.dtype, 0.1)
    scale = expected.abs().max().clamp(min=1e-6)
    return bool(((logits.float() - expected).abs().max() / scale) < tolerance)
