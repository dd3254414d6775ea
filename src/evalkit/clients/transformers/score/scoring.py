"""Log-probabilities of prompts, with what prompts have in common computed once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from evalkit.clients.local.detokenizer import Detokenizer
from evalkit.clients.transformers.batching import is_out_of_memory
from evalkit.clients.transformers.job import Job
from evalkit.clients.transformers.loading import LoadedModel
from evalkit.clients.transformers.network import Feed, Network
from evalkit.clients.transformers.score.layouts import Sharing, make_feed
from evalkit.clients.transformers.score.packing import (
    SHORTEST_PREFIX_TOKENS,
    Limits,
    Span,
    isolated_packs,
    pack_by_length,
    pack_by_prefix,
)
from evalkit.clients.transformers.score.prefix_tree import PrefixTree, shared_length, sort_key, token_count
from evalkit.clients.transformers.score.prefixes import Prefixes
from evalkit.clients.transformers.score.probing import probe
from evalkit.errors import BadRequestError
from evalkit.request import Request
from evalkit.response import Completion, total_logprob


@dataclass(frozen=True, slots=True)
class _Sizes:
    """How much is computed at once: enough to keep a device busy, and no more, so that answers come early.

    Attributes:
        smallest_tree, largest_tree: Tokens of a tree.
        largest_rows: Positions of rows.
    """

    smallest_tree: int
    largest_tree: int
    largest_rows: int


_ON_CPU, _ON_DEVICE = _Sizes(256, 512, 4096), _Sizes(2048, 4096, 16384)
# In a tree all tokens are compared with all others; it is not to get dearer than so by that.
_MOST_WASTED = 0.25


@dataclass(frozen=True, slots=True)
class Counts:
    """What it took to score a prompt.

    Attributes:
        padded_tokens: Its share of the positions that were computed, padding included.
        reused_tokens: Tokens of it that were computed for another prompt.
        batch_size: Prompts that were computed with it, itself included.
    """

    padded_tokens: int
    reused_tokens: int
    batch_size: int


@dataclass(frozen=True, slots=True)
class _Scores:
    """What the model finds of some tokens, in the order in which they were asked for.

    Attributes:
        logprobs: Natural logarithm of each one's probability.
        is_best: Whether it is the likeliest.
        tops: The likeliest tokens in its place with their log-probabilities; empty if not asked for.
    """

    logprobs: list[float]
    is_best: list[bool]
    tops: list[tuple[list[int], list[float]]]


def check_scoring(request: Request) -> None:
    """Whether a request with `echo_prompt` can be answered.

    Raises:
        BadRequestError: Something is to be generated too, or several completions are wanted.
    """
    if request.max_tokens:
        raise BadRequestError(
            f"a prompt is scored or continued, not both: set max_tokens to 0 (it is {request.max_tokens})"
        )
    if request.num_completions != 1:
        raise BadRequestError("a scored prompt has one answer: set num_completions to 1")


class PromptScorer:
    """Scores prompts with one model; used from one thread.

    At the first use it finds out what the model can share between prompts (`probing`).

    Args:
        loaded: The model.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._network = Network(loaded)
        self._prefixes = Prefixes(self._network)
        self._detokenizer = Detokenizer(loaded.tokenizer)
        self._is_recurrent = loaded.is_recurrent
        self._sizes = _ON_CPU if loaded.device.type == "cpu" else _ON_DEVICE
        self._found: Sharing | None = None
        # Jobs of batches that begin unlike all others, and how the batch before began.
        self._apart: set[Job] = set()
        self._before = b""

    @property
    def sharing(self) -> Sharing:
        """What prompts of a batch share.

        Raises:
            RuntimeError: Finding out has failed, among others for lack of memory; it tries again when asked.
        """
        if self._found is None:
            self._found = probe(self._network, self._is_recurrent)
        return self._found

    def batches(self, jobs: Sequence[Job], max_batch_tokens: int, max_batch_size: int) -> list[list[Job]]:
        """The jobs in the order and the batches in which they are best scored.

        Args:
            jobs: Requests with `echo_prompt`.
            max_batch_tokens: Most positions that a batch computes at once, padding included; what all of a
                batch shares is computed before. A single prompt may be longer.
            max_batch_size: Most prompts of a batch.
        """
        alone = [job for job in jobs if self._stands_alone(job)]
        rest = [job for job in jobs if not self._stands_alone(job)]
        spans = [Span(sort_key(job.prompt.ids[:-1]), _first_needed(job)) for job in rest]
        try:
            sharing = self.sharing
        except Exception:  # noqa: BLE001 - what is wrong with the model will show when it scores
            sharing = Sharing.NONE
        tree_tokens = self._tree_tokens if sharing is Sharing.TREE else None
        limits = Limits(min(max_batch_tokens, self._sizes.largest_rows), max_batch_size, tree_tokens)
        by = pack_by_length if sharing is Sharing.NONE else pack_by_prefix
        packs = by(spans, limits)
        is_apart = isolated_packs(spans, packs) if sharing is Sharing.TREE else [False] * len(packs)
        self._apart = {
            rest[index] for pack, apart in zip(packs, is_apart, strict=True) if apart for index in pack
        }
        return [[rest[index] for index in pack] for pack in packs] + [[job] for job in alone]

    def score(self, batch: Sequence[Job]) -> Iterator[tuple[Job, Completion, Counts]]:
        """Score one batch, as `batches` made it.

        A prompt that the model gives NaN for may spoil those that share a pass with it, so whatever is spoilt
        is computed again, alone.

        Raises:
            RuntimeError: Among others when memory runs out, before anything is yielded.
        """
        try:
            completions, counts = self._scored(batch)
        except Exception as error:
            if is_out_of_memory(error):
                self.forget()
            raise
        for job, completion, count in zip(batch, completions, counts, strict=True):
            if len(batch) > 1 and not math.isfinite(completion.logprob or 0.0):
                yield from self.score([job])
            else:
                yield job, completion, count

    def forget(self) -> None:
        """Keep no prefixes for later batches: their memory is wanted."""
        self._prefixes.clear()

    def _stands_alone(self, job: Job) -> bool:
        """Whether its length has a say in how each of its tokens is computed."""
        return self._network.changes_with_length(len(job.prompt.ids))

    @property
    def _tree_tokens(self) -> int:
        """Most tokens of a tree."""
        wanted = int(self._network.weight_per_position * _MOST_WASTED)
        return min(max(wanted, self._sizes.smallest_tree), self._sizes.largest_tree)

    def _scored(self, batch: Sequence[Job]) -> tuple[list[Completion], list[Counts]]:
        with torch.inference_mode():
            self._network.forget_lengths()
            start = self._shared_by_all(batch)
            prefix, computed = None, 0
            if start:
                prefix, computed = self._prefixes.of(batch[0].prompt.ids[:start])
                start = prefix.length
            # No token follows the last one, so its state is useless.
            ends = [None if self._stands_alone(job) else -1 for job in batch]
            tree = PrefixTree.of(
                [job.prompt.ids[start:end] for job, end in zip(batch, ends, strict=True)], start
            )
            wanted = [
                (path[at - start], job.prompt.ids[at + 1])
                for job, path in zip(batch, tree.paths, strict=True)
                for at in range(_first_needed(job), len(job.prompt.ids) - 1)
            ]
            best_k = max(job.request.top_k_per_token for job in batch)
            scores, positions = _Scores([], [], []), 0
            if wanted:
                feed = make_feed(self._network, tree, prefix, self.sharing)
                scores = _scores(self._network, feed, wanted, best_k if best_k > 1 else 0)
                positions = feed.num_positions
        return self._completions(batch, scores), _counts(batch, tree, start, computed, positions)

    def _shared_by_all(self, batch: Sequence[Job]) -> int:
        """How many tokens at the beginning are computed once and kept; 0 where that is not worth it."""
        if self.sharing is Sharing.NONE or any(map(self._stands_alone, batch)):
            return 0
        keys = [sort_key(job.prompt.ids) for job in batch]
        # What the first and the last in order have in common, all between them have too.
        shared = min(shared_length(min(keys), max(keys)), *(_first_needed(job) for job in batch))
        before, self._before = self._before, keys[0]
        if shared < SHORTEST_PREFIX_TOKENS or self._is_quick(batch, keys, before):
            return 0
        return shared

    def _is_quick(self, batch: Sequence[Job], keys: Sequence[bytes], before: bytes) -> bool:
        """Whether one pass over everything is better than two, of which the first is for what all share.

        It is where no other sequence needs the prefix, so that it need not be kept, and the whole is small.
        """
        if not self._apart.issuperset(batch) or shared_length(before, keys[0]) >= SHORTEST_PREFIX_TOKENS:
            return False
        if self._prefixes.has_some_of(batch[0].prompt.ids):
            return False
        order = sorted(keys)
        nodes = token_count(order[0]) + sum(
            token_count(key) - shared_length(previous, key) for previous, key in pairwise(order)
        )
        return nodes <= self._tree_tokens

    def _completions(self, batch: Sequence[Job], scores: _Scores) -> list[Completion]:
        completions, at = [], 0
        for job in batch:
            prompt = job.prompt
            end = at + len(prompt.ids) - 1 - _first_needed(job)
            found = scores.logprobs[at:end]
            # The first token of a text follows nothing.
            unknown = [None] * (prompt.first_scored == 0)
            tops: list[Mapping[str, float] | None] | None = None
            if (k := job.request.top_k_per_token) > 1:
                tops = [*unknown, *(self._spelled(*top, k) for top in scores.tops[at:end])]
            tokens = prompt.tokens([*unknown, *found], tops)
            completions.append(
                Completion(
                    "".join(token.text for token in tokens),
                    "length",
                    total_logprob(tokens),
                    tokens,
                    is_greedy=all(scores.is_best[at:end]),
                )
            )
            at = end
        return completions

    def _spelled(self, ids: Sequence[int], logprobs: Sequence[float], k: int) -> dict[str, float]:
        spelled: dict[str, float] = {}
        for token, logprob in zip(ids[:k], logprobs[:k], strict=True):
            spelled.setdefault(
                self._detokenizer.piece(token), logprob
            )  # of those spelled alike the likeliest
        return spelled


def _first_needed(job: Job) -> int:
    """The first token after which logits are wanted; the last token if there is none."""
    return max(job.prompt.first_scored, 1) - 1


def _scores(network: Network, feed: Feed, wanted: Sequence[tuple[int, int]], best_k: int) -> _Scores:
    """What the model finds of tokens, each given as the node that it follows and the token itself."""
    nodes, targets = torch.tensor(wanted, device=network.device).unbind(1)
    needed, which = torch.unique(nodes, return_inverse=True)
    order = torch.argsort(which)
    which, targets = which[order], targets[order]
    feed = replace(feed, rows=feed.rows[needed], columns=feed.columns[needed])
    logprobs, best, top_ids, top_logprobs = [], [], [], []
    begin = done = 0
    for logits in network.logits(feed):
        done += len(logits)
        end = int(torch.searchsorted(which, done))
        rows, ids = (
            which[begin:end].to(logits.device) - (done - len(logits)),
            targets[begin:end].to(logits.device),
        )
        total = torch.logsumexp(logits, -1)
        logprobs.append(logits[rows, ids] - total[rows])
        best.append(logits.argmax(-1)[rows] == ids)
        if best_k:
            top = logits.topk(min(best_k, logits.shape[-1]), -1)
            top_ids.append(top.indices[rows])
            top_logprobs.append((top.values - total[:, None])[rows])
        begin = end
    back = torch.argsort(order).cpu()
    tops = []
    if best_k:
        ids_of, logprobs_of = torch.cat(top_ids).cpu()[back], torch.cat(top_logprobs).cpu()[back]
        tops = list(zip(ids_of.tolist(), logprobs_of.tolist(), strict=True))
    return _Scores(torch.cat(logprobs).cpu()[back].tolist(), torch.cat(best).cpu()[back].tolist(), tops)


def _counts(
    batch: Sequence[Job], tree: PrefixTree, start: int, computed: int, positions: int
) -> list[Counts]:
    """Who had what computed: a shared token goes to the first in order that has it, padding to all alike."""
    total, num = computed + positions, len(batch)
    seen: set[int] = set()
    counts = []
    for index, path in enumerate(tree.paths):
        reused = start if index else start - computed
        reused += sum(node in seen for node in path)
        seen.update(path)
        share = total // num + (index < total % num)
        counts.append(Counts(share, reused, num))
    return counts
