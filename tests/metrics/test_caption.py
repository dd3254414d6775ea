from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import DataError
from evalkit.metrics.caption import cider_d
from evalkit.request import Request, RequestState, request_key
from evalkit.response import Completion, Response
from evalkit.scoring.scorer import Scorer
from tests.scoring.units import built, instance, over_run, unit

CAPTIONS = st.lists(st.sampled_from(["a", "red", "dog", "cat", "sits", "down"]), max_size=8).map(" ".join)
ROWS = st.lists(
    st.tuples(CAPTIONS, st.lists(CAPTIONS, min_size=1, max_size=3).map(tuple)), min_size=1, max_size=5
)


def test_by_hand() -> None:
    # "a" is in every right answer and weighs nothing; of "a dog" the word and the pair are right.
    assert cider_d([("a dog", ("a dog",)), ("a cat", ("a bird",))]) == pytest.approx([5, 0])
    # One pair of words more than the right answer; "dog" is one of two equally rare words.
    penalty = math.exp(-1 / 72)
    assert cider_d([("dog barks", ("dog",)), ("cat", ("cat",))]) == pytest.approx(
        [10 / 4 * penalty / math.sqrt(2), 10 / 4]
    )


def test_repeating_a_word_does_not_pay() -> None:
    once, often = (cider_d([(said, ("dog",)), ("cat", ("cat",))])[0] for said in ("dog", "dog dog dog"))
    assert often < once


@given(ROWS)
@settings(max_examples=80, deadline=None)
def test_as_the_official_script(rows: list[tuple[str, tuple[str, ...]]]) -> None:
    from pycocoevalcap.cider.cider import Cider

    # The script stops where no right answer has a word.
    rows = [*rows, ("a cat", ("a cat sits",))]
    mean, scores = Cider().compute_score(
        {i: list(golds) for i, (_, golds) in enumerate(rows)},
        {i: [said] for i, (said, _) in enumerate(rows)},
    )
    assert cider_d(rows) == pytest.approx(list(scores), abs=1e-9)
    units = [unit(instance(*golds), said) for said, golds in rows]
    assert over_run(built("cider"), units)["cider"] == pytest.approx(mean, abs=1e-9)


def test_case_and_punctuation_do_not_count() -> None:
    units = [unit(instance("A red dog sits."), "a red dog, sits"), unit(instance("a cat"), "A cat!")]
    assert over_run(built("cider"), units)["cider"] == pytest.approx((10 + 5) / 2)


def test_a_run_has_one_number_with_an_error_and_its_units_have_none() -> None:
    golds = ["a red dog sits down", "the cat is on a mat", "two birds", "a man runs"]
    instances = [instance(gold, name=f"id{i}") for i, gold in enumerate(golds)]
    scorer = Scorer([built("cider")], instances)
    for i, said in enumerate(["a red dog", "the cat is on a mat", "a plane", "a man"]):
        state = RequestState(request_key(f"id{i}", 0), f"id{i}", 0, Request("?"))
        scorer.add(state, Response((Completion(said),)))
    (stat,) = [s for s in scorer.stats() if s.name == "cider" and s.split == "all"]
    assert stat.mean is not None
    assert stat.stderr is not None
    assert 0 < stat.mean < 10
    assert stat.stderr > 0
    assert stat.ci95_method == "bootstrap"
    assert all(not row.scores for row in scorer.rows())


def test_a_single_unit_has_no_cider() -> None:
    assert over_run(built("cider"), [unit(instance("a cat"), "a cat")]) == {}


def test_an_instance_without_a_right_answer_is_refused() -> None:
    with pytest.raises(DataError, match="'cider' needs a right answer"):
        built("cider").check(instance())


def test_more_is_better() -> None:
    assert built("cider").lower_is_better == frozenset()
