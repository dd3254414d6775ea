from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import DataError, UsageError
from evalkit.instance import Instance, Reference
from evalkit.metrics.ranking import ndcg, recall, reciprocal_rank, success
from evalkit.request import Request, RequestState
from evalkit.response import Completion, Response
from evalkit.scoring.unit import Answer, Unit
from evalkit.specs.run_spec import AdapterSpec
from tests.scoring.units import built

RANKING = AdapterSpec(method="ranking_binary")
NAMES = ["recip_rank.2", "ndcg_cut.3", "success.1", "recall.2"]


def passages(*tags: tuple[str, ...]) -> Instance:
    return Instance("?", tuple(Reference(str(i), t) for i, t in enumerate(tags)), "test", id="id0")


def asked(instance: Instance, *said: tuple[str, float | None]) -> Unit:
    answers = tuple(
        Answer(
            RequestState(f"t0/id0/r{i}", "id0", 0, Request("?"), reference_index=i, unit_size=len(said)),
            Response((Completion(text, logprob=logprob),)),
        )
        for i, (text, logprob) in enumerate(said)
    )
    return Unit(instance, 0, 0, answers)


def test_yes_before_no_and_the_likelier_yes_first() -> None:
    instance = passages((), ("relevance=1",), (), ("relevance=1",))
    unit = asked(instance, (" No", -3.0), ("yes", -2.0), ("Yes", -1.0), ("No", -1.0))
    scores = built("ranking", RANKING, measure_names=NAMES).score(unit)
    # The order is 2, 1, 0 (the less likely no), 3.
    assert [scores[f"ref{i}_rank"] for i in range(4)] == [3, 2, 1, 4]
    assert scores["RR@2"] == 0.5
    assert scores["success@1"] == 0
    assert scores["recall@2"] == 0.5
    assert scores["NDCG@3"] == pytest.approx(0.6309297535714575 / 1.6309297535714575)


def test_what_is_neither_comes_last() -> None:
    unit = asked(passages((), ("relevance=1",)), ("maybe", -9.0), ("No", -0.1))
    assert built("ranking", RANKING).score(unit)["ref1_rank"] == 1


def test_graded_relevance_counts_one_as_not_relevant_but_for_ndcg() -> None:
    instance = passages(("relevance=1",), ("relevance=3",))
    unit = asked(instance, ("yes", -0.1), ("yes", -0.2))
    metric = built("ranking", RANKING, measure_names=NAMES, multiple_relevance_values=True)
    scores = metric.score(unit)
    assert (scores["RR@2"], scores["success@1"]) == (0.5, 0)
    assert 0 < scores["NDCG@3"] < 1


def test_the_first_n_of_the_retrieval_are_measured_alone() -> None:
    instance = passages(("rank=3", "relevance=1"), ("rank=1",), ("rank=2", "relevance=1"))
    unit = asked(instance, ("yes", -0.1), ("yes", -0.2), ("yes", -0.3))
    metric = built("ranking", RANKING, measure_names=["recip_rank.5"], rank=2)
    assert metric.names == ("RR@5", "RR@5 (topk=2)")
    scores = metric.score(unit)
    assert (scores["RR@5"], scores["RR@5 (topk=2)"]) == (1, 0.5)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8).filter(any), st.integers(1, 10))
@settings(max_examples=50, deadline=None)
def test_measures_are_trec_evals(ranked: list[int], k: int) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    judged = {"q": {f"d{i}": gain for i, gain in enumerate(ranked)}}
    run = {"q": {f"d{i}": float(len(ranked) - i) for i in range(len(ranked))}}
    wanted = {f"ndcg_cut.{k}", f"success.{k}", f"recall.{k}", "recip_rank"}
    found = pytrec_eval.RelevanceEvaluator(judged, wanted).evaluate(run)["q"]
    assert ndcg(ranked, ranked, k) == pytest.approx(found[f"ndcg_cut_{k}"], abs=1e-9)
    assert success(ranked, ranked, k) == found[f"success_{k}"]
    assert recall(ranked, ranked, k) == pytest.approx(found[f"recall_{k}"], abs=1e-9)
    assert reciprocal_rank(ranked, ranked, len(ranked)) == pytest.approx(found["recip_rank"], abs=1e-9)


def test_nothing_relevant_is_no_division_by_zero() -> None:
    assert (ndcg([0], [0], 1), recall([0], [0], 1), reciprocal_rank([0], [0], 1)) == (0, 0, 0)


def test_what_is_wrong_is_told() -> None:
    with pytest.raises(UsageError, match=r"'ndcg.10' is not a measure .* did you mean 'ndcg_cut.10'"):
        built("ranking", RANKING, measure_names=["ndcg.10"])
    with pytest.raises(DataError, match="'relevance=much'"):
        built("ranking", RANKING).check(passages(("relevance=much",)))
    with pytest.raises(DataError, match="rank=1 to rank=2"):
        built("ranking", RANKING, rank=2).check(passages(("rank=7",)))
    with pytest.raises(DataError, match="no log-probability"):
        built("ranking", RANKING).score(asked(passages(()), ("yes", None)))
    assert built("ranking").names == ()
