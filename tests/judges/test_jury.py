from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UnclearVerdict
from evalkit.judges.jury import Jury, JuryVerdict, NoVerdict
from evalkit.judges.verdicts import Verdict

FAILED = NoVerdict("timeout")


def opinions(*given: Verdict | NoVerdict) -> dict[str, Verdict | NoVerdict]:
    return {f"judge{number}": each for number, each in enumerate(given)}


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (("A", "A", "B"), JuryVerdict("A", 3, 3, 2)),
        (("A", "tie", "tie"), JuryVerdict("tie", 3, 3, 2)),
        (("A", "A", FAILED), JuryVerdict("A", 2, 3, 2)),
        ((7.0, 7.0, 9.0), JuryVerdict(7.0, 3, 3, 2)),
        (("B",), JuryVerdict("B", 1, 1, 1)),
        (("A", "B"), None),
        (("A", "B", "tie"), None),
        (("A", "A", "B", "B"), None),
        (("A", "A", "B", "tie"), None),
        (("A", FAILED), None),
        (("A", FAILED, FAILED), None),
        ((FAILED, FAILED), None),
        ((), None),
    ],
)
def test_majority(given: tuple[Verdict | NoVerdict, ...], verdict: JuryVerdict | None) -> None:
    jury = Jury(rule="majority")
    if verdict is not None:
        assert jury.decide(opinions(*given)) == verdict
        return
    with pytest.raises(UnclearVerdict):
        jury.decide(opinions(*given))


def test_mean_and_median_with_their_number() -> None:
    assert Jury(rule="mean").decide(opinions(7.0, 8.0, 10.0)) == JuryVerdict(25 / 3, 3, 3)
    assert Jury(rule="median").decide(opinions(7.0, 8.0, 10.0)) == JuryVerdict(8.0, 3, 3)
    assert Jury(rule="median").decide(opinions(7.0, 8.0, 9.0, 10.0)) == JuryVerdict(8.5, 4, 4)


@pytest.mark.parametrize("rule", ["mean", "median"])
def test_a_judge_that_fails_is_never_left_out_unasked(rule: str) -> None:
    given = opinions(7.0, FAILED, 9.0)
    with pytest.raises(
        UnclearVerdict, match=r"2 of 3 judges gave a verdict, 3 are needed \(judge1: timeout\)"
    ):
        Jury.model_validate({"rule": rule}).decide(given)
    two = Jury.model_validate({"rule": rule, "min_verdicts": 2})
    assert two.decide(given) == JuryVerdict(8.0, 2, 3)
    with pytest.raises(UnclearVerdict, match="1 of 2 judges"):
        two.decide(opinions(7.0, FAILED))


def test_preferences_have_no_mean() -> None:
    with pytest.raises(TypeError, match="use majority"):
        Jury(rule="mean").decide(opinions("A", "B"))


def test_a_split_jury_says_how_it_voted() -> None:
    with pytest.raises(UnclearVerdict, match="more than half of 3 judges: A: 1, B: 1 \\(judge2: timeout\\)"):
        Jury(rule="majority").decide(opinions("A", "B", FAILED))


@given(st.lists(st.integers(1, 10).map(float), min_size=1, max_size=7), st.randoms())
def test_the_order_of_judges_changes_nothing(ratings: list[float], random: object) -> None:
    import random as module

    assert isinstance(random, module.Random)
    shuffled = random.sample(ratings, len(ratings))
    for rule, expected in (("mean", statistics.fmean(ratings)), ("median", statistics.median(ratings))):
        jury = Jury.model_validate({"rule": rule})
        assert jury.decide(opinions(*shuffled)) == jury.decide(opinions(*ratings))
        assert jury.decide(opinions(*ratings)).verdict == pytest.approx(expected)
