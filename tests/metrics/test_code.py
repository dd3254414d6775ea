from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import evalkit.metrics.code
from evalkit.errors import DataError, UsageError
from evalkit.metrics.code import pass_at_k
from evalkit.response import Completion
from evalkit.sandbox.program import Program
from evalkit.sandbox.verdict import Verdict
from evalkit.specs.run_spec import AdapterSpec
from tests.metrics.units import built, instance, unit

CASE = {"prompt": "def one():\n", "test": "def check(f):\n    assert f() == 1", "entry_point": "one"}
TWO = AdapterSpec(method="generation", num_outputs=2)


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    evalkit.metrics.code._passes.cache_clear()


def test_the_estimator_is_helms(golden: Callable[[str], Any]) -> None:
    for case in golden("metrics.json")["pass_at_k"]:
        assert pass_at_k(case["n"], case["c"], case["k"]) == pytest.approx(case["value"], abs=1e-9)
    assert pass_at_k(4, 2, 2) == pytest.approx(5 / 6)


def test_the_likeliest_program_and_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = []

    def run(program: str, timeout_s: float) -> Execution:
        programs.append((program, timeout_s))
        return Execution("passed" if "return 1" in program else "failed")

    monkeypatch.setattr(evalkit.metrics.code, "run_program", run)
    asked = instance("    return 1", extra={"test_cases": CASE})
    wrong, right = Completion("    return 2", logprob=-1.0), Completion("    return 1", logprob=-2.0)
    scored = unit(asked, right, wrong)
    assert built("code_eval_acc", TWO).score(scored) == {"code_eval_acc": 0, "code_eval_acc@2": 1}
    assert built("pass", TWO, timeout=1.0).score(scored) == {"pass": 0.5, "pass@2": 1}
    assert built("pass").score(unit(asked, right)) == {"pass": 1}
    assert len(programs) == 4
    assert programs[0][0] == ("def one():\n    return 2\ndef check(f):\n    assert f() == 1\ncheck(one)")
    assert {timeout for _, timeout in programs} == {3.0, 1.0}


def test_a_program_that_could_not_be_isolated_is_no_wrong_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evalkit.metrics.code, "run_program", lambda *_: Execution("unavailable", "no user"))
    asked = unit(instance("x", extra={"test_cases": CASE}), "    return 1")
    with pytest.raises(UsageError, match="could not be isolated: no user"):
        built("code_eval_acc").score(asked)


def test_what_can_not_be_scored_is_refused() -> None:
    with pytest.raises(DataError, match="'id0' has none"):
        built("pass").check(instance("x"))
    with pytest.raises(UsageError, match="timeout of 0"):
        built("pass", timeout=0)


def test_humanevals_own_solutions_pass_and_others_fail(data_dir: Path) -> None:
    lines = (data_dir / "humaneval" / "HumanEval.jsonl").read_text(encoding="utf-8").splitlines()
    metric = built("code_eval_acc")
    for row in map(json.loads, lines[:20]):
        asked = instance(row["canonical_solution"], extra={"test_cases": row}, name=row["task_id"])
        try:
            metric.check(asked)
        except UsageError as missing:
            pytest.skip(str(missing))
        assert metric.score(unit(asked, row["canonical_solution"])) == {"code_eval_acc": 1}, row["task_id"]
        assert metric.score(unit(asked, "    return None\n")) == {"code_eval_acc": 0}, row["task_id"]
