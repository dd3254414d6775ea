from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pytest

from evalkit.data import DataStore
from evalkit.errors import UsageError
from evalkit.instance import Instance
from evalkit.scenarios.arithmetic import ArithmeticScenario

Operation = Literal["add", "subtract", "multiply"]


def made(**args: object) -> list[Instance]:
    store = DataStore(cache=Path("unused"), offline=True)
    return list(ArithmeticScenario(**args).instances(store))  # type: ignore[arg-type]


@pytest.mark.parametrize(("operation", "sign"), [("add", "+"), ("subtract", "-"), ("multiply", "*")])
@pytest.mark.parametrize("digits", [1, 2, 9])
def test_the_reference_is_the_result(operation: Operation, sign: str, digits: int) -> None:
    instances = made(operation=operation, digits=digits, num_test=50)
    assert [i.split for i in instances] == ["train"] * 20 + ["test"] * 50
    for instance in instances:
        found = re.fullmatch(r"What is (\d+) (.) (\d+)\?", instance.input)
        assert found is not None
        assert found[2] == sign
        assert len(found[1]) == len(found[3]) == digits
        left, right = int(found[1]), int(found[3])
        expected = {"+": left + right, "-": left - right, "*": left * right}[sign]
        assert [(r.text, r.is_correct) for r in instance.references] == [(str(expected), True)]


def test_no_question_twice_while_there_are_others() -> None:
    everything = made(digits=2, num_test=8100 - 20)
    assert len({i.input for i in everything}) == 8100
    twice = made(digits=1, num_test=200 - 20)
    assert len({i.input for i in twice}) == 100
    assert len({i.input for i in twice[:100]}) == 100


def test_the_seed_decides() -> None:
    assert made(seed=1) == made(seed=1)
    assert made(seed=1) != made(seed=2)


@pytest.mark.parametrize("args", [{"digits": 0}, {"digits": 10}, {"num_test": 0}])
def test_impossible_arguments(args: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(args))):
        ArithmeticScenario(**args)  # type: ignore[arg-type]
