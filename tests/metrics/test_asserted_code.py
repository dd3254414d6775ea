from __future__ import annotations

from typing import Any

import pytest

import evalkit.metrics.code
from evalkit.errors import DataError, UsageError
from evalkit.metrics.asserted_code import original_program
from evalkit.sandbox import execute as judging
from evalkit.scoring.metric import Metric
from evalkit.specs.run_spec import AdapterSpec
from tests.scoring.units import built, instance, unit

MBPP = {
    "test_list": [
        "assert set(similar_elements((3, 4, 5, 6), (5, 7, 4, 10))) == set((4, 5))",
        "assert set(similar_elements((1, 2, 3, 4), (5, 4, 3, 7))) == set((3, 4))",
    ],
    "test_imports": [],
}
RIGHT = "def similar_elements(a, b):\n    return tuple(set(a) & set(b))"
JHUMANEVAL = "['assert add(2, 3) == 5', 'assert add(-1, 1) == 0']"
ADD = "def add(x, y):\n    return x + y"


@pytest.fixture
def sandbox() -> None:
    try:
        judging.require_sandbox()
    except UsageError as missing:
        pytest.skip(str(missing))
    evalkit.metrics.code._verdict.cache_clear()


def score(metric: Metric, said: str, gold: str = "", cases: Any = None) -> float:
    extra = None if cases is None else {"test_cases": cases}
    asked = instance(*[gold] if gold else [], extra=extra)
    metric.check(asked)
    return metric.score(unit(asked, said))["code_exec"]


@pytest.mark.usefixtures("sandbox")
def test_rows_of_mbpp() -> None:
    metric = built("code_exec")
    assert score(metric, f"```python\n{RIGHT}\n```", cases=MBPP) == 1
    assert score(metric, f"はい。\n{RIGHT}", cases=MBPP) == 1
    # Right for the first assertion only: a share of the assertions would give 1/2.
    assert score(metric, "def similar_elements(a, b):\n    return (4, 5)", cases=MBPP) == 0
    assert score(metric, "def other(a, b):\n    return (4, 5)", cases=MBPP) == 0
    assert score(metric, "", cases=MBPP) == 0


@pytest.mark.usefixtures("sandbox")
def test_setup_and_helpers_of_a_row() -> None:
    setup = "import math\nGOLD = 2.0"
    row = {"test_setup_code": setup, "test_list": ["assert math.isclose(root(4), GOLD)"]}
    assert score(built("code_exec"), "def root(x): return x ** 0.5", cases=row) == 1
    assert score(built("code_exec"), "def root(x): return x", cases=row) == 0


@pytest.mark.usefixtures("sandbox")
def test_jasters_jhumaneval_has_its_tests_as_the_right_answer() -> None:
    metric = built("code_exec")
    assert score(metric, ADD, gold=JHUMANEVAL) == 1
    assert score(metric, ADD.replace("+", "-"), gold=JHUMANEVAL) == 0
    assert metric.full_marks == {}
    case = {"prompt": "", "entry_point": "add", "test": "def check(add):\n    assert add(2, 3) == 5"}
    assert score(metric, ADD, cases=case) == 1


@pytest.mark.usefixtures("sandbox")
def test_a_program_that_ends_the_tests_does_not_pass() -> None:
    """Run in one process with its tests, as naive executors do, these would pass."""
    for trick in ("import os\nos._exit(0)", "raise SystemExit", "import sys\nsys.exit(0)"):
        assert score(built("code_exec"), f"```\n{trick}\n{ADD}\n```", gold=JHUMANEVAL) == 0
    equal = "class E:\n    def __eq__(self, other):\n        return True\ndef add(x, y):\n    return E()"
    assert score(built("code_exec"), f"```\n{equal}\n```", gold=JHUMANEVAL) == 0


@pytest.mark.usefixtures("sandbox")
def test_where_the_originals_reading_fails() -> None:
    said = f"例：\n```\nadd(1, 2)\n```\n答え：\n```python\n{ADD}\n```"
    assert score(built("code_exec"), said, gold=JHUMANEVAL) == 0
    assert score(built("code_exec", answers="blocks"), said, gold=JHUMANEVAL) == 1
    behind = f"{ADD}\n\nこれで終わりです。"
    assert score(built("code_exec"), behind, gold=JHUMANEVAL) == 0
    assert score(built("code_exec", answers="blocks"), behind, gold=JHUMANEVAL) == 1


@pytest.mark.usefixtures("sandbox")
def test_one_of_several() -> None:
    metric = built("code_exec", AdapterSpec(method="generation", num_outputs=2))
    assert metric.score(unit(instance(JHUMANEVAL), "x", ADD)) == {"code_exec": 0, "code_exec@2": 1}


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("a\n```python\nx = 1\n```\n```\ny\n```", "x = 1"),
        ("```x = 1```", "= 1"),  # as the original: what stands behind the fence is the language
        ("です。def f():\n    pass\nend", "def f():\n    pass\nend"),
        ("x = '１'", "x = '１'"),
        ("", ""),
    ],
)
def test_the_originals_reading(text: str, program: str) -> None:
    assert original_program(text) == program


@pytest.mark.parametrize(
    ("gold", "cases", "message"),
    [
        ("", None, "needs extra"),
        ("3", None, "needs extra"),
        ("[1, 2]", None, "needs extra"),
        ("['assert (']", None, "can't be run"),
        ("['assert 1 == 1']", None, "call no function"),
        ("x", {"test_list": "assert f()"}, "not a list"),
        ("x", {"test_list": []}, "needs extra"),
        ("x", {"prompt": "p"}, "test_cases"),
    ],
)
def test_what_is_refused(gold: str, cases: Any, message: str) -> None:
    extra = None if cases is None else {"test_cases": cases}
    with pytest.raises(DataError, match=message):
        built("code_exec").check(instance(gold, extra=extra))
