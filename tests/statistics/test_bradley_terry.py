from __future__ import annotations

import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.statistics.bradley_terry import NoFiniteStrengthError, Win, bradley_terry

WINS: list[list[float]] = [[0, 7, 8, 9], [3, 0, 6, 7], [2, 4, 0, 5.5], [1, 3, 4.5, 0]]


def games_of(wins: list[list[float]]) -> list[Win]:
    names = "abcdefgh"
    return [Win(names[i], names[j], n) for i, row in enumerate(wins) for j, n in enumerate(row) if n]


def test_strengths_with_their_intervals() -> None:
    fit = bradley_terry(games_of(WINS))
    assert list(fit.strengths) == ["a", "b", "c", "d"]
    strengths = [fit.strength(name) for name in "abcd"]
    expected = [1.0673657, 0.0973791, -0.4065297, -0.7582151]
    assert [each.value for each in strengths] == pytest.approx(expected, abs=1e-6)
    errors = [0.3472353, 0.2958864, 0.3009701, 0.3171304]
    assert [each.stderr for each in strengths] == pytest.approx(errors, abs=1e-6)
    assert [fit.elo(name).value for name in "abcd"] == pytest.approx(
        [1185.42, 1016.92, 929.38, 868.28], abs=0.005
    )
    lead = fit.difference("a", "b")
    assert lead.value is not None
    assert lead.stderr == pytest.approx(0.5215640, abs=1e-6)
    assert lead.value / 0.5215640 == pytest.approx(1.8597653, abs=1e-6)
    assert sum(fit.strengths.values()) == pytest.approx(0, abs=1e-12)


def test_as_a_logistic_regression_of_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    source = random.Random(2)
    skill = {"a": 1.0, "b": 0.3, "c": 0.0, "d": -0.8, "e": -0.5}
    wins = []
    for _ in range(400):
        i, j = source.sample(sorted(skill), 2)
        is_win = source.random() < 1 / (1 + math.exp(skill[j] - skill[i]))
        wins.append(Win(i, j) if is_win else Win(j, i))
    # e is the reference of strength 0.
    rows = [[float(win.winner == name) - float(win.loser == name) for name in "abcd"] for win in wins]
    turned = [[-x for x in row] if k % 2 else row for k, row in enumerate(rows)]
    model = linear.LogisticRegression(C=1e12, fit_intercept=False, tol=1e-12, max_iter=10_000)
    model.fit(turned, [1 - k % 2 for k in range(len(rows))])
    theta = [*model.coef_[0], 0.0]
    centre = sum(theta) / 5
    fit = bradley_terry(wins)
    assert [fit.strengths[name] for name in "abcde"] == pytest.approx([t - centre for t in theta], abs=1e-4)


def test_errors_over_questions_are_those_of_a_bootstrap_over_questions() -> None:
    source = random.Random(4)
    skill = {"a": 0.8, "b": 0.0, "c": -0.4}

    def question(number: int) -> Iterator[Win]:
        # All verdicts on a question lean to one side, so that they are far from independent.
        lean = {name: skill[name] + source.gauss(0, 1.5) for name in skill}
        for i, j in (("a", "b"), ("a", "c"), ("b", "c")):
            for _ in range(4):
                is_win = source.random() < 1 / (1 + math.exp(lean[j] - lean[i]))
                yield Win(i, j, 1, number) if is_win else Win(j, i, 1, number)

    questions = [list(question(number)) for number in range(150)]
    fit = bradley_terry([win for each in questions for win in each])
    draws = []
    for _ in range(300):
        drawn = [win for each in source.choices(questions, k=len(questions)) for win in each]
        draws.append(bradley_terry([Win(w.winner, w.loser) for w in drawn]).strengths["a"])
    mean = sum(draws) / len(draws)
    spread = math.sqrt(sum((draw - mean) ** 2 for draw in draws) / len(draws))
    clustered = fit.strength("a").stderr
    assert clustered == pytest.approx(spread, rel=0.2)
    flat = bradley_terry([Win(w.winner, w.loser) for each in questions for w in each]).strength("a").stderr
    assert clustered is not None
    assert flat is not None
    assert clustered > 1.3 * flat
    assert fit.num_questions == 150


def test_a_tie_is_half_a_win_for_each() -> None:
    tied = [
        Win("a", "b", 0.5, 1),
        Win("b", "a", 0.5, 1),
        Win("a", "b", 1, 2),
        Win("b", "a", 0.5, 3),
        Win("a", "b", 0.5, 3),
    ]
    fit = bradley_terry(tied)
    # 2 of 3 points: the log-odds of the lead are ln 2.
    assert fit.difference("a", "b").value == pytest.approx(math.log(2))
    assert fit.num_games == 3


@pytest.mark.parametrize(
    ("games", "message"),
    [
        ([], "no games"),
        ([Win("a", "a")], "no games between different models"),
        ([Win("a", "b")], "a won every game against b, so their lead has no limit"),
        ([Win("a", "b"), Win("b", "a"), Win("c", "d"), Win("d", "c")], "a, b never met c, d"),
        ([Win("a", "b"), Win("b", "a"), Win("c", "a"), Win("c", "b")], "c won every game against a, b"),
        ([Win("a", "b"), Win("b", "a"), Win("a", "c"), Win("b", "c")], "a, b won every game against c"),
        ([Win("a", "b"), Win("b", "c")], "won every game against"),
    ],
)
def test_games_that_do_not_determine_strengths(games: list[Win], message: str) -> None:
    with pytest.raises(NoFiniteStrengthError, match=message):
        bradley_terry(games)
    if message.startswith("no games"):
        return
    with pytest.raises(NoFiniteStrengthError, match="fit with a ridge"):
        bradley_terry(games)
    fit = bradley_terry(games, ridge=0.1)
    assert fit.ridge == 0.1
    assert all(math.isfinite(value) for value in fit.strengths.values())


def test_a_cycle_is_enough() -> None:
    fit = bradley_terry([Win("a", "b"), Win("b", "c"), Win("c", "a")])
    assert list(fit.strengths.values()) == pytest.approx([0, 0, 0])


def test_one_question_has_no_interval() -> None:
    fit = bradley_terry([Win("a", "b", 2, 1), Win("b", "a", 1, 1)])
    assert fit.strength("a").ci95 is None
    assert "one question" in fit.strength("a").reason


@given(st.permutations(games_of(WINS)), st.integers(1, 5))
def test_order_of_games_changes_nothing_and_more_of_them_sharpen(games: list[Win], times: int) -> None:
    one, more = bradley_terry(games_of(WINS)), bradley_terry(games * times)
    assert list(more.strengths) == list(one.strengths)
    for name in "abcd":
        assert more.strengths[name] == pytest.approx(one.strengths[name], abs=1e-9)
        first, second = one.strength(name).stderr, more.strength(name).stderr
        assert first is not None
        assert second == pytest.approx(first / math.sqrt(times))


def test_a_close_lead_of_thousands_of_games_converges() -> None:
    fit = bradley_terry([Win("a", "b", 100_000), Win("b", "a", 1), Win("b", "c", 100_000), Win("c", "b", 1)])
    assert fit.difference("a", "b").value == pytest.approx(math.log(100_000), abs=1e-6)
    assert fit.difference("a", "c").value == pytest.approx(2 * math.log(100_000), abs=1e-6)
