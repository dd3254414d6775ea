"""The model at work: takes groups of jobs, computes them, and sees that no failure costs more than it must.

Out of memory: the batch is halved and tried again. Any other failure: its jobs are tried one by one, so that
the one that is to blame fails and the others are answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol

from evalkit.clients.transformers.batching import BatchLimit, BatchSize, Group, JobQueue, is_out_of_memory
from evalkit.clients.transformers.job import Answer, Job
from evalkit.errors import BadRequestError

_MESSAGE_CHARACTERS = 500

More = Callable[[list[Job]], list[Job]]


class Model(Protocol):
    """What the engine has computed for it. Everything may raise for lack of memory, or for a bug."""

    def generate(self, jobs: Sequence[Job], more: More) -> Iterator[tuple[Job, Answer]]:
        """Each job with its answer, and those of `more`, as soon as it is finished."""

    def score_batches(self, jobs: Sequence[Job], limit: BatchLimit) -> list[list[Job]]:
        """Jobs in the order and in the batches in which they are best scored."""

    def score(self, batch: Sequence[Job]) -> Iterator[tuple[Job, Answer]]:
        """Each job with its answer."""

    def embed(self, batch: Sequence[Job]) -> Iterator[tuple[Job, Answer]]:
        """Each job with its answer."""

    def free_memory(self) -> None:
        """Give back what is not needed."""


class Engine:
    """Works off a queue of jobs; used from one thread.

    Args:
        model: Computes.
        limit: How large batches may be.
        arrivals: Called often while a batch runs: puts what has come in meanwhile into the queue. Raises
            `Stopped` when the client is closed.
    """

    def __init__(self, model: Model, limit: BatchLimit, arrivals: Callable[[JobQueue], None]) -> None:
        self._model, self._limit, self._arrivals = model, limit, arrivals
        self._unfinished: dict[Job, None] = {}
        self._together = 0

    def work(self, waiting: JobQueue) -> None:
        """One group's turn, or one job that must run alone; its jobs are answered, or back in the queue."""
        if (job := waiting.next_alone()) is not None:
            self._attempt(waiting, [job], self._nothing_more)
        elif (group := waiting.next_group()) is None:
            return
        elif group[0] == "generate":
            self._generate(waiting, group)
        else:
            self._batches(waiting, group)

    def unfinished(self) -> list[Job]:
        """Jobs that were being computed when the engine was stopped."""
        return list(self._unfinished)

    def _generate(self, waiting: JobQueue, group: Group) -> None:
        jobs = waiting.take(group, BatchSize(self._limit))

        def more(running: list[Job]) -> list[Job]:
            self._arrivals(waiting)
            size = BatchSize(self._limit)
            for job in running:
                size.add(job)
            # A prefill for a single row would hold up all others.
            if running and size.rows * 8 > self._limit.rows * 7:
                return []
            taken = waiting.take(group, size)
            self._unfinished.update(dict.fromkeys(taken))
            self._together += len(taken)
            return taken

        if jobs:
            self._attempt(waiting, jobs, more)

    def _batches(self, waiting: JobQueue, group: Group) -> None:
        """Everything of a group that waits now, in the model's own order."""
        jobs = waiting.take_all(group)
        if group[0] == "score":
            batches = self._score_batches(waiting, jobs)
        else:
            batches = _by_width(jobs, self._limit)
        left = deque(batches)
        try:
            while left:
                self._arrivals(waiting)
                wanted = [job for job in left.popleft() if not job.cancelled]
                if wanted and not self._attempt(waiting, wanted, self._nothing_more):
                    return
        finally:
            # With another limit the rest is packed anew.
            waiting.add(job for batch in left for job in batch)

    def _score_batches(self, waiting: JobQueue, jobs: list[Job]) -> list[list[Job]]:
        try:
            return self._model.score_batches(jobs, self._limit) if jobs else []
        except Exception as error:  # noqa: BLE001 - the model is tried out here
            self._together = len(jobs)
            self._failed(waiting, jobs, error.with_traceback(None))
            return []

    def _compute(self, jobs: Sequence[Job], more: More) -> Iterator[tuple[Job, Answer]]:
        match jobs[0].kind:
            case "generate":
                return self._model.generate(jobs, more)
            case "score":
                return self._model.score(jobs)
            case "embed":
                return self._model.embed(jobs)

    def _nothing_more(self, running: list[Job]) -> list[Job]:
        return []

    def _attempt(self, waiting: JobQueue, jobs: Sequence[Job], more: More) -> bool:
        """Deliver answers as they come; whether all came. The other jobs go back to the queue, or fail."""
        self._unfinished, self._together = dict.fromkeys(jobs), len(jobs)
        failure: Exception | None = None
        try:
            for job, answer in self._compute(jobs, more):
                del self._unfinished[job]
                job.finish(answer)
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a model or its code raises
            # Its frames hold tensors.
            failure = error.with_traceback(None)
        if failure is None:
            self._unfinished.clear()
            self._limit.grow()
            return True
        left = [job for job in self._unfinished if not job.cancelled]
        self._unfinished.clear()
        self._failed(waiting, left, failure)
        return False

    def _failed(self, waiting: JobQueue, left: Sequence[Job], failure: Exception) -> None:
        short_of_memory = is_out_of_memory(failure)
        said = f"{type(failure).__name__}: {failure}"[:_MESSAGE_CHARACTERS]
        failure.__context__ = failure.__cause__ = None
        # A device that has failed may refuse this too.
        with suppress(Exception):
            self._model.free_memory()
        if self._together == 1 and left:
            (job,) = left
            if short_of_memory:
                size = f"its {len(job.prompt.ids)} tokens do not fit into memory, even alone"
                job.finish(BadRequestError(f"{size}: {said}", "out_of_memory"))
            else:
                job.finish(BadRequestError(f"the model failed on this request: {said}", "engine_error"))
        elif short_of_memory and len(left) > 1:
            rows = sum(job.num_rows for job in left)
            self._limit.halve(rows * max((job.width_tokens for job in left), default=1), rows)
            waiting.add(left)
        else:
            waiting.add_alone(left)


class Stopped(Exception):
    """The client is closed."""


def _by_width(jobs: Sequence[Job], limit: BatchLimit) -> list[list[Job]]:
    """Batches of jobs of similar length, longest first."""
    batches: list[list[Job]] = []
    size = BatchSize(limit)
    for job in sorted(jobs, key=lambda job: -job.width_tokens):
        if not batches or not size.fits(job):
            batches.append([])
            size = BatchSize(limit)
        size.add(job)
        batches[-1].append(job)
    return batches
