from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import evalkit
import evalkit.metrics.code
import evalkit.metrics.output_processing
from evalkit.errors import DataError, EntryError, UsageError
from evalkit.metrics.code import pass_at_k
from evalkit.response import Completion
from evalkit.results.scores import make_scorer
from evalkit.sandbox import bubblewrap
from evalkit.sandbox import execute as judging
from evalkit.sandbox.process import NoSandboxError, SandboxProcess
from evalkit.sandbox.program import Checks, Program
from evalkit.sandbox.program_result import ProgramResult
from evalkit.scenarios.code import CodeScenario as Code
from evalkit.scoring.compatibility import refuse_machine
from evalkit.specs.run_spec import AdapterSpec, MetricSpec, RunSpec, ScenarioSpec
from tests.scoring.units import built, instance, unit

CASE = {"prompt": "def one():\n", "test": "def check(f):\n    assert f() == 1", "entry_point": "one"}
TWO = AdapterSpec(method="generation", num_outputs=2)


RUN_SPEC = RunSpec(
    name="own",
    scenario_spec=ScenarioSpec(name="code", args={"dataset": "humaneval"}),
    adapter_spec=AdapterSpec(method="generation"),
    metric_specs=(MetricSpec(name="pass"),),
)


def require_sandbox_or_skip() -> None:
    try:
        judging.require_sandbox()
    except UsageError as missing:
        pytest.skip(str(missing))


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    evalkit.metrics.code._verdict.cache_clear()


def test_the_estimator_is_helms(golden: Callable[[str], Any]) -> None:
    for case in golden("metrics.json")["pass_at_k"]:
        assert pass_at_k(case["n"], case["c"], case["k"]) == pytest.approx(case["value"], abs=1e-9)
    assert pass_at_k(4, 2, 2) == pytest.approx(5 / 6)


def test_the_likeliest_program_and_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = []

    def run(program: Program) -> ProgramResult:
        programs.append(program)
        return ProgramResult("passed" if "return 1" in program.source else "failed")

    monkeypatch.setattr(evalkit.metrics.code, "run_program", run)
    asked = instance("    return 1", extra={"test_cases": CASE})
    wrong, right = Completion("    return 2", logprob=-1.0), Completion("    return 1", logprob=-2.0)
    scored = unit(asked, right, wrong)
    assert built("code_eval_acc", TWO).score(scored) == {"code_eval_acc": 0, "code_eval_acc@2": 1}
    assert built("pass", TWO, timeout=1.0).score(scored) == {"pass": 0.5, "pass@2": 1}
    assert built("pass").score(unit(asked, right)) == {"pass": 1}
    assert len(programs) == 4
    checks = Checks("def check(f):\n    assert f() == 1\ncheck(one)", ("one",))
    assert programs[0] == Program("def one():\n    return 2\n\n", checks)
    assert {program.limits.time_s for program in programs} == {3.0, 1.0}


def test_how_programs_ended_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = {
        "1": ProgramResult("passed"),
        "2": ProgramResult("failed", "AssertionError: not two"),
        "3": ProgramResult("timeout", "not finished after 3 s"),
        "4": ProgramResult("failed"),
    }
    judged = []

    def run(program: Program) -> ProgramResult:
        judged.append(program)
        return verdicts[program.source.strip()[-1]]

    monkeypatch.setattr(evalkit.metrics.code, "run_program", run)
    asked = instance("    return 1", extra={"test_cases": CASE})

    def detail(*returned: str) -> str:
        metric = built("pass", TWO)
        scored = unit(asked, *(Completion(f"    return {value}") for value in returned))
        metric.score(scored)
        return metric.detail(scored)

    assert [detail(value) for value in verdicts] == [
        "",
        "failed: AssertionError: not two",
        "timeout: not finished after 3 s",
        "failed",
    ]
    assert detail("1", "1") == ""
    assert detail("1", "3", "2") == "1 of 3 passed; the first of the others timeout: not finished after 3 s"

    # More programs than are remembered: none runs twice, and fences are counted once.
    evalkit.metrics.code._verdict.cache_clear()
    judged.clear()
    metric = built("pass", TWO)
    scored = unit(asked, *(Completion(f"    ```{number}\n    return 2") for number in range(100)))
    metric.score(scored)
    assert metric.detail(scored).startswith("0 of 100 passed; ")
    assert len(judged) == 100
    assert metric.remarks()[0].startswith("100 completions")

    names: list[dict[str, Any]] = [{"name": "pass", "args": {}}, {"name": "code_eval_acc", "args": {}}]
    inner: dict[str, Any] = {"processor": "remove_thinking", "metric_specs": names}
    wrapped = built("output_processing", AdapterSpec(method="generation", num_outputs=1), **inner)
    scored = unit(asked, "<think>2</think>    return 3")
    wrapped.score(scored)
    assert wrapped.detail(scored) == "timeout: not finished after 3 s"


def test_a_sandbox_that_could_not_be_made_is_no_wrong_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise NoSandboxError("no process left")

    require_sandbox_or_skip()
    enter = SandboxProcess.__enter__
    monkeypatch.setattr(SandboxProcess, "__enter__", refuse)
    asked = unit(instance("x", extra={"test_cases": CASE}), "    return 1")
    with pytest.raises(UsageError, match="can't be made here: no process left"):
        built("code_eval_acc").score(asked)

    # Once is no reason to leave a program out.
    made: Iterator[Callable[..., Any]] = iter([refuse, enter])
    monkeypatch.setattr(SandboxProcess, "__enter__", lambda self: next(made)(self))
    assert built("code_eval_acc").score(asked) == {"code_eval_acc": 1}


def remove_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    judging._tried.cache_clear()
    monkeypatch.setattr(bubblewrap, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")


@pytest.fixture
def no_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without bubblewrap."""
    remove_bubblewrap(monkeypatch)
    yield
    judging._tried.cache_clear()


def test_a_machine_without_a_sandbox_is_found_before_data_is_loaded(
    no_sandbox: None, monkeypatch: pytest.MonkeyPatch, data_dir: Path, tmp_path: Path
) -> None:
    def loaded(*_: object) -> None:
        raise AssertionError("the data is loaded")

    monkeypatch.setattr(Code, "instances", loaded)
    options: dict[str, Any] = {"data_dir": data_dir, "output_path": tmp_path / "out", "max_eval_instances": 2}
    entry = "code:dataset=humaneval,model=evalkit/echo"
    with pytest.raises(EntryError, match=r"pip install 'evalkit\[sandbox\]'.*\n  code:dataset=humaneval"):
        evalkit.run(entry, **options)
    assert not (tmp_path / "out").exists()
    notes = evalkit.plan(entry, **options).notes
    assert [note for note in notes if "can't run on this machine: model-written programs" in note]

    # Others of the same plan run where that is asked for.
    monkeypatch.undo()
    remove_bubblewrap(monkeypatch)
    entries = [entry, "arithmetic:num_test=2,model=evalkit/echo"]
    (result,) = evalkit.run(entries, **options, skip_bad_entries=True)
    assert result.status == "complete"


def test_metrics_within_others_are_asked_too(no_sandbox: None) -> None:
    inner = {"processor": "remove_thinking", "metric_specs": [{"name": "pass", "args": {}}]}
    with pytest.raises(UsageError, match="bubblewrap, which is not installed"):
        refuse_machine([MetricSpec(name="output_processing", args=inner)])
    with pytest.raises(UsageError, match="bubblewrap, which is not installed"):
        make_scorer(RUN_SPEC, [instance("x", extra={"test_cases": CASE})])
    refuse_machine([MetricSpec(name="exact_match"), MetricSpec(name="classification_micro_f1")])


def test_what_can_not_be_scored_is_refused() -> None:
    with pytest.raises(DataError, match="'id0' has none"):
        built("pass").check(instance("x"))
    with pytest.raises(UsageError, match="timeout of 0"):
        built("pass", timeout=0)


def test_humanevals_own_solutions_pass_and_others_fail(data_dir: Path) -> None:
    lines = (data_dir / "humaneval" / "HumanEval.jsonl").read_text(encoding="utf-8").splitlines()
    metric = built("code_eval_acc")
    require_sandbox_or_skip()
    helped = ("HumanEval/32", "HumanEval/38", "HumanEval/50")  # their tests call helpers of the prompt
    rows = [
        row for row in map(json.loads, lines) if row["task_id"] in helped or int(row["task_id"][10:]) < 17
    ]
    for row in rows:
        asked = instance(row["canonical_solution"], extra={"test_cases": row}, name=row["task_id"])
        assert metric.score(unit(asked, row["canonical_solution"])) == {"code_eval_acc": 1}, row["task_id"]
        assert metric.score(unit(asked, "    return None\n")) == {"code_eval_acc": 0}, row["task_id"]
