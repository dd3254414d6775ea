from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evalkit.metrics.reference
import evalkit.metrics.text  # noqa: F401 - both register metrics used here
from evalkit.errors import DataError, UsageError
from evalkit.instance import CORRECT, Instance, PerturbationDescription, Reference
from evalkit.redaction import remember
from evalkit.request import Request, RequestMode, RequestState, request_key
from evalkit.response import BLOCKED, Completion, Failure, Outcome, Response, Token, Usage
from evalkit.scoring.metric import Metric, build_metric
from evalkit.scoring.scorer import METRIC_ERROR, Scorer
from evalkit.scoring.stat import Stat, StatPerturbation
from evalkit.scoring.unit import Unit
from evalkit.specs.run_spec import AdapterSpec, MetricSpec
from tests.planted import Planted

USAGE = [
    "num_prompt_tokens",
    "num_completion_tokens",
    "latency_s",
    "finish_reason_length",
    "num_train_instances",
    "prompt_truncated",
    "no_answer",
]
TIMEOUT = Failure("timeout", "no answer within 60 s")
BLOCK = Failure(BLOCKED, "blocked")


def instances(n: int) -> list[Instance]:
    right = (Reference("yes", (CORRECT,)),)
    return [Instance("?", right, "test", id=f"id{i}") for i in range(n)]


def state(i: int, trial: int = 0, sample: int = 0) -> RequestState:
    key = request_key(f"id{i}", trial, sample)
    return RequestState(key, f"id{i}", trial, Request("?"), sample, num_train_instances=3)


def part(i: int, index: int, mode: RequestMode = "original", of: int = 2) -> RequestState:
    key = request_key(f"id{i}", 0, 0, index, mode)
    request = Request(f"Q {'ab'[index]}", echo_prompt=True)
    return RequestState(key, f"id{i}", 0, request, 0, index, mode, unit_size=of)


def scored_tokens(index: int, logprob: float) -> Response:
    return Response((Completion("", tokens=(Token("Q", 0.0), Token(f" {'ab'[index]}", logprob))),))


def says(text: str) -> Response:
    return Response((Completion(text, "stop"),), Usage(10, 2), latency_s=0.5)


class Talkative(Metric):
    """Says why, in what the tests plant."""

    name = "talkative"
    names = ("talkative",)

    def __init__(self, *details: str | Exception) -> None:
        self.details = iter(details)

    def score(self, unit: Unit) -> Mapping[str, float]:
        return {"talkative": 0.5}

    def detail(self, unit: Unit) -> str:
        told = next(self.details)
        if isinstance(told, Exception):
            raise told
        return told


def exact_match() -> Metric:
    return build_metric(MetricSpec(name="exact_match"), AdapterSpec(method="generation", num_outputs=1))


def stat_of(scorer: Scorer, name: str, split: str = "all", sub_split: str | None = None) -> Stat:
    return next(s for s in scorer.stats() if (s.name, s.split, s.sub_split) == (name, split, sub_split))


class Given(Metric):
    """Gives the number that the answer spells."""

    def __init__(self, name: str = "given", key: str | None = None) -> None:
        self.name, self.key = name, key or name

    def score(self, unit: Unit) -> Mapping[str, float]:
        return {self.key: float(unit.predictions()[0] or "")}


def test_scores_usage_and_counts() -> None:
    scorer = Scorer([exact_match()], instances(4))
    scorer.add(state(0), says("yes"))
    scorer.add(state(1), replace(says("no"), completions=(Completion("no", "length"),)))
    scorer.add(state(2), TIMEOUT)
    stat = stat_of(scorer, "exact_match")
    assert (stat.mean, stat.n, stat.n_failed, stat.n_total, stat.kind) == (0.5, 2, 1, 4, "score")
    assert (scorer.n_scored, scorer.n_failed, scorer.n_total, scorer.unscored.num_units) == (2, 1, 4, 0)
    assert scorer.progress == {"exact_match": 0.5}
    means = {s.name: s.mean for s in scorer.stats() if s.kind == "usage"}
    assert means == dict(zip(USAGE, [10, 2, 0.5, 0.5, 3, 0, 0], strict=True))
    assert stat_of(scorer, "finish_reason_length").ci95_method == "wilson"
    assert stat_of(scorer, "prompt_truncated").n_failed == 1


def test_stats_are_listed_in_the_order_of_the_metrics() -> None:
    names = ["quasi_exact_match", "exact_match"]
    adapter_spec = AdapterSpec(method="generation", num_outputs=3)
    scorer = Scorer([build_metric(MetricSpec(name=n), adapter_spec) for n in names], instances(1))
    wanted = ["quasi_exact_match", "quasi_exact_match@3", "exact_match", "exact_match@3", *USAGE]
    assert [s.name for s in scorer.stats()] == wanted
    assert stat_of(scorer, "exact_match").mean is None
    scorer.add(state(0), says("yes"))
    assert [s.name for s in scorer.stats()] == wanted


def test_splits_are_told_apart_only_where_there_are_several() -> None:
    one = Scorer([exact_match()], instances(2))
    assert {(s.split, s.sub_split) for s in one.stats()} == {("all", None)}
    valid = [replace(i, id=f"v{i.id}", split="valid") for i in instances(1)]
    hard = [replace(i, id=f"h{i.id}", sub_split="hard") for i in instances(1)]
    scorer = Scorer([exact_match()], [*instances(2), *valid, *hard])
    scorer.add(state(0), says("yes"))
    scorer.add(state(1), TIMEOUT)
    scorer.add(replace(state(0), instance_id="vid0"), says("no"))
    listed = [(s.split, s.sub_split) for s in scorer.stats() if s.name == "exact_match"]
    assert listed == [("all", None), ("test", None), ("test", "hard"), ("valid", None)]
    stats = {split: stat_of(scorer, "exact_match", split) for split in ("all", "test", "valid")}
    counts = {split: (s.n, s.n_failed, s.n_total, s.mean) for split, s in stats.items()}
    assert counts == {"all": (2, 1, 4, 0.5), "test": (1, 1, 3, 1.0), "valid": (1, 0, 1, 0.0)}
    assert stat_of(scorer, "exact_match", "test", "hard").n_total == 1


def test_rows_say_what_became_of_every_unit() -> None:
    scorer = Scorer([exact_match()], instances(2), num_train_trials=2, num_samples=2)
    scorer.add(state(1, 1, 1), says("yes"))
    scorer.add(state(0, 0, 1), TIMEOUT)
    rows = list(scorer.rows())
    assert [(r.trial, r.instance_id, r.sample) for r in rows] == [
        (t, f"id{i}", s) for t in (0, 1) for i in (0, 1) for s in (0, 1)
    ]
    assert [r.status for r in rows] == ["missing", "failed", *["missing"] * 5, "scored"]
    assert (rows[1].reason, rows[1].message, rows[1].scores) == ("timeout", TIMEOUT.message, {})
    assert rows[7].to_json() == {
        "instance_id": "id1",
        "trial": 1,
        "sample": 1,
        "split": "test",
        "status": "scored",
        "scores": {"exact_match": 1.0},
    }


def test_a_response_is_final_and_a_failure_is_not() -> None:
    scorer = Scorer([exact_match()], instances(1))
    scorer.add(state(0), TIMEOUT)
    assert stat_of(scorer, "exact_match").n_failed == 1
    scorer.add(state(0), says("yes"))
    scorer.add(state(0), TIMEOUT)
    scorer.add(state(0), says("no"))
    stat = stat_of(scorer, "exact_match")
    assert (stat.mean, stat.n, stat.n_failed) == (1.0, 1, 0)
    assert next(scorer.rows()).reason is None


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "no number"])
def test_what_a_metric_can_not_score_is_failed_not_zero(text: str) -> None:
    scorer = Scorer([exact_match(), Given()], instances(2))
    scorer.add(state(0), says(text))
    scorer.add(state(1), says("7"))
    given, right = stat_of(scorer, "given"), stat_of(scorer, "exact_match")
    assert (given.mean, given.n, given.n_failed, given.n_total) == (7, 1, 1, 2)
    # The score of the other metric counts.
    assert (right.mean, right.n, right.n_failed, right.n_total) == (0, 2, 0, 2)
    assert (scorer.n_scored, scorer.n_failed) == (2, 0)
    assert (scorer.unscored.num_units, scorer.unscored.by_score) == (1, {"given": 1})
    row = next(scorer.rows())
    assert (row.status, row.reason, row.scores) == ("scored", None, {"exact_match": 0.0})
    failed = row.to_json()["failed_scores"]
    assert [(name, why["reason"]) for name, why in failed.items()] == [("given", METRIC_ERROR)]
    assert failed["given"]["message"].startswith("metric 'given': ")
    # The request itself was answered, and its tokens were paid for.
    assert (stat_of(scorer, "num_prompt_tokens").n, stat_of(scorer, "num_prompt_tokens").n_failed) == (2, 0)
    scorer.add(state(0), TIMEOUT)
    assert next(scorer.rows()) == row


def test_a_unit_that_every_metric_fails_on_is_a_failed_one() -> None:
    scorer = Scorer([Given()], instances(2))
    scorer.add(state(0), says("what"))
    scorer.add(state(1), says("1"))
    row = next(scorer.rows())
    assert (row.status, row.reason, row.scores) == ("failed", METRIC_ERROR, {})
    assert str(row.message).startswith("metric 'given': ")
    assert (scorer.n_scored, scorer.n_failed, str(scorer.unscored)) == (1, 1, "1 not scored (given: 1)")


class Several(Metric):
    """Gives the numbers that the answer lists, `a=1 b=nan`; raises where it says so."""

    def __init__(self, name: str = "several", names: tuple[str, ...] = ()) -> None:
        self.name, self.names = name, names

    def score(self, unit: Unit) -> Mapping[str, float]:
        text = unit.answer.response.completions[0].text
        if "raise" in text:
            raise ValueError("odd")
        pairs = (pair.split("=") for pair in text.split())
        return {name: float(value) for name, value in pairs}


def test_a_number_that_is_none_takes_no_other_of_its_metric_with_it() -> None:
    scorer = Scorer([Several()], instances(3))
    for i, text in enumerate(["a=1 b=2", "a=3 b=nan", "a=5"]):
        scorer.add(state(i), says(text))
    a, b = stat_of(scorer, "a"), stat_of(scorer, "b")
    assert (a.mean, a.n, a.n_failed) == (3, 3, 0)
    # The third has no such score, which is no failure.
    assert (b.mean, b.n, b.n_failed, b.n_total) == (2, 1, 1, 3)
    rows = [row.to_json() for row in scorer.rows()]
    assert [row.get("failed_scores") for row in rows] == [
        None,
        {
            "b": {
                "reason": METRIC_ERROR,
                "message": "metric 'several': gave nan for 'b'; scores must be finite numbers",
            }
        },
        None,
    ]


@pytest.mark.parametrize("value", [None, "1.5", 1j, 10**400, [1.0]])
def test_what_is_no_number_fails_alone(value: object) -> None:
    class Odd(Metric):
        name = "odd"

        def score(self, unit: Unit) -> Mapping[str, Any]:
            return {"fine": 1.0, "odd": value}

    scorer = Scorer([Odd()], instances(1))
    scorer.add(state(0), says("x"))
    assert (stat_of(scorer, "fine").mean, stat_of(scorer, "odd").mean) == (1, None)
    assert "must be finite numbers" in (next(scorer.rows()).failed_scores or {})["odd"].message


@pytest.mark.parametrize("first", ["a=1 b=2", "raise"])
def test_a_metric_that_raises_fails_in_what_it_gives_elsewhere(first: str) -> None:
    second = "raise" if first != "raise" else "a=1 b=2"
    scorer = Scorer([Several(), exact_match()], instances(2))
    scorer.add(state(0), says(first))
    scorer.add(state(1), says(second))
    for name in ("a", "b"):
        assert (stat_of(scorer, name).n, stat_of(scorer, name).n_failed) == (1, 1)
    assert (stat_of(scorer, "exact_match").n, stat_of(scorer, "exact_match").n_failed) == (2, 0)
    failed = [row for row in scorer.rows() if row.failed_scores]
    assert [[*(row.failed_scores or {})] for row in failed] == [["a", "b"]]
    assert scorer.unscored.by_score == {"a": 1, "b": 1}


@pytest.mark.parametrize(("names", "shown"), [((), ["several"]), (("a", "b"), ["a", "b"])])
def test_a_metric_that_always_raises_is_shown(names: tuple[str, ...], shown: list[str]) -> None:
    scorer = Scorer([Several(names=names), exact_match()], instances(2))
    for i in range(2):
        scorer.add(state(i), says("raise"))
    scores = [stat for stat in scorer.stats() if stat.kind == "score"]
    assert [(s.name, s.n, s.n_failed, s.mean) for s in scores] == [
        *((name, 0, 2, None) for name in shown),
        ("exact_match", 2, 0, 0.0),
    ]
    assert scorer.unscored.num_units == 2
    assert all(Stat.from_json(s.to_json()) == s for s in scores)


def test_failures_of_a_metric_are_not_mixed_with_a_score_of_its_name() -> None:
    scorer = Scorer([Several("failing"), Given("other", key="failing")], instances(1))
    scorer.add(state(0), says("raise"))
    scorer.add(state(0), says("1"))
    taken = Scorer([Several("failing"), Several("other")], instances(2))
    taken.add(state(0), says("failing=1"))
    taken.add(state(1), says("raise"))
    assert [[*(row.failed_scores or {})] for row in taken.rows()] == [["other"], ["failing", "other"]]


def test_perturbed_copies_have_no_worst_case_of_a_score_that_failed() -> None:
    described = PerturbationDescription("dialect", robustness=True)
    plan = [copy for one in instances(2) for copy in (one, replace(one, perturbation=described))]
    scorer = Scorer([Several(names=("a",)), exact_match()], plan)
    for i in range(2):
        scorer.add(state(i), says("a=1"))
        key = request_key(f"id{i}", 0, perturbation="dialect")
        copy = replace(state(i), key=key, perturbation="dialect")
        scorer.add(copy, says("raise" if i else "a=0"))
    worst = {
        s.name: (s.mean, s.n, s.n_failed, s.n_total)
        for s in scorer.stats()
        if s.kind == "score" and s.perturbation == StatPerturbation("robustness", "worst")
    }
    assert worst == {"a": (0.0, 1, 1, 2), "exact_match": (0.0, 2, 0, 2)}


def test_two_metrics_can_not_give_one_name() -> None:
    with pytest.raises(UsageError, match="twice: given"):
        Scorer([Given(), Given()], instances(1))
    scorer = Scorer([Given(), Given("other", key="given")], instances(1))
    scorer.add(state(0), says("1"))
    row = next(scorer.rows())
    # The number of the first counts; the failure of the second is shown under its own name.
    assert row.scores == {"given": 1.0}
    assert "which another metric gives too" in (row.failed_scores or {})["other"].message
    assert (stat_of(scorer, "other").n_failed, stat_of(scorer, "given").n_failed) == (1, 0)
    announced = Scorer([Several(), Several("owner", names=("a",))], instances(1))
    announced.add(state(0), says("a=1"))
    assert next(announced.rows()).scores == {"a": 1.0}
    assert [*(next(announced.rows()).failed_scores or {})] == ["several"]
    taken = Scorer([Given("mine", key="latency_s")], instances(1))
    taken.add(state(0), says("1"))
    assert next(taken.rows()).reason == METRIC_ERROR
    assert stat_of(taken, "latency_s").mean == 0.5


def test_no_applicable_metric_is_said() -> None:
    built = build_metric(MetricSpec(name="basic_reference"), AdapterSpec(method="generation"))
    scorer = Scorer([built], instances(1))
    scorer.add(state(0), says("yes"))
    assert "no metric applies" in str(next(scorer.rows()).message)
    assert (scorer.unscored.num_units, scorer.n_failed, scorer.n_scored) == (1, 1, 0)


def test_a_run_without_metrics_still_counts_its_use() -> None:
    scorer = Scorer([], instances(1))
    scorer.add(state(0), says("yes"))
    assert [s.name for s in scorer.stats()] == USAGE
    assert next(scorer.rows()).status == "scored"


def test_what_is_no_part_of_the_run_is_refused() -> None:
    scorer = Scorer([exact_match()], instances(1))
    for stray in (state(1), state(0, trial=1), state(0, sample=1), state(0, trial=-1)):
        with pytest.raises(UsageError, match="not part of this run"):
            scorer.add(stray, says("yes"))


def test_impossible_plans_are_refused() -> None:
    unlabelled = Instance("?", (), "test", id="id9")
    with pytest.raises(DataError, match="'id9'"):
        Scorer([exact_match()], [*instances(1), unlabelled])
    with pytest.raises(UsageError, match="two instances have the id 'id0'"):
        Scorer([], [*instances(1), *instances(1)])
    with pytest.raises(UsageError, match="instance 0 has no id"):
        Scorer([], [replace(unlabelled, id=None)])
    with pytest.raises(UsageError, match="nothing to score"):
        Scorer([], [])


def choice_scorer() -> Scorer:
    references = (Reference("a"), Reference("b", (CORRECT,)))
    adapter_spec = AdapterSpec(method="multiple_choice_separate_original", output_suffix="")
    metrics = [build_metric(MetricSpec(name=n), adapter_spec) for n in ("exact_match", "basic_reference")]
    return Scorer(metrics, [Instance("Q", references, "test", id="id0")])


def test_a_unit_of_several_requests_is_scored_when_whole() -> None:
    scorer = choice_scorer()
    scorer.add(part(0, 1), scored_tokens(1, -1.0))
    assert next(scorer.rows()).status == "missing"
    scorer.add(part(0, 1), TIMEOUT)
    scorer.add(part(0, 0), TIMEOUT)
    assert (next(scorer.rows()).status, scorer.n_failed) == ("failed", 1)
    scorer.add(part(0, 0), scored_tokens(0, -2.0))
    row = next(scorer.rows())
    assert (row.status, scorer.n_failed) == ("scored", 0)
    assert (row.scores["exact_match"], row.scores["predicted_index"]) == (1, 1)
    assert [s.name for s in scorer.stats() if s.kind == "score"] == [
        "exact_match",
        "max_prob",
        "predicted_index",
    ]


def test_clustered_by_group() -> None:
    grouped = [replace(i, group=f"g{n // 2}") for n, i in enumerate(instances(6))]
    scorer = Scorer([exact_match()], grouped)
    for i, text in enumerate(["yes", "yes", "yes", "no", "no", "no"]):
        scorer.add(state(i), says(text))
    stat = stat_of(scorer, "exact_match")
    assert (stat.num_clusters, stat.ci95_method) == (3, "clustered_t")
    # Sums of deviations from 0.5 are 1, 0, -1: SE² = 3/2 · 2 / 36.
    assert stat.stderr == pytest.approx(math.sqrt(1 / 12), abs=1e-12)


def test_repeated_instances_are_clusters() -> None:
    scorer = Scorer([exact_match()], instances(2), num_train_trials=2)
    for trial in (0, 1):
        scorer.add(state(0, trial), says("yes"))
        scorer.add(state(1, trial), says("no" if trial else "yes"))
    stat = stat_of(scorer, "exact_match")
    assert (stat.n, stat.num_clusters, stat.num_train_trials, stat.trial_means) == (4, 2, 2, (1.0, 0.5))
    assert stat.trial_stderr == pytest.approx(0.25)
    # Sums of deviations from 0.75 are 0.5 and -0.5: SE² = 2/1 · 0.5 / 16.
    assert stat.stderr == pytest.approx(0.25, abs=1e-12)


OUTCOMES = st.one_of(
    st.sampled_from(["0", "1", "0.1", "-3.7", "1e9", "nan", "what"]).map(says), st.just(TIMEOUT)
)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.lists(OUTCOMES, min_size=12, max_size=12))
def test_order_and_repetition_change_nothing(data: st.DataObject, outcomes: list[Outcome]) -> None:
    plan = [replace(i, group="g" if n < 2 else None) for n, i in enumerate(instances(3))]
    states = [state(i, t, s) for t in (0, 1) for i in range(3) for s in (0, 1)]
    events = list(zip(states, outcomes, strict=True))
    again = data.draw(st.lists(st.sampled_from(events), max_size=10))
    late = [(s, TIMEOUT) for s, o in events if isinstance(o, Response)]
    shuffled = data.draw(st.permutations([*events, *again, *late]))
    in_order, mixed = (Scorer([Given()], plan, num_train_trials=2, num_samples=2) for _ in range(2))
    for one, outcome in events:
        in_order.add(one, outcome)
    for one, outcome in shuffled:
        mixed.add(one, outcome)
    assert mixed.stats() == in_order.stats()
    assert list(mixed.rows()) == list(in_order.rows())
    values = [row.scores["given"] for row in mixed.rows() if row.status == "scored"]
    numbers = [
        float(o.completions[0].text)
        for o in outcomes
        if isinstance(o, Response) and o.completions[0].text not in ("nan", "what")
    ]
    assert values == numbers


METRIC_TEXTS = ["a=0 b=1", "a=2", "b=nan", "a=inf b=3", "", "raise", "no numbers"]
SEVERAL = st.one_of(st.sampled_from(METRIC_TEXTS).map(says), st.just(TIMEOUT), st.just(BLOCK), st.none())


@settings(deadline=None, max_examples=150)
@given(
    st.data(),
    st.lists(SEVERAL, min_size=12, max_size=12),
    st.lists(st.sampled_from([(), ("a",), ("a", "b"), ("c",)]), min_size=1, max_size=1),
)
def test_counts_of_every_score_add_up(
    data: st.DataObject, outcomes: list[Outcome | None], names: list[tuple[str, ...]]
) -> None:
    """What a score of each unit must be follows from the text that was answered."""
    states = [state(i, t, s) for t in (0, 1) for i in range(3) for s in (0, 1)]
    events = [(s, o) for s, o in zip(states, outcomes, strict=True) if o is not None]
    shuffled = data.draw(st.permutations([*events, *events[:3]]))
    in_order, mixed = (
        Scorer([Several(names=names[0]), exact_match()], instances(3), num_train_trials=2, num_samples=2)
        for _ in range(2)
    )
    for one, outcome in events:
        in_order.add(one, outcome)
    for one, outcome in shuffled:
        mixed.add(one, outcome)
    stats, rows = mixed.stats(), list(mixed.rows())
    assert (stats, rows) == (in_order.stats(), list(in_order.rows()))
    assert str(mixed.unscored) == str(in_order.unscored)
    texts = [o.completions[0].text if isinstance(o, Response) else None for o in outcomes]
    num_unanswered = sum(isinstance(o, Failure) for o in outcomes)
    num_blocked = sum(o == BLOCK for o in outcomes)
    num_raised = sum(text in ("raise", "no numbers") for text in texts)
    wrong = {"a": "inf", "b": "nan"}
    for stat in (stat for stat in stats if stat.kind == "score"):
        lacking = sum(row.status != "missing" and stat.name not in row.scores for row in rows)
        of_rows = [row for row in rows if stat.name in (row.failed_scores or {})]
        num_wrong = sum(f"{stat.name}={wrong.get(stat.name)}" in (text or "") for text in texts)
        expected = 0 if stat.name == "exact_match" else num_raised + num_wrong
        assert (stat.n_failed, stat.n_blocked) == (num_unanswered + expected, num_blocked)
        assert len(of_rows) == expected
        assert stat.n + lacking + sum(row.status == "missing" for row in rows) == stat.n_total == 12
        assert stat.n + stat.n_failed <= stat.n_total
        assert stat.n == sum(stat.name in row.scores for row in rows)
    right = next(stat for stat in stats if stat.name == "exact_match")
    assert right.n == sum(text is not None for text in texts)
    for stat in (stat for stat in stats if stat.name == "latency_s"):
        assert (stat.n, stat.n_failed) == (right.n, num_unanswered)
    assert mixed.n_scored == right.n
    assert mixed.unscored.num_units == sum(bool(row.failed_scores) for row in rows)
    for row in rows:
        assert not set(row.scores) & set(row.failed_scores or ())
        assert all(math.isfinite(value) for value in row.scores.values())


@settings(deadline=None, max_examples=40)
@given(st.permutations([0, 1, 2, 3, 4, 5]))
def test_order_changes_nothing_for_units_of_several_requests(order: list[int]) -> None:
    events: list[tuple[RequestState, Outcome]] = [
        (part(0, 0), scored_tokens(0, -2.0)),
        (part(0, 1), scored_tokens(1, -1.0)),
        (part(0, 0), TIMEOUT),
        (part(0, 1), TIMEOUT),
        (part(0, 0), scored_tokens(0, -2.0)),
        (part(0, 1), scored_tokens(1, -1.0)),
    ]
    scorer = choice_scorer()
    for position in order:
        scorer.add(*events[position])
    assert next(scorer.rows()).scores["exact_match"] == 1
    assert (scorer.n_scored, scorer.n_failed) == (1, 0)


def test_why_a_score_is_what_it_is_stands_in_its_row(planted: Planted, tmp_path: Path) -> None:
    key = planted.use()
    remember(key)
    told = ("", "first\nsecond \x1b[31mred\u202e", "a" * 5000, key, ValueError("odd"))
    scorer = Scorer([Talkative(*told), exact_match()], instances(7))
    for i in range(5):
        scorer.add(state(i), says("yes"))
    scorer.add(state(5), TIMEOUT)
    rows = [row.to_json() for row in scorer.rows()]
    # What is written of them is searched.
    (tmp_path / "scores.jsonl").write_text("\n".join(map(repr, rows)), encoding="utf-8")
    assert ["detail" in row for row in rows] == [False, True, True, True, True, False, False]
    assert rows[1]["detail"] == r"first second \x1b[31mred\u202e"
    assert rows[2]["detail"] == "a" * 200
    assert rows[3]["detail"] == "***"
    assert rows[4]["detail"] == "metric 'talkative' gave no detail: ValueError: odd"
    assert [row["scores"] for row in rows[:5]] == [{"talkative": 0.5, "exact_match": 1.0}] * 5
    assert scorer.unscored.num_units == 0
