"""A conversation is one unit: scored when it is over, its answers by turn, whatever order they come in."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from evalkit.errors import UsageError
from evalkit.instance import Instance, Reference
from evalkit.request import Request, RequestState, next_turn
from evalkit.response import Completion, Failure, Response
from evalkit.scoring.metric import Metric
from evalkit.scoring.scorer import Scorer
from evalkit.scoring.unit import Answer, Unit

INSTANCE = Instance("Hi", (Reference("12", ("correct",)),), "test", "a")


class Order(Metric):
    names = ("in_order",)

    def score(self, unit: Unit) -> Mapping[str, float]:
        texts = [answer.response.completions[0].text for answer in unit.turns]
        assert unit.answer.response.completions[0].text == texts[-1]
        assert unit.predictions() == [texts[-1]]
        return {"in_order": float(texts == [str(turn) for turn in range(1, len(texts) + 1)])}


def talk(num: int, size: int = 12) -> list[tuple[RequestState, Response]]:
    state = RequestState("t0/a", "a", 0, Request("Hi"), unit_size=size, turn=1)
    pairs = []
    for turn in range(1, num + 1):
        pairs.append((state, Response((Completion(str(turn)),))))
        state = next_turn(state, Request("Hi"))
    return pairs


def scorer(last: int | None = None) -> Scorer:
    metric = Order()
    metric.name = "order"
    is_over = None if last is None else lambda _, state, response: state.turn == last
    return Scorer([metric], [INSTANCE], is_over=is_over)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("last", [None, 7])
def test_turns_are_in_order_whatever_order_they_come_in(seed: int, last: int | None) -> None:
    pairs = talk(last or 12)
    random.Random(seed).shuffle(pairs)
    scoring = scorer(last)
    for number, (state, response) in enumerate(pairs):
        assert scoring.n_answered == 0, number
        scoring.add(state, response)
    assert (scoring.n_answered, scoring.n_scored) == (1, 1)
    assert scoring.progress == {"in_order": 1.0}


def test_a_failed_turn_fails_the_conversation_until_it_is_answered() -> None:
    pairs = talk(3, size=3)
    scoring = scorer()
    scoring.add(*pairs[0])
    scoring.add(pairs[1][0], Failure("timeout", "late"))
    assert (scoring.n_failed, scoring.n_answered) == (1, 0)
    scoring.add(*pairs[1])
    assert (scoring.n_failed, scoring.n_answered) == (0, 0)
    scoring.add(*pairs[2])
    assert (scoring.n_failed, scoring.n_scored) == (0, 1)


def test_what_is_no_conversation_has_no_turns() -> None:
    response = Response((Completion("yes"),))
    single = Answer(RequestState("t0/a", "a", 0, Request("Hi")), response)
    assert Unit(INSTANCE, 0, 0, (single,)).turns == (single,)
    parts = tuple(
        Answer(RequestState(f"t0/a/r{n}", "a", 0, Request("Hi"), reference_index=n, unit_size=2), response)
        for n in range(2)
    )
    with pytest.raises(UsageError, match="reference by reference"):
        _ = Unit(INSTANCE, 0, 0, parts).turns
