from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from evalkit.clients.local.prompting import Prompt
from evalkit.clients.transformers.batching import BatchLimit
from evalkit.clients.transformers.job import NO_PROMPT, Job
from evalkit.clients.transformers.worker import Worker
from evalkit.errors import TransientError
from evalkit.request import Request
from evalkit.response import Completion, Response

Answers = queue.SimpleQueue[Response | Exception]
WITHIN_S = 300.0


class Echo:
    """Answers with the prompt, and notes how many prompts were tokenised at once."""

    def __init__(self) -> None:
        self.prepared: list[int] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def prepare(self, jobs: Sequence[Job]) -> list[Job]:
        self.prepared.append(len(jobs))
        for job in jobs:
            job.prompt = Prompt((1,) * len(job.request.prompt), ("",) * len(job.request.prompt))
        return list(jobs)

    def generate(
        self, jobs: Sequence[Job], more: Callable[[list[Job]], list[Job]]
    ) -> Iterator[tuple[Job, Response]]:
        for job in jobs:
            self.go_on.wait()
            yield job, Response((Completion(job.request.prompt),))

    def score_batches(self, jobs: Sequence[Job], limit: BatchLimit) -> list[list[Job]]:
        return [list(jobs)]

    def score(self, batch: Sequence[Job]) -> Iterator[tuple[Job, Response]]:
        raise NotImplementedError

    def embed(self, batch: Sequence[Job]) -> Iterator[tuple[Job, Response]]:
        raise NotImplementedError

    def free_memory(self) -> None:
        raise RuntimeError("the device is gone")


def job_for(answers: Answers, prompt: str = "abc") -> Job:
    return Job(Request(prompt), NO_PROMPT, answers.put, 0.0)


def started(model: Echo, ready: Callable[[BaseException | None], None] = lambda _: None) -> Worker:
    worker = Worker(lambda _: (model, BatchLimit(1000, 8)), ready)
    worker.start()
    return worker


def test_answers_come_while_more_is_asked() -> None:
    worker, answers = started(Echo()), Answers()
    for number in range(40):
        worker.submit(job_for(answers, "x" * (number + 1)))
    got = [answers.get(timeout=WITHIN_S) for _ in range(40)]
    assert all(isinstance(answer, Response) for answer in got)
    worker.close()
    assert worker.join(WITHIN_S)


def test_what_waits_is_tokenised_in_one_call() -> None:
    model, answers = Echo(), Answers()
    loading = threading.Event()

    def load(_: Callable[[], bool]) -> tuple[Echo, BatchLimit]:
        loading.wait()
        return model, BatchLimit(1000, 8)

    worker = Worker(load, lambda _: None)
    worker.start()
    for _ in range(30):
        worker.submit(job_for(answers))
    loading.set()
    for _ in range(30):
        answers.get(timeout=WITHIN_S)
    worker.close()
    assert model.prepared == [30]


def test_whoever_asks_too_late_is_told() -> None:
    worker, answers = started(Echo()), Answers()
    worker.close()
    assert worker.join(WITHIN_S)
    worker.submit(job_for(answers))
    assert isinstance(answers.get(timeout=WITHIN_S), TransientError)


def test_closing_tells_those_that_still_wait() -> None:
    model, answers = Echo(), Answers()
    model.go_on.clear()
    worker = started(model)
    for _ in range(5):
        worker.submit(job_for(answers))
    worker.close()
    model.go_on.set()
    assert worker.join(WITHIN_S)
    got = [answers.get(timeout=WITHIN_S) for _ in range(5)]
    assert all(isinstance(answer, Response | TransientError) for answer in got)
    assert answers.empty()


def test_a_model_that_can_not_be_loaded_is_reported() -> None:
    told: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    ended = threading.Event()

    def load(_: Callable[[], bool]) -> None:
        raise OSError("no such file")

    worker = Worker(load, told.put, ended.set)
    worker.start()
    assert isinstance(told.get(timeout=WITHIN_S), OSError)
    assert ended.wait(WITHIN_S)
    assert worker.join(WITHIN_S)


def test_a_failing_model_on_a_dead_device_still_answers_everyone() -> None:
    class Broken(Echo):
        def generate(
            self, jobs: Sequence[Job], more: Callable[[list[Job]], list[Job]]
        ) -> Iterator[tuple[Job, Response]]:
            raise RuntimeError("device-side assert")

    worker, answers = started(Broken()), Answers()
    for _ in range(4):
        worker.submit(job_for(answers))
    got = [answers.get(timeout=WITHIN_S) for _ in range(4)]
    assert all("device-side assert" in str(answer) for answer in got)
    worker.close()
    assert worker.join(WITHIN_S)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_the_engine_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.clients.transformers.engine import Engine

    def work(*_: object) -> None:
        raise AssertionError("a bug")

    monkeypatch.setattr(Engine, "work", work)
    worker, answers = started(Echo()), Answers()
    worker.submit(job_for(answers))
    assert isinstance(answers.get(timeout=WITHIN_S), TransientError)
    assert worker.join(WITHIN_S)
