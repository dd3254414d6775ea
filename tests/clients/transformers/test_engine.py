from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from evalkit.clients.local.prompting import Prompt
from evalkit.clients.transformers.batching import BatchLimit, JobQueue
from evalkit.clients.transformers.engine import Engine, Stopped
from evalkit.clients.transformers.job import Job
from evalkit.errors import BadRequestError
from evalkit.request import Request
from evalkit.response import Completion, Response

Answers = dict[int, Response | Exception]
GREEDY = Request("p", temperature=0.0, max_tokens=10)


@dataclass
class Machine:
    """Answers with the prompt's length, unless memory is short or the prompt is poison."""

    max_tokens: int = 10**9
    poison: frozenset[int] = frozenset()
    batches: list[list[int]] = field(default_factory=list)
    freed: int = 0

    def generate(
        self, jobs: Sequence[Job], more: Callable[[list[Job]], list[Job]]
    ) -> Iterator[tuple[Job, Response]]:
        running = list(jobs)
        while True:
            running += more(running)
            if not running:
                return
            self._compute(running)
            # One is finished after each step.
            yield self._answered(running.pop(0))

    def score_batches(self, jobs: Sequence[Job], limit: BatchLimit) -> list[list[Job]]:
        return [list(jobs[at : at + limit.rows]) for at in range(0, len(jobs), limit.rows)]

    def score(self, batch: Sequence[Job]) -> Iterator[tuple[Job, Response]]:
        for at, job in enumerate(batch):
            self._compute(batch[at:])
            yield self._answered(job)

    def embed(self, batch: Sequence[Job]) -> Iterator[tuple[Job, Response]]:
        self._compute(batch)
        yield from map(self._answered, batch)

    def free_memory(self) -> None:
        self.freed += 1

    def _compute(self, jobs: Sequence[Job]) -> None:
        lengths = [len(job.prompt.ids) for job in jobs]
        self.batches.append(lengths)
        if sum(lengths) > self.max_tokens:
            raise RuntimeError("CUDA out of memory. Tried to allocate 1.00 GiB")
        if poison := self.poison.intersection(lengths):
            raise IndexError(f"index {poison} is out of range")

    @staticmethod
    def _answered(job: Job) -> tuple[Job, Response]:
        return job, Response((Completion(str(len(job.prompt.ids))),))


def work_off(machine: Machine, lengths: Sequence[int], limit: BatchLimit, request: Request) -> Answers:
    """Every answer, which has to be the only one to its request."""
    answers: Answers = {}
    waiting = JobQueue()
    for number, length in enumerate(lengths):

        def finish(answer: Response | Exception, number: int = number) -> None:
            assert number not in answers
            answers[number] = answer

        waiting.add([Job(request, Prompt((1,) * length, ("",) * length), finish, 0.0)])
    engine = Engine(machine, limit, lambda _: None)
    for _ in range(1000):
        if not waiting:
            break
        engine.work(waiting)
    assert sorted(answers) == list(range(len(lengths)))
    return answers


@pytest.fixture(params=["generate", "score", "embed"])
def request_of_kind(request: pytest.FixtureRequest) -> Request:
    kinds = {
        "generate": GREEDY,
        "score": replace(GREEDY, echo_prompt=True, max_tokens=0),
        "embed": replace(GREEDY, embedding=True, max_tokens=0),
    }
    return kinds[request.param]


def texts(answers: Answers) -> dict[int, str]:
    return {n: a.completions[0].text for n, a in answers.items() if isinstance(a, Response)}


def test_everything_is_answered(request_of_kind: Request) -> None:
    machine, lengths = Machine(), [5, 30, 7, 7, 12] * 9
    answers = work_off(machine, lengths, BatchLimit(400, 8), request_of_kind)
    assert texts(answers) == {number: str(length) for number, length in enumerate(lengths)}
    assert max(map(len, machine.batches)) > 1


def test_out_of_memory_halves_the_batch_and_loses_nothing(request_of_kind: Request) -> None:
    machine, lengths = Machine(max_tokens=100), list(range(5, 45))
    limit = BatchLimit(10**6, 64)
    answers = work_off(machine, lengths, limit, request_of_kind)
    assert texts(answers) == {number: str(length) for number, length in enumerate(lengths)}
    assert machine.freed >= 1
    assert limit.rows < 64


def test_what_does_not_fit_even_alone_fails_and_the_rest_goes_on(request_of_kind: Request) -> None:
    machine, lengths = Machine(max_tokens=100), [20, 500, 30, 40]
    answers = work_off(machine, lengths, BatchLimit(10**6, 64), request_of_kind)
    assert texts(answers) == {0: "20", 2: "30", 3: "40"}
    refused = answers[1]
    assert isinstance(refused, BadRequestError)
    assert refused.reason == "out_of_memory"
    assert "500 tokens" in str(refused)


def test_the_guilty_one_fails_and_the_others_are_answered(request_of_kind: Request) -> None:
    machine, lengths = Machine(poison=frozenset({13})), [20, 13, 30, 40, 13]
    answers = work_off(machine, lengths, BatchLimit(10**6, 64), request_of_kind)
    assert texts(answers) == {0: "20", 2: "30", 3: "40"}
    for number in (1, 4):
        refused = answers[number]
        assert isinstance(refused, BadRequestError)
        assert refused.reason == "engine_error"
        assert "IndexError" in str(refused)


def test_what_comes_in_joins_the_running_batch() -> None:
    machine, lengths = Machine(), [8, 9, 10]
    answered: list[Response | Exception] = []

    def arrive(waiting: JobQueue) -> None:
        if lengths:
            length = lengths.pop()
            waiting.add([Job(GREEDY, Prompt((1,) * length, ("",) * length), answered.append, 0.0)])

    waiting = JobQueue()
    arrive(waiting)
    engine = Engine(machine, BatchLimit(10**6, 64), arrive)
    engine.work(waiting)
    assert len(answered) == 3
    # Each step finishes one and takes in one more.
    assert machine.batches == [[10, 9], [9, 8], [8]]


def test_a_batch_that_is_nearly_full_takes_nothing_in() -> None:
    machine = Machine()
    work_off(machine, [5] * 40, BatchLimit(10**6, 16), GREEDY)
    # It waits until an eighth of the rows are free.
    assert [len(batch) for batch in machine.batches[:6]] == [16, 15] * 3


def test_what_is_cancelled_is_not_computed(request_of_kind: Request) -> None:
    machine = Machine()
    answers: list[Response | Exception] = []
    jobs = [Job(request_of_kind, Prompt((1,) * n, ("",) * n), answers.append, 0.0) for n in (5, 6, 7)]
    waiting = JobQueue()
    waiting.add(jobs)
    jobs[1].cancelled = True
    engine = Engine(machine, BatchLimit(10**6, 64), lambda _: None)
    while waiting:
        engine.work(waiting)
    assert len(answers) == 2
    assert not any(6 in batch for batch in machine.batches)


def test_stopping_leaves_the_rest_unfinished(request_of_kind: Request) -> None:
    machine = Machine()
    answers: list[Response | Exception] = []
    steps = iter(range(3))

    def arrive(_: JobQueue) -> None:
        if next(steps, None) is None:
            raise Stopped

    waiting = JobQueue()
    waiting.add(Job(request_of_kind, Prompt((1,) * n, ("",) * n), answers.append, 0.0) for n in range(1, 31))
    engine = Engine(machine, BatchLimit(10**6, 4), arrive)
    with pytest.raises(Stopped):
        engine.work(waiting)
    assert 3 <= len(answers) <= 12
    assert len(answers) + len(engine.unfinished()) + len(waiting.drain()) == 30


def test_a_scorer_that_can_not_even_pack_fails_its_jobs_one_by_one() -> None:
    class Broken(Machine):
        def score_batches(self, jobs: Sequence[Job], limit: BatchLimit) -> list[list[Job]]:
            raise ValueError("no batches")

    scored = replace(GREEDY, echo_prompt=True, max_tokens=0)
    assert texts(work_off(Broken(), [5, 6], BatchLimit(100, 4), scored)) == {0: "5", 1: "6"}
    assert isinstance(work_off(Broken(), [5], BatchLimit(100, 4), scored)[0], BadRequestError)
