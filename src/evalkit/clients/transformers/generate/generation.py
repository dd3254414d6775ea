"""Generates text: fills rows, steps them, returns those that finish, and fills them again."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from random import Random

import torch

from evalkit.clients.local.detokenizer import Detokenizer, Ending, StopDetector
from evalkit.clients.local.finite import not_finite
from evalkit.clients.transformers.generate.decoding import Decoder, OwnCacheDecoder, choose_decoder
from evalkit.clients.transformers.generate.sampling import pick, private_random
from evalkit.clients.transformers.job import Answer, Job, Settings
from evalkit.clients.transformers.loading import LoadedModel
from evalkit.clients.transformers.memory import peak_memory_bytes
from evalkit.clients.transformers.network import Network
from evalkit.errors import BadRequestError
from evalkit.response import Completion, Efficiency, FinishReason, Response, Token, Usage
from evalkit.thinking import KNOWN_STYLE, ThinkingStyle

More = Callable[[list[Job]], list[Job]]
"""Asked for more jobs of the same settings, given those that are running; may have none."""


@dataclass(slots=True, eq=False)
class _Task:
    """A job in the batch.

    Attributes:
        max_tokens: Longest completion, within the model's length.
        completions: As they finish, by their index.
        failure: Why there will be no answer: the model computed numbers that are not finite.
    """

    job: Job
    max_tokens: int
    started_s: float
    started_at: float
    completions: dict[int, tuple[Completion, int]] = field(default_factory=dict)
    first_token_s: float = 0.0
    padded_tokens: int = 0
    reused_tokens: int = 0
    batch_size: int = 1
    failure: BadRequestError | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be computed for it."""
        return self.job.cancelled or self.failure is not None


@dataclass(slots=True, eq=False)
class _Row:
    """A completion that grows."""

    task: _Task
    index: int
    watch: StopDetector
    random: Random | None
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    tops: list[list[tuple[int, float]]] = field(default_factory=list)
    counts: Counter[int] = field(default_factory=Counter)
    seen: torch.Tensor | None = None

    def text_mask(self, logits: torch.Tensor) -> torch.Tensor:
        """Which tokens of the vocabulary are in its prompt or its answer."""
        if self.seen is None:
            self.seen = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
            self.seen[list(self.task.job.prompt.ids)] = True
        return self.seen


class Generator:
    """Generates with one model; used from one thread.

    Args:
        loaded: The model.
        with_logprobs: Give each token with its log-probability, even where no alternatives are asked for.
        name: What answers say that was served.
        style: How the model thinks.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        with_logprobs: bool = False,
        name: str | None = None,
        style: ThinkingStyle = KNOWN_STYLE,
    ) -> None:
        self._loaded, self._name, self._style = loaded, name, style
        self._with_logprobs = with_logprobs
        self._detokenizer = Detokenizer(loaded.tokenizer)
        self._decoder = choose_decoder(loaded)
        self._network = Network(loaded)
        self._ends = _end_tokens(loaded)

    def run(self, jobs: Sequence[Job], more: More) -> Iterator[tuple[Job, Answer]]:
        """Each job with its answer, as soon as it is finished.

        Drops cancelled jobs.

        Args:
            jobs: All of the same settings.
            more: Asked again and again whether there is more to take in while the batch runs.

        Raises:
            Exception: The model failed, for lack of memory perhaps; what was not yielded is not done.
        """
        settings = jobs[0].settings
        assert settings is not None
        long: list[Job] = []
        with closing(_Batch(self, self._decoder, settings)) as batch:
            yield from batch.run(self._short(jobs, long), lambda running: self._short(more(running), long))
        if long:
            with closing(_Batch(self, OwnCacheDecoder(self._loaded, pads=False), settings)) as batch:
                yield from batch.run(long, lambda _: [])

    def _short(self, jobs: Iterable[Job], long: list[Job]) -> list[Job]:
        """Jobs that can be computed together; the others, neither to be padded nor joined, go to `long`."""
        short: list[Job] = []
        for job in jobs:
            (long if self._network.changes_with_length(job.width_tokens) else short).append(job)
        return short

    def forget_lengths(self) -> None:
        """Make the model compute the next texts as if it had seen none before."""
        self._network.forget_lengths()

    def forget(self) -> None:
        """Free the memory of what was kept to be reused."""
        self._decoder.clear(forget=True)

    def task(self, job: Job) -> _Task:
        """A job at its start."""
        max_tokens, limit = max(0, job.request.max_tokens), self._loaded.max_length_tokens
        if limit is not None:
            max_tokens = min(max_tokens, limit - len(job.prompt.ids))
        return _Task(job, max_tokens, time.perf_counter(), time.time())

    def rows(self, task: _Task, settings: Settings) -> list[_Row]:
        """The completions of a task, still empty."""
        request, ids = task.job.request, task.job.prompt.ids
        rows = []
        for index in range(task.job.num_rows):
            random = None if settings.is_greedy else private_random(request, index)
            watch = StopDetector(
                self._detokenizer, ids, request.stop_sequences, self._style, waits=request.expects_thinking
            )
            rows.append(_Row(task, index, watch, random))
        return rows

    def ended(self, row: _Row) -> FinishReason | None:
        """Why a row goes no further; None if it does."""
        if row.tokens[-1] in self._ends or row.watch.stops(row.tokens):
            return "stop"
        return "length" if len(row.tokens) >= row.task.max_tokens else None

    def finish(self, row: _Row, reason: FinishReason) -> None:
        """Spell a row, and give it to its task."""
        tokens = row.tokens
        if tokens and tokens[-1] in self._ends:
            tokens = tokens[:-1]
        ending = row.watch.ending(tokens)
        logprob = math.fsum(row.logprobs[place] for place in ending.places)
        spelt = None
        if self._with_logprobs or row.tops:
            spelt = self._tokens(row, tokens, ending)
        row.task.completions[row.index] = (ending.completion(reason, logprob, spelt), len(row.tokens))

    def _tokens(self, row: _Row, tokens: list[int], ending: Ending) -> tuple[Token, ...]:
        spelt = []
        for place, text in zip(ending.places, row.watch.token_texts(tokens, ending), strict=True):
            top: dict[str, float] | None = None
            if row.tops:
                top = {}
                for token, logprob in row.tops[place]:
                    top.setdefault(self._detokenizer.piece(token), logprob)
            spelt.append(Token(text, row.logprobs[place], top))
        return tuple(spelt)

    def response(self, task: _Task) -> Response:
        """The answer of a task whose rows have all finished."""
        done = [task.completions[index] for index in sorted(task.completions)]
        if len(done) < task.job.request.num_completions:
            done *= task.job.request.num_completions
        now_s = time.perf_counter()
        return Response(
            tuple(completion for completion, _ in done),
            Usage(len(task.job.prompt.ids), sum(num_tokens for _, num_tokens in done)),
            latency_s=now_s - task.started_s,
            served_model=self._name,
            efficiency=Efficiency(
                started_at=task.started_at,
                queue_s=task.started_s - task.job.queued_s,
                first_token_s=task.first_token_s or None,
                padded_tokens=task.padded_tokens + sum(max(0, n - 1) for _, n in task.completions.values()),
                reused_tokens=task.reused_tokens,
                batch_size=task.batch_size,
                peak_memory_bytes=peak_memory_bytes(self._loaded.device),
            ),
        )


class _Batch:
    """The rows that run together."""

    def __init__(self, generator: Generator, decoder: Decoder, settings: Settings) -> None:
        self._generator, self._decoder, self._settings = generator, decoder, settings
        self._rows: list[_Row] = []
        self._ids = torch.empty(0, dtype=torch.long)
        self._waiting: list[Job] = []

    def run(self, jobs: list[Job], more: More) -> Iterator[tuple[Job, Answer]]:
        """Until nothing is left and nothing more comes."""
        self._waiting = jobs
        while True:
            if self._decoder.joins or not self._rows:
                running = dict.fromkeys(row.task.job for row in self._rows)
                self._waiting += more([*running, *self._waiting])
            tasks = [self._generator.task(job) for job in self._admissible()]
            yield from self._answered(task for task in tasks if task.max_tokens == 0)
            tasks = [task for task in tasks if task.max_tokens > 0]
            # Not around a yield: this mode must not apply to what the caller does between two answers.
            with torch.inference_mode():
                if tasks:
                    changed = self._admit(tasks)
                elif self._rows:
                    changed = self._step()
                elif self._waiting:
                    continue
                else:
                    return
            yield from self._finished(changed)

    def close(self) -> None:
        """Give up what still runs."""
        self._rows = []
        self._decoder.clear()

    def _admissible(self) -> list[Job]:
        """Those of the waiting jobs that can begin now."""
        if self._rows and not self._decoder.joins:
            return []
        waiting = [job for job in self._waiting if not job.cancelled]
        begin = waiting
        if waiting and not self._decoder.pads:
            length = len(waiting[0].prompt.ids)
            begin = [job for job in waiting if len(job.prompt.ids) == length]
        chosen = set(begin)
        self._waiting = [job for job in waiting if job not in chosen]
        return begin

    def _admit(self, tasks: Sequence[_Task]) -> list[_Row]:
        """Compute prompts; the new rows, each with its first token."""
        rows = [row for task in tasks for row in self._generator.rows(task, self._settings)]
        more = max(task.max_tokens for task in tasks)
        if not self._rows:
            self._generator.forget_lengths()
        admitted = self._decoder.admit([row.task.job.prompt.ids for row in rows], more)
        rows = [rows[new.prompt_index] for new in admitted.rows]
        for row, new in zip(rows, admitted.rows, strict=True):
            row.task.padded_tokens += new.padded_tokens
            # Of further rows of the same prompt, everything is reused: that says nothing.
            if row.index == 0:
                row.task.reused_tokens = max(row.task.reused_tokens, new.reused_tokens)
        ids = self._pick(admitted.logits, rows)
        self._ids = torch.cat([self._ids, ids]) if self._rows else ids
        self._rows += rows
        size = len({row.task for row in self._rows})
        now_s = time.perf_counter()
        for row in self._rows:
            row.task.batch_size = max(row.task.batch_size, size)
        for task in tasks:
            task.first_token_s = now_s - task.started_s
        return rows

    def _step(self) -> list[_Row]:
        """One more token for every row."""
        self._ids = self._pick(self._decoder.step(self._ids), self._rows)
        return self._rows

    def _pick(self, logits: torch.Tensor, rows: Sequence[_Row]) -> torch.Tensor:
        """Give each row its next token."""
        uniforms = [0.0 if row.random is None else row.random.random() for row in rows]
        seen = None
        if self._settings.repetition_penalty != 1:
            seen = torch.stack([row.text_mask(logits) for row in rows])
        picked = pick(logits, self._settings, uniforms, [row.counts for row in rows], seen)
        penalised = bool(self._settings.presence_penalty or self._settings.frequency_penalty)
        for place, (row, token, logprob) in enumerate(zip(rows, picked.tokens, picked.logprobs, strict=True)):
            row.tokens.append(token)
            row.logprobs.append(logprob)
            if not math.isfinite(logprob):
                row.task.failure = not_finite((logprob,))
            if picked.tops is not None:
                row.tops.append(picked.tops[place])
            if penalised:
                row.counts[token] += 1
            if row.seen is not None:
                row.seen[token] = True
        return picked.ids

    def _finished(self, changed: Sequence[_Row]) -> Iterator[tuple[Job, Answer]]:
        """Take finished rows out of the batch, and give the answers that are complete."""
        gone: set[_Row] = set()
        tasks: list[_Task] = []
        for row in changed:
            reason = None if row.task.is_over else self._generator.ended(row)
            if reason is not None:
                self._generator.finish(row, reason)
                if len(row.task.completions) == row.task.job.num_rows:
                    tasks.append(row.task)
            if reason is not None or row.task.is_over:
                gone.add(row)
        failed = dict.fromkeys(row.task for row in gone if row.task.failure is not None)
        if gone:
            kept = [place for place, row in enumerate(self._rows) if row not in gone]
            with torch.inference_mode():
                order = self._decoder.keep(kept)
                self._rows = [self._rows[place] for place in order]
                if order:
                    self._ids = self._ids[order]
                if failed:
                    self._decoder.scrub()
        yield from ((task.job, task.failure) for task in failed if task.failure and not task.job.cancelled)
        yield from self._answered(tasks)

    def _answered(self, tasks: Iterable[_Task]) -> Iterator[tuple[Job, Answer]]:
        for task in tasks:
            if task.max_tokens == 0:
                task.completions = {0: (Completion("", "length", 0.0), 0)}
            yield task.job, self._generator.response(task)


def _end_tokens(loaded: LoadedModel) -> frozenset[int]:
    """Tokens that end a text, as the model or its tokenizer says."""
    stated = loaded.model.generation_config.eos_token_id
    ends = {stated} if isinstance(stated, int) else set(stated or ())
    if loaded.tokenizer.eos_token_id is not None:
        ends.add(loaded.tokenizer.eos_token_id)
    return frozenset(ends)
