"""The thread that owns a model. Nothing else touches it: what is asked comes in through a queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from evalkit.clients.transformers.batching import BatchLimit, JobQueue
from evalkit.clients.transformers.engine import Engine, Model, Stopped
from evalkit.clients.transformers.job import Job
from evalkit.errors import TransientError


class ReadyModel(Model, Protocol):
    """A loaded model that also tokenises."""

    def prepare(self, jobs: Sequence[Job]) -> list[Job]:
        """Tokenise prompts; those that can be computed. The others have failed."""


Loader = Callable[[Callable[[], bool]], tuple[ReadyModel, BatchLimit] | None]
"""Loads the model, and says how large batches may be. It asks now and then whether to go on; if not: None."""


class Worker:
    """Loads a model on its own thread, and works there until it is closed.

    Args:
        load: Loads the model.
        on_ready: Called from the thread once the model is loaded: with None, or with what went wrong.
        on_end: Called from the thread when it ends and the model is gone.
        clean_up: Gives memory back; called when nothing refers to the model any more.
    """

    def __init__(
        self,
        load: Loader,
        on_ready: Callable[[BaseException | None], None],
        on_end: Callable[[], None] = lambda: None,
        clean_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._load, self._on_ready, self._on_end, self._clean_up = load, on_ready, on_end, clean_up
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._closing, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="evalkit-transformers", daemon=True)

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Hand a job over; its `finish` is called once, from the thread, unless it is cancelled first."""
        self._inbox.put(job)
        if self._ended.is_set():
            self._refuse([])

    def close(self) -> None:
        """Tell the thread to end, which it does after the step it is in; returns at once."""
        self._closing.set()
        self._inbox.put(None)

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the thread to end; whether it has."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._live()
        finally:
            # Here nothing refers to the model any more.
            self._clean_up()
            self._ended.set()
            self._refuse([])
            self._on_end()

    def _live(self) -> None:
        try:
            loaded = self._load(lambda: not self._closing.is_set())
        except BaseException as error:  # noqa: BLE001 - passed to the caller that waits for the model
            self._on_ready(error.with_traceback(None))
            return
        if loaded is None or self._closing.is_set():
            return
        model, limit = loaded
        waiting = JobQueue()

        def arrivals(waiting: JobQueue) -> None:
            self._take_in(model, waiting, wait=False)

        engine = Engine(model, limit, arrivals)
        self._on_ready(None)
        try:
            while True:
                self._take_in(model, waiting, wait=not waiting)
                engine.work(waiting)
        except Stopped:
            pass
        finally:
            self._refuse([*engine.unfinished(), *waiting.drain()])

    def _refuse(self, jobs: list[Job]) -> None:
        """Refuse jobs that will get no answer, and those submitted later, so that no caller hangs."""
        with suppress(queue.Empty):
            while True:
                if (job := self._inbox.get_nowait()) is not None:
                    jobs.append(job)
        for job in jobs:
            if not job.cancelled:
                job.finish(TransientError("the model was closed before it answered", "closed"))

    def _take_in(self, model: ReadyModel, waiting: JobQueue, *, wait: bool) -> None:
        """Everything that has come in, tokenised in one call.

        Raises:
            Stopped: The worker is closed.
        """
        jobs: list[Job] = []
        while not self._closing.is_set():
            try:
                job = self._inbox.get(block=wait and not jobs)
            except queue.Empty:
                break
            if job is not None and not job.cancelled:
                jobs.append(job)
        if self._closing.is_set():
            self._refuse(jobs)
            raise Stopped
        if jobs:
            waiting.add(model.prepare(jobs))
