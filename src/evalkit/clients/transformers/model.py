"""A loaded model with all it can do: generate, score, embed. What the engine has computed for it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from evalkit.clients.local.finite import not_finite
from evalkit.clients.local.prompting import ChatStyle, Prompt, Prompter
from evalkit.clients.transformers import memory
from evalkit.clients.transformers.batching import BatchLimit
from evalkit.clients.transformers.engine import More
from evalkit.clients.transformers.job import Answer, Job
from evalkit.clients.transformers.loading import LoadedModel
from evalkit.errors import BadRequestError
from evalkit.response import Completion, Efficiency, Response, Usage
from evalkit.thinking import KNOWN_STYLE, ThinkingStyle

Pooling = Literal["mean", "last"]


class LocalModel:
    """A model, ready to work; used from one thread.

    Args:
        loaded: The model.
        chat: How chats are put to it.
        name: What answers say that was served.
        with_logprobs: Give generated tokens with log-probabilities, even where no alternatives are asked for.
        pooling: How an embedding is made of the last layer: the mean of all tokens, or the last token.
        style: How the model thinks.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        chat: ChatStyle,
        *,
        name: str | None = None,
        with_logprobs: bool = False,
        pooling: Pooling = "mean",
        style: ThinkingStyle = KNOWN_STYLE,
    ) -> None:
        from evalkit.clients.transformers.generate.generation import Generator
        from evalkit.clients.transformers.score.scoring import PromptScorer

        self._loaded, self._name, self._pooling = loaded, name, pooling
        self._prompter = Prompter(loaded.tokenizer, chat, _num_rows(loaded.model))
        self.notes = self._prompter.notes
        self._generator = Generator(loaded, with_logprobs=with_logprobs, name=name, style=style)
        self._scorer = PromptScorer(loaded)

    def limit(self, max_tokens: int | None, max_rows: int | None) -> BatchLimit:
        """How large batches may be: as the user says, else as suits the device."""
        tokens, rows = memory.batch_limits(self._loaded.model, self._loaded.device)
        return BatchLimit(max_tokens or tokens, max_rows or rows)

    def prepare(self, jobs: Sequence[Job]) -> list[Job]:
        """Tokenise the prompts of jobs in one call; those that can be computed. The others have failed."""
        ready = []
        for job, prompt in zip(jobs, self._prompts(jobs), strict=True):
            if isinstance(prompt, BadRequestError):
                job.finish(prompt)
                continue
            job.prompt = prompt
            if (refusal := self._refusal(job)) is not None:
                job.finish(refusal)
            else:
                ready.append(job)
        return ready

    def _prompts(self, jobs: Sequence[Job]) -> list[Prompt | BadRequestError]:
        try:
            return self._prompter.prompts([job.request for job in jobs])
        except Exception as error:  # noqa: BLE001 - a single bad text, and a tokenizer refuses the call
            if len(jobs) == 1:
                return [BadRequestError(f"the prompt can't be tokenised: {type(error).__name__}: {error}")]
        return [prompt for job in jobs for prompt in self._prompts([job])]

    def generate(self, jobs: Sequence[Job], more: More) -> Iterator[tuple[Job, Answer]]:
        """Each job with its answer, and those of `more`, as soon as it is finished."""
        return self._generator.run(jobs, more)

    def score_batches(self, jobs: Sequence[Job], limit: BatchLimit) -> list[list[Job]]:
        """Jobs in the order and in the batches in which they share most."""
        return self._scorer.batches(jobs, limit.tokens, limit.rows)

    def score(self, batch: Sequence[Job]) -> Iterator[tuple[Job, Answer]]:
        """The log-probabilities of prompts."""
        started_s, started_at = time.perf_counter(), time.time()
        for job, completion, counts in self._scorer.score(batch):
            tokens = completion.tokens or ()
            if (failure := not_finite(t.logprob for t in tokens if t.logprob is not None)) is not None:
                yield job, failure
                continue
            shares = (counts.padded_tokens, counts.reused_tokens, counts.batch_size)
            yield job, self._response(job, (completion,), started_s, started_at, shares)

    def embed(self, batch: Sequence[Job]) -> Iterator[tuple[Job, Answer]]:
        """The vectors of prompts."""
        from evalkit.clients.transformers.embedding import embed

        started_s, started_at = time.perf_counter(), time.time()
        vectors = embed(self._loaded, batch, self._pooling)
        width = max(len(job.prompt.ids) for job in batch)
        for job, vector in zip(batch, vectors, strict=True):
            if (failure := not_finite(vector)) is not None:
                yield job, failure
                continue
            shares = (width, 0, len(batch))
            yield job, self._response(job, (), started_s, started_at, shares, vector)

    def free_memory(self) -> None:
        """Give back what is not needed, kept prefixes included."""
        self._generator.forget()
        self._scorer.forget()
        memory.free_memory(self._loaded.device)

    def _refusal(self, job: Job) -> BadRequestError | None:
        """Why the model can't take a prompt; None if it can."""
        from evalkit.clients.transformers.score.scoring import check_scoring

        if self._loaded.lacks_head and job.kind != "embed":
            return BadRequestError(
                "the model's files hold no output head: it gives embeddings, and neither generates nor scores"
            )
        if job.kind == "score":
            try:
                check_scoring(job.request)
            except BadRequestError as error:
                return error
        limit, length = self._loaded.max_length_tokens, len(job.prompt.ids)
        if limit is None:
            return None
        if length > limit:
            return BadRequestError(f"the prompt has {length} tokens, the model takes {limit}")
        if length == limit and job.kind == "generate" and job.request.max_tokens > 0:
            return BadRequestError(
                f"the prompt has {length} tokens, the model takes {limit}: there is no room for an answer"
            )
        return None

    def _response(
        self,
        job: Job,
        completions: tuple[Completion, ...],
        started_s: float,
        started_at: float,
        shares: tuple[int, int, int],
        embedding: tuple[float, ...] | None = None,
    ) -> Response:
        padded_tokens, reused_tokens, batch_size = shares
        return Response(
            completions,
            Usage(len(job.prompt.ids), 0),
            latency_s=time.perf_counter() - started_s,
            served_model=self._name,
            embedding=embedding,
            efficiency=Efficiency(
                started_at=started_at,
                queue_s=started_s - job.queued_s,
                padded_tokens=padded_tokens,
                reused_tokens=reused_tokens,
                batch_size=batch_size,
                peak_memory_bytes=memory.peak_memory_bytes(self._loaded.device),
            ),
        )


def _num_rows(model: Any) -> int:
    """How many tokens a model has an embedding for."""
    embedding = model.get_input_embeddings()
    # Quantised weights may be stored in another shape than the tensor they encode.
    return int(getattr(embedding, "num_embeddings", None) or embedding.weight.shape[0])
