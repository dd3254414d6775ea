"""Efficiency stats: of units and of whole runs, from responses made by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.instance import CORRECT, Instance, Reference
from evalkit.request import Request, RequestState, request_key
from evalkit.response import (
    Completion,
    Efficiency,
    Failure,
    Response,
    Usage,
    response_from_json,
    response_to_json,
)
from evalkit.scoring.efficiency import RUN_STATS, UNIT_STATS, busy_seconds, percentile
from evalkit.scoring.metric import Metric
from evalkit.scoring.scorer import Scorer
from evalkit.scoring.stat import Stat
from evalkit.scoring.unit import Unit

NOON = 1_800_000_000.0
USAGE = Usage(10, 5)
SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=12)


class Right(Metric):
    """1 for every answer."""

    name, names = "right", ("right",)

    def score(self, unit: Unit) -> dict[str, float]:
        return {"right": 1.0}


def scorer(num_instances: int, num_train_trials: int = 1) -> Scorer:
    right = (Reference("yes", (CORRECT,)),)
    made = [Instance("?", right, "test", id=f"id{i}") for i in range(num_instances)]
    return Scorer([Right()], made, num_train_trials)


def state(i: int, reference: int | None = None, of: int = 1, trial: int = 0) -> RequestState:
    key = request_key(f"id{i}", trial, 0, reference)
    return RequestState(key, f"id{i}", trial, Request("?"), reference_index=reference, unit_size=of)


def answer(
    at_s: float,
    took_s: float,
    usage: Usage = USAGE,
    queue_s: float = 0.0,
    first_token_s: float | None = None,
    padded_tokens: int | None = None,
    reused_tokens: int | None = None,
    batch_size: int | None = None,
    peak_memory_bytes: int | None = None,
) -> Response:
    """One that was begun so many seconds after noon."""
    told = Efficiency(
        NOON + at_s, queue_s, first_token_s, padded_tokens, reused_tokens, batch_size, peak_memory_bytes
    )
    return Response((Completion("yes", "stop"),), usage, latency_s=took_s, efficiency=told)


def stats_of(made: Scorer) -> dict[str, Stat]:
    return {stat.name: stat for stat in made.stats() if stat.kind == "efficiency"}


def numbers(responses: Sequence[Response]) -> dict[str, float | None]:
    made = scorer(len(responses))
    for i, response in enumerate(responses):
        made.add(state(i), response)
    return {name: stat.mean for name, stat in stats_of(made).items()}


@given(SPANS)
def test_busy_seconds_are_those_in_which_anything_went_on(spans: list[tuple[int, int]]) -> None:
    seconds = {s for start, length in spans for s in range(start, start + length)}
    assert busy_seconds([NOON + start for start, _ in spans], [length for _, length in spans]) == len(seconds)


def test_busy_seconds_of_nothing() -> None:
    assert busy_seconds([], []) == 0


@given(st.lists(st.floats(0, 100), min_size=1), st.sampled_from([50, 95, 100]))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(
    values: list[float], percent: int
) -> None:
    found = percentile(sorted(values), percent)
    reached = [v for v in values if sum(other <= v for other in values) * 100 >= percent * len(values)]
    assert found == min(reached)


def test_percentile_of_nothing() -> None:
    assert percentile([], 95) is None


def test_times_and_rates_of_a_run() -> None:
    found = numbers(
        [
            answer(0.0, 2.0, queue_s=0.5, first_token_s=0.25),
            answer(1.0, 2.0, queue_s=1.5),
            answer(10.0, 1.0, Usage(10, 30), queue_s=1.0, first_token_s=0.75),
        ]
    )
    assert found["run_requests"] == 3
    assert found["run_busy_s"] == 4.0
    assert found["run_requests_per_s"] == 0.75
    assert found["run_output_tokens_per_s"] == 10.0
    assert found["run_concurrency"] == 1.25
    assert found["run_queue_s"] == found["queue_s"] == found["run_queue_s_p50"] == 1.0
    assert found["run_queue_s_p95"] == 1.5
    assert found["run_service_s"] == found["service_s"] == pytest.approx(5 / 3)
    assert (found["run_service_s_p50"], found["run_service_s_p95"]) == (2.0, 2.0)
    assert (found["run_first_token_s"], found["run_first_token_s_p50"]) == (0.5, 0.25)
    assert (found["run_prompt_tokens"], found["run_completion_tokens"]) == (30, 40)
    # Each unit on its own: 2.5, 2.5 and 30 tokens per second.
    assert found["output_tokens_per_s"] == pytest.approx(35 / 3)
    assert not {"padded_tokens", "run_padding_share", "run_batch_size", "run_peak_memory_bytes"} & set(found)


def test_padding_reuse_batches_and_memory_of_a_run() -> None:
    # Each reads 14 of its 15 tokens; the second had 8 of them already, and each batch has its padding.
    found = numbers(
        [
            answer(0, 1, padded_tokens=14, reused_tokens=0, batch_size=1, peak_memory_bytes=100),
            answer(1, 1, padded_tokens=10, reused_tokens=8, batch_size=2, peak_memory_bytes=300),
            answer(1, 1, padded_tokens=16, reused_tokens=0, batch_size=2, peak_memory_bytes=200),
        ]
    )
    assert found["run_padded_tokens"] == 40
    assert found["padded_tokens"] == pytest.approx(40 / 3)
    assert found["run_padding_share"] == pytest.approx(1 - (14 + 6 + 14) / 40)
    assert found["run_reused_tokens"] == 8
    assert found["run_reused_share"] == pytest.approx(8 / 30)
    # Two batches hold the three requests.
    assert found["run_batch_size"] == 1.5
    assert found["batch_size"] == pytest.approx(5 / 3)
    assert found["run_peak_memory_bytes"] == 300


def test_units_of_several_requests() -> None:
    made = scorer(2)
    for reference, response in enumerate(
        [
            answer(0, 1.0, Usage(10, 0), queue_s=0.5, padded_tokens=12, reused_tokens=3, batch_size=4),
            answer(0, 3.0, Usage(20, 0), queue_s=1.5, padded_tokens=22, reused_tokens=7, batch_size=2),
        ]
    ):
        made.add(state(0, reference, 2), response)
    made.add(state(1, 0, 2), answer(50, 9.0))
    found = stats_of(made)
    unit = {name: found[name].mean for name in UNIT_STATS if name in found}
    assert unit == {
        "queue_s": 1.0,
        "service_s": 2.0,
        "padded_tokens": 34,
        "reused_tokens": 10,
        "batch_size": 3.0,
    }
    assert {(stat.n, stat.n_total) for stat in found.values()} == {(1, 2)}
    # The unit that lacks a request is not counted yet.
    assert (found["run_requests"].mean, found["run_busy_s"].mean) == (2, 3.0)


def test_the_break_between_two_starts_does_not_count() -> None:
    found = numbers([answer(0, 2), answer(1, 2), answer(86_400, 2), answer(86_401, 1)])
    assert found["run_busy_s"] == 5.0


def test_answers_from_the_cache_took_nothing() -> None:
    fresh = answer(0, 2, batch_size=3)
    assert numbers([fresh, replace(fresh, cached=True)]) == numbers([fresh])
    assert numbers([replace(fresh, cached=True)]) == {}


def test_without_efficiency_there_are_no_such_stats() -> None:
    plain = Response((Completion("yes"),), Usage(10, 5), latency_s=2.0)
    assert numbers([plain, plain]) == {}
    mixed = numbers([plain, answer(0, 1)])
    assert (mixed["run_requests"], mixed["run_prompt_tokens"]) == (1, 10)


def test_repeated_and_failed_requests_count_once() -> None:
    made = scorer(2)
    made.add(state(0), Failure("timeout", "too slow"))
    made.add(state(0), answer(5, 1))
    made.add(state(0), answer(9, 1))
    made.add(state(0), Failure("timeout", "too slow"))
    made.add(state(1), Failure("timeout", "too slow"))
    found = stats_of(made)
    assert (found["run_requests"].mean, found["run_busy_s"].mean) == (1, 1.0)
    assert {(stat.n, stat.n_failed, stat.n_total) for stat in found.values()} == {(1, 1, 2)}


@given(st.data(), SPANS.filter(bool))
def test_the_order_of_arrival_changes_nothing(data: st.DataObject, spans: list[tuple[int, int]]) -> None:
    responses = [
        answer(start / 7, length / 3, queue_s=length / 11, padded_tokens=20, batch_size=1 + start % 3)
        for start, length in spans
    ]
    found = []
    for order in (range(len(spans)), data.draw(st.permutations(range(len(spans))))):
        made = scorer(len(spans))
        for i in order:
            made.add(state(i), responses[i])
        found.append(made.stats())
    assert found[0] == found[1]


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100), st.floats(1e-3, 1))
def test_scored_anew_from_the_journal_it_is_the_same(
    at: float, took: float, queue: float, one: float
) -> None:
    response = answer(at, took, queue_s=queue, first_token_s=one, padded_tokens=17, reused_tokens=3)
    again = response_from_json(json.loads(json.dumps(response_to_json(response))))
    assert numbers([response]) == numbers([again])


def test_stats_are_listed_in_order_after_all_others_and_can_be_stored() -> None:
    made = scorer(1)
    everything = answer(0, 1, first_token_s=0.1, padded_tokens=20, reused_tokens=1, batch_size=2)
    told = everything.efficiency
    assert told is not None
    made.add(state(0), replace(everything, efficiency=replace(told, peak_memory_bytes=80 * 2**30)))
    stats = made.stats()
    assert [stat.name for stat in stats[-len(UNIT_STATS + RUN_STATS) :]] == [*UNIT_STATS, *RUN_STATS]
    assert "efficiency" not in {stat.kind for stat in stats[: -len(UNIT_STATS + RUN_STATS)]}
    for stat in stats:
        assert Stat.from_json(orjson.loads(orjson.dumps(stat.to_json()))) == stat
    assert all("efficiency" not in row.to_json() and row.scores == {"right": 1.0} for row in made.rows())


def test_a_run_with_several_trials_has_one_number_for_all() -> None:
    made = scorer(1, num_train_trials=2)
    made.add(state(0), answer(0, 1))
    made.add(state(0, trial=1), answer(5, 3))
    found = stats_of(made)
    assert (found["run_busy_s"].mean, found["run_busy_s"].trial_means) == (4.0, (None, None))
    assert found["service_s"].trial_means == (1.0, 3.0)


def test_requests_that_took_no_time_have_no_rates() -> None:
    found = numbers([answer(0, 0.0)])
    assert found["run_busy_s"] == 0
    assert "run_requests_per_s" not in found
    assert all(value is None or math.isfinite(value) for value in found.values())


@pytest.mark.parametrize("name", ["batch_size", "run_busy_s"])
def test_no_metric_may_give_these_numbers(name: str) -> None:
    class Taken(Metric):
        def score(self, unit: Unit) -> dict[str, float]:
            return {name: 1.0}

    made = Scorer([Taken()], [Instance("?", (), "test", id="id0")])
    made.add(state(0), answer(0, 1))
    assert made.unscored.num_units == 1
    # The metric has failed, not the request, which took its time.
    taken = stats_of(made)["run_requests"]
    assert (taken.n, taken.n_failed, taken.n_total) == (1, 0, 1)
    with pytest.raises(UsageError, match="not part of this run"):
        made.add(state(1), answer(0, 1))
