from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from evalkit.clients.local.prompting import Prompt
from evalkit.clients.transformers.batching import BatchLimit, BatchSize, JobQueue, group_of, is_out_of_memory
from evalkit.clients.transformers.job import Job
from evalkit.request import Request
from evalkit.response import Response

GREEDY = Request("p", temperature=0.0, max_tokens=10)


def job(length: int = 5, request: Request = GREEDY) -> Job:
    def finish(_: Response | Exception) -> None: ...

    return Job(request, Prompt((1,) * length, ("",) * length), finish, 0.0)


def test_other_settings_are_another_group() -> None:
    drawn = replace(GREEDY, temperature=0.7)
    groups = {
        group_of(job(request=request))
        for request in (
            GREEDY,
            drawn,
            replace(drawn, temperature=0.8),
            replace(drawn, top_p=0.9),
            replace(drawn, presence_penalty=0.1),
            replace(drawn, frequency_penalty=0.1),
            replace(drawn, top_k_per_token=5),
            replace(GREEDY, echo_prompt=True, max_tokens=0),
            replace(GREEDY, embedding=True),
        )
    }
    assert len(groups) == 9


def test_what_is_each_row_s_own_does_not_divide() -> None:
    same = [
        replace(GREEDY, max_tokens=3),
        replace(GREEDY, stop_sequences=("x",)),
        replace(GREEDY, random="7"),
    ]
    assert {group_of(job(request=request)) for request in same} == {group_of(job())}
    # Nothing is drawn from what top_p leaves.
    assert group_of(job(request=replace(GREEDY, top_p=0.5))) == group_of(job())


def test_the_longest_go_first_within_the_budget() -> None:
    waiting, limit = JobQueue(), BatchLimit(max_tokens=100, max_rows=8)
    jobs = [job(length) for length in (5, 30, 10, 40, 20)]
    waiting.add(jobs)
    group = waiting.next_group()
    assert group is not None
    size = BatchSize(limit)
    first = waiting.take(group, size)
    # 40 + 10 and 30 + 10: two rows of 50.
    assert [len(j.prompt.ids) for j in first] == [40, 30]
    assert [len(j.prompt.ids) for j in waiting.take(group, BatchSize(limit))] == [20, 10, 5]
    assert not waiting


def test_a_job_that_comes_when_longer_ones_are_gone_waits_for_the_next_sweep() -> None:
    waiting = JobQueue()
    waiting.add([job(length) for length in (30, 20, 10)])
    group = waiting.next_group()
    assert group is not None
    assert [len(j.prompt.ids) for j in waiting.take(group, BatchSize(BatchLimit(1000, 1)))] == [30]
    waiting.add([job(40), job(15), job(50)])
    batches = [waiting.take(group, BatchSize(BatchLimit(1000, 2))) for _ in range(3)]
    assert [[len(j.prompt.ids) for j in batch] for batch in batches] == [[20, 15], [10, 50], [40]]
    assert not waiting


def test_long_jobs_do_not_wait_for_ever_for_short_ones_that_keep_coming() -> None:
    waiting = JobQueue()
    waiting.add([job(5), job(4), job(4)])
    group = waiting.next_group()
    assert group is not None
    one_row = BatchLimit(1000, 1)
    waiting.take(group, BatchSize(one_row))
    long = job(50)
    taken: list[Job] = []
    waiting.add([long])
    while long not in taken and len(taken) < 3000:
        taken += waiting.take(group, BatchSize(one_row))
        waiting.add([job(4)])
    assert 100 < len(taken) < 1500


def test_a_job_that_is_too_large_for_the_budget_goes_alone() -> None:
    waiting = JobQueue()
    waiting.add([job(500), job(5)])
    group = waiting.next_group()
    assert group is not None
    size = BatchSize(BatchLimit(100, 8))
    assert [len(j.prompt.ids) for j in waiting.take(group, size)] == [500]
    assert waiting.take(group, size) == []


def test_completions_that_differ_are_rows() -> None:
    several = replace(GREEDY, num_completions=4)
    assert job(request=several).num_rows == 1
    assert job(request=replace(several, temperature=1.0)).num_rows == 4
    size = BatchSize(BatchLimit(1000, 6))
    size.add(job(request=replace(several, temperature=1.0)))
    assert not size.fits(job(request=replace(several, temperature=1.0)))
    assert size.fits(job(request=replace(several, temperature=1.0, num_completions=2)))


def test_groups_take_turns() -> None:
    waiting = JobQueue()
    hot = replace(GREEDY, temperature=1.0)
    waiting.add([job(), job(request=hot), job()])
    turns = [waiting.next_group() for _ in range(4)]
    assert turns == [group_of(job()), group_of(job(request=hot))] * 2


def test_a_group_that_is_fed_without_end_lets_others_go() -> None:
    waiting = JobQueue()
    hot = replace(GREEDY, temperature=1.0)
    waiting.add([job() for _ in range(3000)])
    group = waiting.next_group()
    assert group is not None
    taken = len(waiting.take(group, BatchSize(BatchLimit(10**9, 2500))))
    waiting.add([job(request=hot)])
    assert taken == 2500
    assert waiting.take(group, BatchSize(BatchLimit(10**9, 2500))) == []
    assert waiting.next_group() == group_of(job(request=hot))


def test_cancelled_jobs_are_dropped() -> None:
    waiting = JobQueue()
    jobs = [job(9), job(8), job(7)]
    waiting.add(jobs)
    jobs[0].cancelled = True
    group = waiting.next_group()
    assert group is not None
    assert waiting.take(group, BatchSize(BatchLimit(1000, 10))) == jobs[1:]
    assert not waiting


def test_jobs_that_must_run_alone_come_first() -> None:
    waiting = JobQueue()
    one, other = job(), job()
    waiting.add_alone([one, other])
    one.cancelled = True
    assert waiting.next_alone() is other
    assert waiting.next_alone() is None


def test_a_budget_is_halved_and_grows_back() -> None:
    limit = BatchLimit(1000, 64)
    limit.halve(tokens=600, rows=20)
    assert (limit.tokens, limit.rows) == (300, 10)
    for _ in range(8):
        limit.grow()
    assert limit.tokens < 1000
    for _ in range(50):
        limit.grow()
    assert (limit.tokens, limit.rows) == (1000, 64)
    for _ in range(20):
        limit.halve(10**9, 10**9)
    assert (limit.tokens, limit.rows) == (1, 1)


def test_what_is_out_of_memory() -> None:
    class OutOfMemoryError(RuntimeError): ...

    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(OutOfMemoryError("CUDA"))
    assert is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 3)), min_size=1, max_size=60),
    st.integers(20, 400),
    st.integers(1, 12),
)
def test_every_job_is_taken_once_and_no_batch_is_too_large(
    sizes: list[tuple[int, int]], tokens: int, rows: int
) -> None:
    waiting, random = JobQueue(), Random(0)
    hot = replace(GREEDY, temperature=1.0)
    jobs = [job(length, replace(hot, num_completions=number)) for length, number in sizes]
    random.shuffle(jobs)
    waiting.add(jobs)
    seen: list[Job] = []
    while (group := waiting.next_group()) is not None:
        batch = waiting.take(group, BatchSize(BatchLimit(tokens, rows)))
        assert batch
        size = sum(j.num_rows for j in batch)
        assert len(batch) == 1 or (size <= rows and size * max(j.width_tokens for j in batch) <= tokens)
        seen += batch
    assert len(seen) == len(jobs)
    assert set(seen) == set(jobs)
    assert [j.width_tokens for j in seen] == sorted((j.width_tokens for j in jobs), reverse=True)
