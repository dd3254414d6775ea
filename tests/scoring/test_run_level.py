from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

import pytest

from evalkit.errors import UsageError
from evalkit.instance import Instance, Reference
from evalkit.request import Request, RequestState, request_key
from evalkit.response import Completion, Failure, Response
from evalkit.scoring.metric import Metric
from evalkit.scoring.run_level import MAX_RESAMPLED_ROWS, NUM_RESAMPLES, MeanOfParts, Row, RunLevelRows
from evalkit.scoring.scorer import METRIC_ERROR, Scorer
from evalkit.scoring.stat import Label, Observations, Stat
from evalkit.scoring.unit import Unit
from evalkit.statistics.student_t import two_sided_limit


class Share(Metric):
    """Sum of the numbers that were answered over the sum of the ids: no mean of anything per unit."""

    name = "share"
    run_level_names = ("share",)

    def score(self, unit: Unit) -> Mapping[str, float]:
        return {}

    def run_level_row(self, unit: Unit) -> Row | None:
        text = unit.answer.response.completions[0].text
        return None if text == "-" else (float(text), int(str(unit.instance.id)[2:]) + 1)

    def run_level_scores(self, rows: Sequence[Row]) -> Mapping[str, float]:
        return {"share": sum(row[0] for row in rows) / sum(row[1] for row in rows)}


def instances(n: int, group: str | None = None) -> list[Instance]:
    return [
        Instance("?", (Reference("x"),), ("valid", "test")[i % 2], id=f"id{i}", group=group) for i in range(n)
    ]


def state(i: int, trial: int = 0) -> RequestState:
    return RequestState(request_key(f"id{i}", trial), f"id{i}", trial, Request("?"))


def says(text: str) -> Response:
    return Response((Completion(text),))


def corpus_stats(scorer: Scorer) -> dict[str, Stat]:
    return {stat.split: stat for stat in scorer.stats() if stat.kind == "score"}


T_19 = 2.093024
"""Student's t, of the tables."""


def test_a_number_over_all_units_is_computed_per_slice_with_a_bootstrapped_error() -> None:
    scorer = Scorer([Share()], instances(20))
    for i in range(20):
        scorer.add(state(i), says(str(i % 3)))
    stats = corpus_stats(scorer)
    overall = stats["all"]
    assert overall.mean == pytest.approx(sum(i % 3 for i in range(20)) / 210)
    assert stats["test"].mean == pytest.approx(sum(i % 3 for i in range(1, 20, 2)) / 110)
    assert (overall.n, overall.n_total, overall.n_failed, overall.ci95_method) == (20, 20, 0, "bootstrap")
    assert overall.mean is not None
    assert overall.stderr is not None
    assert overall.ci95 is not None
    assert 0 < overall.stderr < 0.1
    assert overall.ci95[1] - overall.mean == pytest.approx(T_19 * overall.stderr, rel=1e-4)
    assert overall.mean - overall.ci95[0] == pytest.approx(T_19 * overall.stderr, rel=1e-4)
    assert overall.min is None
    assert overall.max is None
    assert overall.sum / overall.n == pytest.approx(overall.mean)
    assert Stat.from_json(overall.to_json()) == overall


def test_the_order_of_arrival_changes_nothing() -> None:
    found = []
    for seed in range(3):
        order = list(range(15))
        random.Random(seed).shuffle(order)
        scorer = Scorer([Share()], instances(15))
        for i in order:
            scorer.add(state(i), says(str(0.1 * i)))
        found.append(scorer.stats())
    assert found[0] == found[1] == found[2]


def test_trials_are_measured_apart_and_averaged() -> None:
    scorer = Scorer([Share()], instances(2), num_train_trials=2)
    for trial, texts in enumerate((("1", "2"), ("0", "1"))):
        for i, text in enumerate(texts):
            scorer.add(state(i, trial), says(text))
    overall = corpus_stats(scorer)["all"]
    assert list(overall.trial_means) == pytest.approx([1, 1 / 3])
    assert overall.mean == pytest.approx(2 / 3)
    assert overall.n == 4


def test_failures_and_units_without_evidence_stay_out() -> None:
    scorer = Scorer([Share()], instances(4))
    scorer.add(state(0), says("1"))
    scorer.add(state(1), says("-"))
    scorer.add(state(2), says("not a number"))
    scorer.add(state(3), Failure("timeout", "no answer"))
    overall = corpus_stats(scorer)["all"]
    assert (overall.n, overall.n_failed, overall.mean, overall.stderr) == (1, 3, 1.0, None)
    reasons = [row.reason for row in scorer.rows()]
    assert reasons == [None, METRIC_ERROR, METRIC_ERROR, "timeout"]


def test_nothing_answered_gives_no_number() -> None:
    overall = corpus_stats(Scorer([Share()], instances(2)))["all"]
    assert (overall.mean, overall.n, overall.n_total, overall.ci95) == (None, 0, 2, None)


def test_one_cluster_has_no_error_and_clusters_are_drawn_whole() -> None:
    def mean(rows: Sequence[Row]) -> Mapping[str, float]:
        return {"mean": sum(row[0] for row in rows) / len(rows)}

    alone = RunLevelRows(1, [(0.0,), (1.0,)], clusters=[7, 7], trials=[0, 0])
    assert alone.values(("mean",), mean)["mean"].stderr is None
    rows = RunLevelRows(1, [(float(i // 10),) for i in range(100)], [i // 10 for i in range(100)], [0] * 100)
    apart = RunLevelRows(1, rows.rows, list(range(100)), [0] * 100)
    clustered, independent = (r.values(("mean",), mean)["mean"].stderr for r in (rows, apart))
    assert clustered is not None
    assert independent is not None
    assert independent == pytest.approx(0.287, rel=0.25)
    assert clustered > 2 * independent


def test_too_many_rows_have_no_error() -> None:
    n = MAX_RESAMPLED_ROWS // NUM_RESAMPLES + 1
    rows = RunLevelRows(1, [(1.0,)] * n, list(range(n)), [0] * n)
    value = rows.values(("n",), lambda given: {"n": float(len(given))})["n"]
    assert (value.value, value.stderr) == (n, None)


@pytest.mark.parametrize("given", [{"other": 1.0}, {"n": float("nan")}, {"n": None}])
def test_what_was_not_announced_or_is_no_number_is_a_problem(given: dict[str, float]) -> None:
    rows = RunLevelRows(1, [(1.0,)], [0], [0])
    value = rows.values(("n",), lambda _: given)["n"]
    assert (value.value, value.stderr, value.trial_values) == (None, None, (None,))
    assert value.problem is not None
    assert "run_level_names" in value.problem or "must be finite numbers" in value.problem


def test_one_number_over_all_units_that_fails_takes_no_other_with_it() -> None:
    rows = RunLevelRows(1, [(1.0,), (3.0,)], [0, 1], [0, 0])
    found = rows.values(("sum", "odd"), lambda given: {"sum": sum(r[0] for r in given), "odd": math.inf})
    assert (found["sum"].value, found["sum"].problem) == (4.0, None)
    assert found["sum"].stderr is not None
    assert (found["odd"].value, found["odd"].stderr) == (None, None)


def test_a_resample_that_fails_leaves_the_number_without_an_error() -> None:
    def ratio(given: Sequence[Row]) -> Mapping[str, float]:
        return {"ratio": 1 / sum(row[0] for row in given), "n": float(len(given))}

    rows = RunLevelRows(1, [(0.0,), (1.0,)], [0, 1], [0, 0])
    found = rows.values(("ratio", "n"), ratio)
    assert (found["ratio"].value, found["ratio"].stderr, found["ratio"].problem) == (1.0, None, None)


class Undefined(Share):
    """Raises over some slices."""

    def run_level_scores(self, rows: Sequence[Row]) -> Mapping[str, float]:
        if any(row[0] < 0 for row in rows):
            raise ZeroDivisionError("nothing to divide by")
        return super().run_level_scores(rows)


class Answered(Metric):
    name = "answered"
    names = ("answered",)

    def score(self, unit: Unit) -> Mapping[str, float]:
        return {"answered": 1.0}


def test_a_number_over_all_units_fails_in_its_own_column_only() -> None:
    scorer = Scorer([Undefined(), Answered()], instances(6))
    for i, text in enumerate(["1", "-", "not a number", "-1", "2"]):
        scorer.add(state(i), says(text))
    found = {(s.name, s.split): (s.mean, s.n, s.n_failed, s.n_total) for s in scorer.stats()}
    assert found["answered", "all"] == (1.0, 5, 0, 6)
    # Instances 1, 3 and 5 are of one split, 0, 2 and 4 of the other: only the first has the negative row.
    assert found["share", "all"] == (None, 0, 4, 6)
    assert found["share", "test"] == (None, 0, 1, 3)
    assert found["share", "valid"] == (0.5, 2, 1, 3)
    rows = list(scorer.rows())
    assert [row.status for row in rows] == [*["scored"] * 5, "missing"]
    assert [[*(row.failed_scores or {})] for row in rows] == [[], [], ["share"], [], [], []]
    assert scorer.unscored.num_units == 4
    assert scorer.unscored.by_score == {"share": 4}
    said = "metric 'share' gave no share over all units: ZeroDivisionError: nothing to divide by"
    assert scorer.remarks() == [said]


def test_two_metrics_of_one_number_are_refused() -> None:
    twin = Share()
    twin.name = "twin"
    with pytest.raises(UsageError, match="metric 'share' and metric 'twin' both give 'share'"):
        Scorer([Share(), twin], instances(1))


def test_a_mean_of_parts_has_the_error_of_a_stratified_mean() -> None:
    """Worked out by hand: parts of 8, 6 and of 3, 1, 2; two values of one cluster count as one."""
    rows = RunLevelRows(1)
    for number, (part, values) in enumerate(
        [("x", (8.0,)), ("x", (6.0,)), ("y", (3.0, 3.0)), ("y", (1.0, 1.0)), ("y", (2.0, 2.0))]
    ):
        rows.add((part, values), number, 0)
    found = rows.values(["both"], lambda given: {"both": MeanOfParts.of(given)})["both"]
    stat = Stat.of_run_level(Label("both"), found, 5, 0, 5)
    # s² is 2 over 2 clusters, and 1 over 3: variances 1 and 1/3.
    assert stat.mean == 4.5
    assert stat.stderr == pytest.approx(math.sqrt(1 + 1 / 3) / 2)
    freedom = (1 + 1 / 3) ** 2 / (1 / 1 + (1 / 9) / 2)
    assert found.degrees_of_freedom == pytest.approx(freedom)
    assert stat.ci95 is not None
    assert stat.ci95[1] - 4.5 == pytest.approx(two_sided_limit(0.05, freedom) * math.sqrt(4 / 3) / 2)
    assert stat.ci95_method == "clustered_t"


def test_a_part_of_one_question_has_no_error() -> None:
    rows = RunLevelRows(1)
    for number, part in enumerate("xxy"):
        rows.add((part, (float(number),)), number, 0)
    found = rows.values(["both"], lambda given: {"both": MeanOfParts.of(given)})["both"]
    assert (found.value, found.stderr) == (1.25, None)


@pytest.mark.parametrize("number", [0.0, 0.5])
def test_numbers_that_never_vary_have_no_interval(number: float) -> None:
    """A resample that gives the same says nothing of other questions."""
    rows = RunLevelRows(1)
    for position in range(8):
        rows.add((position,), position, 0)
    found = rows.values(["n"], lambda _: {"n": number})["n"]
    stat = Stat.of_run_level(Label("n"), found, 8, 0, 8)
    assert (stat.mean, stat.ci95, stat.ci95_method) == (number, None, None)
    alike = Stat.of(Label("rating"), Observations([4.0] * 5, range(5), [0] * 5, 0, 5))
    assert (alike.mean, alike.ci95) == (4.0, None)
