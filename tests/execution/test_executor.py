from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit.clients.allowance import Allowance
from evalkit.clients.client import Client
from evalkit.errors import (
    AuthenticationError,
    BadRequestError,
    CutThinkingError,
    DataError,
    OverloadError,
    SystemicError,
    TransientError,
    UsageError,
)
from evalkit.execution.answer_source import Found, content_key
from evalkit.execution.budget import Budget
from evalkit.execution.cache import ResponseCache
from evalkit.execution.executor import Executor
from evalkit.execution.sender import Sender
from evalkit.models.deployment import Limits, Prices
from evalkit.request import Request, RequestState
from evalkit.response import Completion, Failure, Origin, Outcome, Response, Usage

Run = Callable[[Coroutine[Any, Any, Any]], Any]
MakeStates = Callable[..., list[RequestState]]
Behaviour = Callable[[str, int], float | Exception]


class Scripted(Client):
    """Answers with the prompt after as many seconds as the script says, or raises what it says.

    The script is given the prompt and how often it has been sent, this time included.
    """

    def __init__(self, script: Behaviour = lambda prompt, attempt: 1.0, usage: Usage | None = None) -> None:
        self.sent: Counter[str] = Counter()
        self.send_times: list[float] = []
        self.in_flight = self.peak = 0
        self._script = script
        self._usage = usage or Usage(3, 2)

    async def send(self, request: Request) -> Response:
        self.sent[request.prompt] += 1
        self.send_times.append(asyncio.get_running_loop().time())
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            what = self._script(request.prompt, self.sent[request.prompt])
            if isinstance(what, Exception):
                await asyncio.sleep(0.01)
                raise what
            await asyncio.sleep(what)
        finally:
            self.in_flight -= 1
        return Response((Completion(request.prompt),), self._usage)


def _executor(client: Client, **options: Any) -> Executor:
    options.setdefault("limits", Limits())
    cache, digest = options.pop("cache", None), options.pop("identity_digest", "")
    sources = options.pop("sources", [] if cache is None else [cache])
    sender = Sender(client, name="acme/text", rng=random.Random(0), **options)
    return Executor(sender, sources=sources, cache=cache, identity_digest=digest)


async def _collect(
    executor: Executor, source: Iterable[RequestState], into: list[tuple[str, Outcome]] | None = None
) -> Any:
    outcomes: list[tuple[str, Outcome]] = [] if into is None else into
    async for state, outcome in executor.stream(source):
        outcomes.append((state.key, outcome))
    return outcomes


def _now() -> float:
    return asyncio.get_running_loop().time()


def test_every_request_is_answered_once_as_soon_as_it_is_finished(run: Run, make_states: MakeStates) -> None:
    states = make_states(50)
    client = Scripted(lambda prompt, _: 60.0 - int(prompt[1:]))
    limits = Limits(initial_concurrency=50)

    outcomes = run(_collect(_executor(client, limits=limits), states))

    assert [key for key, _ in outcomes] == [f"q{n}" for n in reversed(range(50))]
    for key, outcome in outcomes:
        assert outcome == Response((Completion(key),), Usage(3, 2))


def test_what_finishes_at_the_same_time_is_one_batch(run: Run, make_states: MakeStates) -> None:
    client = Scripted(lambda prompt, _: 1.0 if int(prompt[1:]) < 20 else 2.0)
    executor = _executor(client, limits=Limits(initial_concurrency=50))

    async def sizes() -> list[int]:
        return [len(batch) async for batch in executor.open_stream(make_states(50)).batches()]

    assert run(sizes()) == [20, 30]


def test_concurrency_stays_within_the_limit_and_grows(run: Run, make_states: MakeStates) -> None:
    client = Scripted()
    executor = _executor(client, limits=Limits(initial_concurrency=4, max_concurrency=32))
    outcomes = run(_collect(executor, make_states(200)))
    assert len(outcomes) == 200
    assert client.peak == executor.sender.stats.limit == 32
    assert client.send_times.count(0.0) == 4


def test_requests_are_pulled_lazily(run: Run, make_states: MakeStates) -> None:
    pulled = 0

    def source() -> Iterator[RequestState]:
        nonlocal pulled
        for state in make_states(1000):
            pulled += 1
            yield state

    async def main() -> None:
        executor = _executor(Scripted(), limits=Limits(initial_concurrency=4, max_concurrency=4))
        num_yielded = 0
        async for _ in executor.stream(source()):
            num_yielded += 1
            assert pulled - num_yielded <= 2 * 4 + 16
            assert executor.sender.stats.in_flight <= 4
        assert num_yielded == 1000

    run(main())


def test_requests_in_back_off_count_as_outstanding(run: Run, make_states: MakeStates) -> None:
    limits = Limits(initial_concurrency=4, max_concurrency=4, max_attempts=2, backoff_s=60)
    client = Scripted(lambda prompt, _: TransientError("500") if int(prompt[1:]) % 2 else 1.0)

    async def main() -> None:
        executor = _executor(client, limits=limits)
        async with contextlib.aclosing(executor.stream(make_states(200))) as stream:
            async for _ in stream:
                assert executor.outstanding <= 24

    run(main())


def test_transient_errors_are_retried_and_counted(run: Run, make_states: MakeStates) -> None:
    client = Scripted(lambda _, attempt: TransientError("500") if attempt < 3 else 1.0)
    executor = _executor(client)
    ((_, outcome),) = run(_collect(executor, make_states(1)))
    assert outcome == Response((Completion("q0"),), Usage(3, 2), attempts=3)
    assert (executor.sender.stats.sent, executor.sender.stats.retries, executor.sender.stats.in_flight) == (
        3,
        2,
        0,
    )


class _StrayCancel(Client):
    async def send(self, request: Request) -> Response:
        raise asyncio.CancelledError


class _Nothing(Client):
    async def send(self, request: Request) -> Response:
        return None  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (
            Scripted(lambda *_: TransientError("HTTP 500")),
            Failure("server_error", "HTTP 500", 3),
        ),
        (
            Scripted(lambda *_: TransientError("cut off", "malformed")),
            Failure("malformed", "cut off", 3),
        ),
        (Scripted(lambda *_: 1e9), Failure("timeout", "no answer within 300 s", 3)),
        (
            Scripted(lambda *_: TimeoutError("read timed out")),
            Failure("timeout", "read timed out", 3),
        ),
        (
            Scripted(lambda *_: BadRequestError("prompt too long")),
            Failure("bad_request", "prompt too long", 1),
        ),
        (
            Scripted(lambda *_: KeyError("choices")),
            Failure("client_error", "KeyError: 'choices'", 1),
        ),
        (
            _StrayCancel(),
            Failure("client_error", "RuntimeError: the client was cancelled from within", 1),
        ),
        (
            _Nothing(),
            Failure("client_error", "TypeError: the client returned NoneType, not a Response", 1),
        ),
    ],
)
def test_each_fault_ends_in_a_failure_with_its_reason(
    run: Run, make_states: MakeStates, client: Client, expected: Failure
) -> None:
    outcomes = run(_collect(_executor(client, limits=Limits(max_attempts=3)), make_states(1)))
    assert outcomes == [("q0", expected)]


def test_a_long_error_text_is_cut(run: Run, make_states: MakeStates) -> None:
    client = Scripted(lambda *_: BadRequestError("x" * 100_000))
    ((_, outcome),) = run(_collect(_executor(client), make_states(1)))
    assert len(outcome.message) == 2000


_FAULTS: list[float | Exception] = [
    0.0,
    1.0,
    7.0,
    TransientError("500"),
    TransientError("reset", "connection"),
    OverloadError("429"),
    OverloadError("429", 3.0),
    BadRequestError("400"),
    ValueError("bug"),
]


@given(seed=st.integers(0, 2**32), count=st.integers(0, 60), faults=st.sets(st.sampled_from(range(3, 9))))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_request_has_exactly_one_outcome_whatever_happens(
    run: Run, make_states: MakeStates, seed: int, count: int, faults: set[int]
) -> None:
    rng = random.Random(seed)
    client = Scripted(lambda *_: rng.choice(_FAULTS[:3] + [_FAULTS[n] for n in sorted(faults)]))
    executor = _executor(client, limits=Limits(max_concurrency=8, initial_concurrency=4, max_attempts=3))

    async def main() -> list[Any]:
        streams = (_collect(executor, make_states(count, prefix)) for prefix in "ab")
        return await asyncio.gather(*streams)

    for prefix, outcomes in zip("ab", run(main()), strict=True):
        assert sorted(key for key, _ in outcomes) == sorted(s.key for s in make_states(count, prefix))
    assert client.peak <= 8
    assert executor.sender.stats.in_flight == executor.outstanding == 0


def test_a_server_that_takes_two_at_a_time_is_not_overrun(run: Run, make_states: MakeStates) -> None:
    class TwoAtATime(Scripted):
        async def send(self, request: Request) -> Response:
            if self.in_flight >= 2:
                self.sent["refused"] += 1
                raise OverloadError("429")
            return await super().send(request)

    client = TwoAtATime()
    outcomes = run(_collect(_executor(client), make_states(300)))
    assert len(outcomes) == 300
    assert all(isinstance(outcome, Response) for _, outcome in outcomes)
    assert client.sent["refused"] < 300


def test_a_short_outage_costs_no_request(run: Run, make_states: MakeStates) -> None:
    def script(*_: object) -> float | Exception:
        return TransientError("refused", "connection") if 5 <= _now() < 50 else 1.0

    outcomes = run(_collect(_executor(Scripted(script)), make_states(2000)))
    assert Counter(type(outcome) for _, outcome in outcomes) == {Response: 2000}


def test_a_dead_server_stops_everything_after_what_finished_was_yielded(
    run: Run, make_states: MakeStates
) -> None:
    def script(prompt: str, _: int) -> float | Exception:
        return 20.0 if prompt in ("q0", "q1") else TransientError("refused", "connection")

    outcomes: list[tuple[str, Outcome]] = []
    client = Scripted(script)
    executor = _executor(client)
    with pytest.raises(
        SystemicError, match=r"acme/text is stopped: its first 10 attempts all failed.*refused"
    ):
        run(_collect(executor, make_states(1000), outcomes))
    assert sorted(key for key, _ in outcomes) == ["q0", "q1"]
    assert executor.sender.stopped
    assert sum(client.sent.values()) < 40
    assert executor.outstanding == 0


def test_a_refused_key_stops_at_once(run: Run, make_states: MakeStates) -> None:
    def script(prompt: str, _: int) -> float | Exception:
        if prompt == "q0":
            return 0.0
        return AuthenticationError("no credit left", "quota") if prompt == "q3" else 50.0

    outcomes: list[tuple[str, Outcome]] = []

    async def main() -> None:
        with pytest.raises(SystemicError, match=r"acme/text is stopped \(quota\): no credit left"):
            await _collect(_executor(Scripted(script)), make_states(100), outcomes)
        assert _now() < 1

    run(main())
    assert [key for key, _ in outcomes] == ["q0"]


def test_all_streams_learn_of_a_systemic_error_but_a_finished_one_ends_well(
    run: Run, make_states: MakeStates
) -> None:
    def script(prompt: str, _: int) -> float | Exception:
        return 1.0 if prompt.startswith("a") else AuthenticationError("401")

    async def main() -> list[Any]:
        executor = _executor(Scripted(script))
        streams = [_collect(executor, make_states(3, prefix)) for prefix in "abc"]
        first = await streams[0]
        return [first, *await asyncio.gather(*streams[1:], return_exceptions=True)]

    first, second, third = run(main())
    assert len(first) == 3
    assert isinstance(second, SystemicError)
    assert isinstance(third, SystemicError)


def test_streams_take_turns_and_prepare_when_it_is_theirs(run: Run, make_states: MakeStates) -> None:
    opened: list[tuple[str, int]] = []
    client = Scripted()
    executor = _executor(client, limits=Limits(initial_concurrency=4, max_concurrency=4))

    async def work(prefix: str) -> None:
        async with executor.feed_lock() as turn:
            await asyncio.sleep(0.5)
            opened.append((prefix, client.sent.total()))
            async for _ in executor.stream(make_states(100, prefix), turn):
                pass

    async def main() -> None:
        await asyncio.gather(*(work(prefix) for prefix in "abc"))

    run(main())
    assert [prefix for prefix, _ in opened] == ["a", "b", "c"]
    # The next source is opened while the last of the one before are still out: slots never run dry ...
    assert 76 <= opened[1][1] < 100
    # ... and requests go out stream by stream.
    assert [prompt[0] for prompt in client.sent] == ["a"] * 100 + ["b"] * 100 + ["c"] * 100
    assert _now_of(client) == pytest.approx(0.5 + 300 / 4 - 1, abs=1.5)


def _now_of(client: Scripted) -> float:
    return client.send_times[-1]


def test_a_source_that_fails_raises_after_what_was_pulled_before(run: Run, make_states: MakeStates) -> None:
    def broken() -> Iterator[RequestState]:
        yield from make_states(3)
        raise DataError("line 4 is no JSON")

    async def main() -> None:
        executor = _executor(Scripted())
        outcomes: list[tuple[str, Outcome]] = []
        with pytest.raises(DataError, match="line 4"):
            await _collect(executor, broken(), outcomes)
        assert len(outcomes) == 3
        assert len(await _collect(executor, make_states(2))) == 2

    run(main())


def test_stop_lets_those_in_flight_finish_and_leaves_the_rest_owed(run: Run, make_states: MakeStates) -> None:
    client = Scripted(lambda prompt, _: 5.0 if int(prompt[1:]) < 10 else 50.0)
    executor = _executor(client, limits=Limits(initial_concurrency=16))

    async def main() -> list[Any]:
        asyncio.get_running_loop().call_later(1, executor.sender.stop, 10.0)
        streams = [_collect(executor, make_states(100)), _collect(executor, make_states(100, "b"))]
        both = await asyncio.gather(*streams)
        assert _now() == pytest.approx(11)
        return both

    first, second = run(main())
    assert sorted(key for key, _ in first) == [f"q{n}" for n in range(10)]
    assert second == []
    assert executor.sender.stopped
    assert client.sent.total() == 16
    assert executor.outstanding == executor.sender.stats.in_flight == 0


def test_a_second_stop_shortens_the_grace(run: Run, make_states: MakeStates) -> None:
    executor = _executor(Scripted(lambda *_: 100.0))

    async def main() -> None:
        asyncio.get_running_loop().call_later(1, executor.sender.stop)
        asyncio.get_running_loop().call_later(2, executor.sender.stop, 0.0)
        assert await _collect(executor, make_states(10)) == []
        assert _now() == pytest.approx(2)
        assert await _collect(executor, make_states(10, "late")) == []

    run(main())


def test_leaving_a_stream_early_cancels_its_requests_and_passes_the_turn_on(
    run: Run, make_states: MakeStates
) -> None:
    client = Scripted()
    executor = _executor(client)

    async def main() -> None:
        async with contextlib.aclosing(executor.stream(make_states(100))) as stream:
            async for _ in stream:
                break
        assert client.in_flight == executor.outstanding == 0
        assert len(await _collect(executor, make_states(5, "b"))) == 5

    run(main())


def test_cancellation_is_passed_on(run: Run, make_states: MakeStates) -> None:
    client = Scripted(lambda *_: 50.0)

    async def main() -> None:
        task = asyncio.create_task(_collect(_executor(client), make_states(5)))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.in_flight == 0

    run(main())


def test_the_budget_is_kept_and_the_rest_is_owed(run: Run, make_states: MakeStates) -> None:
    client = Scripted(usage=Usage(2, 4))
    budget = Budget(max_tokens=60)
    executor = _executor(client, budget=budget)
    outcomes: list[tuple[str, Outcome]] = []
    with pytest.raises(SystemicError, match=r"the budget is spent: .*of 60 tokens"):
        run(_collect(executor, make_states(100, max_tokens=4), outcomes))
    # The next might have taken 22: 2 for the prompt, 16 for a chat template, 4 to answer.
    assert len(outcomes) == client.sent.total() == 7
    assert budget.spent.tokens == 42


class _Billing(Client):
    """Bills anything up to what a request allows, also for some that come back as garbage or cut."""

    def __init__(self, seed: int, room: int) -> None:
        self.billed = 0
        self._rng, self._room = random.Random(seed), room
        self._cut: set[str] = set()

    async def send(self, request: Request) -> Response:
        await asyncio.sleep(self._rng.uniform(0.1, 20))
        # One token a byte at most, and what an ordinary chat template adds.
        prompt_tokens = self._rng.randint(1, len(request.prompt.encode()) + 16)
        completion_tokens = self._rng.randint(0, request.max_tokens + self._room)
        fate = self._rng.random()
        if fate < 0.1:
            raise OverloadError("429")
        self.billed += prompt_tokens + completion_tokens
        if fate < 0.2:
            raise TransientError("garbage", "malformed")
        usage = Usage(prompt_tokens, completion_tokens)
        if fate < 0.5 and request.prompt not in self._cut:
            self._cut.add(request.prompt)
            raise CutThinkingError("cut", usage)
        return Response((Completion(request.prompt),), usage)


def test_a_cut_send_is_repeated_once_without_back_off_and_counted(run: Run, make_states: MakeStates) -> None:
    client = Scripted(lambda _, attempt: 1.0 if attempt > 1 else CutThinkingError("cut", Usage(10, 5)))
    executor = _executor(client, limits=Limits(max_attempts=1))
    ((_, outcome),) = run(_collect(executor, make_states(1)))
    assert isinstance(outcome, Response)
    assert (outcome.attempts, outcome.usage) == (2, Usage(13, 7))
    assert client.send_times[1] - client.send_times[0] < 0.1
    client = Scripted(lambda _, attempt: CutThinkingError("cut", Usage(10, 5)))
    ((_, failure),) = run(_collect(_executor(client), make_states(1)))
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.attempts) == ("cut_thinking", 2)


@pytest.mark.parametrize("concurrency", [1, 2, 16, 64, 256])
@pytest.mark.parametrize("room", [0, 8192])
@pytest.mark.parametrize("seed", range(3))
def test_a_budget_is_never_overspent_while_usage_is_within_the_bound(
    run: Run, make_states: MakeStates, concurrency: int, room: int, seed: int
) -> None:
    client = _Billing(seed, room)
    most = 6 + 16 + 5 + room
    max_tokens = random.Random(seed).randint(most, 60 * most)
    budget = Budget(max_tokens=max_tokens)
    executor = _executor(
        client,
        limits=Limits(max_concurrency=concurrency, initial_concurrency=concurrency),
        budget=budget,
        allowance=lambda request: Allowance(request.max_tokens + room),
    )
    with pytest.raises(SystemicError, match="the budget is spent"):
        run(_collect(executor, make_states(3000)))
    assert client.billed <= budget.spent.tokens <= max_tokens
    # It stops only when the next request does not fit.
    assert budget.spent.tokens > max_tokens - most


def test_a_server_that_bills_more_than_it_was_allowed_is_trusted_less_from_then_on(
    run: Run, make_states: MakeStates
) -> None:
    budget = Budget(max_tokens=20_000)
    client = Scripted(usage=Usage(400, 3000))
    limits = Limits(max_concurrency=2, initial_concurrency=2)
    with pytest.raises(SystemicError, match="the budget is spent"):
        run(_collect(_executor(client, budget=budget, limits=limits), make_states(100)))
    # Those in flight when the first bill came may exceed it, no others.
    assert budget.spent.tokens == 5 * 3400


def test_several_sends_for_one_request_may_all_have_been_billed_when_one_fails(
    run: Run, make_states: MakeStates
) -> None:
    budget = Budget(max_tokens=1000)
    client = Scripted(lambda _, attempt: OverloadError("429") if attempt == 1 else 1.0, usage=Usage(6, 9))
    executor = _executor(client, budget=budget, allowance=lambda _: Allowance(15, sends=3))
    run(_collect(executor, make_states(1)))
    assert budget.spent.tokens == (3 * (2 + 16) + 15) + 15


def test_without_any_limit_of_length_a_budget_is_not_begun(run: Run, make_states: MakeStates) -> None:
    client = Scripted()
    executor = _executor(client, budget=Budget(max_tokens=1000), allowance=lambda _: Allowance(None))
    with pytest.raises(SystemicError, match="without a length limit"):
        run(_collect(executor, make_states(3)))
    assert not client.sent


def test_a_budget_in_usd_is_shared_and_needs_prices(run: Run, make_states: MakeStates) -> None:
    budget = Budget(max_usd=0.001)
    with pytest.raises(UsageError, match="acme/text has no prices"):
        _executor(Scripted(), budget=budget)
    prices = Prices(input_usd_per_million_tokens=10, output_usd_per_million_tokens=10)
    executors = [_executor(Scripted(usage=Usage(1, 9)), budget=budget, prices=prices) for _ in range(2)]
    outcomes: list[tuple[str, Outcome]] = []

    async def main() -> list[Any]:
        return await asyncio.gather(
            *(_collect(executor, make_states(20, max_tokens=9), outcomes) for executor in executors),
            return_exceptions=True,
        )

    assert [type(result) for result in run(main())] == [SystemicError, SystemicError]
    assert len(outcomes) == 8
    assert budget.spent.usd == pytest.approx(0.0008)


def test_a_timeout_may_have_been_billed_and_missing_usage_counts_as_its_bound(
    run: Run, make_states: MakeStates
) -> None:
    budget = Budget(max_tokens=1000)
    client = Scripted(lambda _, attempt: 1e9 if attempt == 1 else 1.0, usage=Usage())
    run(_collect(_executor(client, budget=budget), make_states(1, max_tokens=50)))
    # Two bytes of prompt, 16 tokens for a chat template, 50 to answer.
    assert budget.spent.tokens == 2 * (2 + 16 + 50)


def test_the_cache_answers_without_sending_and_keeps_no_failure(
    run: Run, make_states: MakeStates, tmp_path: Path
) -> None:
    cache = ResponseCache(tmp_path / "cache.sqlite")
    client = Scripted(lambda prompt, _: BadRequestError("400") if prompt == "q3" else 1.0)

    def ask(digest: str) -> Any:
        return run(_collect(_executor(client, cache=cache, identity_digest=digest), make_states(40)))

    fresh, again = dict(ask("one")), dict(ask("one"))
    assert client.sent.total() == 41
    assert again.keys() == fresh.keys()
    assert isinstance(again["q3"], Failure)
    assert {outcome.cached for key, outcome in again.items() if key != "q3"} == {True}
    assert {outcome.cached for key, outcome in fresh.items() if key != "q3"} == {False}
    ask("two")
    assert client.sent.total() == 81
    cache.close()


class Known:
    """A source that has answers to some prompts, and remembers what it was asked."""

    def __init__(self, name: str, *prompts: str) -> None:
        self.name, self._prompts = name, prompts
        self.asked: list[str] = []

    def get(self, key: bytes, state: RequestState) -> Found | None:
        self.asked.append(state.key)
        assert key == content_key("one", state.request, state.sample)
        if state.request.prompt not in self._prompts:
            return None
        answer = Response((Completion(self.name),), Usage(50, 50), latency_s=9.0, attempts=4)
        return Found(answer, Origin(self.name, state.key))


def test_sources_are_asked_in_order_before_anything_is_sent(run: Run, make_states: MakeStates) -> None:
    client = Scripted()
    of_stream, of_executor = Known("stream", "q0", "q1"), Known("executor", "q1", "q2")
    budget = Budget(max_tokens=1_000)
    executor = _executor(client, sources=[of_executor], identity_digest="one", budget=budget)

    async def main() -> list[Any]:
        stream = executor.open_stream(make_states(4), sources=[of_stream])
        return [finished async for batch in stream.batches() for finished in batch]

    outcomes = {state.key: outcome for state, outcome in run(main())}
    assert client.sent == {"q3": 1}
    assert of_stream.asked == ["q0", "q1", "q2", "q3"]
    assert of_executor.asked == ["q2", "q3"]
    assert [outcomes[f"q{n}"].origin for n in range(4)] == [
        Origin("stream", "q0"),
        Origin("stream", "q1"),
        Origin("executor", "q2"),
        None,
    ]
    assert [(outcomes[f"q{n}"].cached, outcomes[f"q{n}"].attempts) for n in (0, 3)] == [(True, 1), (False, 1)]
    assert budget.spent.tokens == 5, "what is found costs nothing"


def test_what_is_pushed_is_looked_for_as_well(run: Run, make_states: MakeStates) -> None:
    client, source = Scripted(), Known("source", "q0", "q1", "q2")
    executor = _executor(client, identity_digest="one")
    first, *others = make_states(5)

    async def main() -> list[str]:
        stream, keys = executor.open_stream([first], sources=[source]), []
        async for batch in stream.batches():
            for state, _ in batch:
                keys.append(state.key)
                if others:
                    stream.push(others.pop(0))
        return keys

    assert run(main()) == ["q0", "q1", "q2", "q3", "q4"]
    assert client.sent == {"q3": 1, "q4": 1}


def test_a_run_whose_answers_are_all_known_loads_nothing(run: Run, make_states: MakeStates) -> None:
    class Resident(Scripted):
        resident = True

        async def open(self) -> None:
            raise AssertionError("nothing is sent")

    source = Known("source", *(f"q{n}" for n in range(300)))
    executor = _executor(Resident(), sources=[source], identity_digest="one")
    assert len(run(_collect(executor, make_states(300)))) == 300


def test_an_instant_client_leaves_the_loop_its_turns(run: Run, make_states: MakeStates) -> None:
    class Instant(Client):
        num_sent = 0

        async def send(self, request: Request) -> Response:
            self.num_sent += 1
            return Response((Completion("A"),))

    client = Instant()
    sent_between_turns: list[int] = []

    async def watch() -> None:
        before = 0
        while True:
            await asyncio.sleep(0)
            sent_between_turns.append(client.num_sent - before)
            before = client.num_sent

    async def main() -> None:
        watcher = asyncio.create_task(watch())
        assert len(await _collect(_executor(client), make_states(500))) == 500
        watcher.cancel()
        await asyncio.wait([watcher])

    run(main())
    assert max(sent_between_turns) <= 16


def test_a_run_answered_by_the_cache_leaves_the_loop_its_turns(
    run: Run, make_states: MakeStates, tmp_path: Path
) -> None:
    cache = ResponseCache(tmp_path / "cache.sqlite")
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def main() -> None:
        client = Scripted()
        await _collect(_executor(client, cache=cache), make_states(400))
        counter = asyncio.create_task(count_turns())
        await _collect(_executor(client, cache=cache), make_states(400))
        assert client.sent.total() == 400
        assert turns >= 400 / 16 - 1
        counter.cancel()
        await asyncio.wait([counter])

    run(main())
    cache.close()


def test_rate_limits_hold_through_the_executor(run: Run, make_states: MakeStates) -> None:
    client = Scripted()
    run(_collect(_executor(client, limits=Limits(requests_per_minute=60)), make_states(90)))
    assert max(sum(start <= t < start + 60 for t in client.send_times) for start in client.send_times) <= 61
    assert client.send_times[-1] == pytest.approx(89, abs=1)
