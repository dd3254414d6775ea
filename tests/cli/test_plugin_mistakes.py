"""A bug in a plugin is one line that says where it is, never a page of frames."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.cli import app
from tests.cli.conftest import Call

RUN_SPEC = """\
import evalkit


@evalkit.run_spec_function("broken")
def broken(num: int = 1):
    return "a" + num
"""

METRIC = """\
import evalkit


@evalkit.metric("broken_metric")
class Broken(evalkit.Metric):
    names = ("one",)

    def score(self, unit):
        return {"one": 1.0}

    def check(self, instance):
        return "a" + 1 if BROKEN else None


@evalkit.run_spec_function("fine")
def fine():
    base = evalkit.RunSpec(
        name="fine",
        scenario_spec=evalkit.ScenarioSpec(name="simple_mcqa"),
        adapter_spec=evalkit.generation("", "Question", "Answer", max_tokens=20),
        metric_specs=evalkit.metric_specs("broken_metric"),
    )
    return base


BROKEN = False
"""


@pytest.mark.parametrize("command", ["run", "plan", "validate"])
def test_a_run_spec_function_that_raises(call: Call, command: str) -> None:
    Path("mine.py").write_text(RUN_SPEC)
    called = call(command, "--plugin", "mine.py", "-r", "broken:num=2,model=evalkit/echo")
    assert called.code == 2
    assert "Traceback" not in called.err
    assert "'broken' made no run spec: TypeError: " in called.err
    assert "mine.py:6" in called.err


def test_others_go_on_without_it(call: Call) -> None:
    Path("mine.py").write_text(RUN_SPEC)
    entries = ("broken:model=evalkit/echo", "simple_mcqa:model=evalkit/echo")
    called = call("run", "--plugin", "mine.py", "-r", *entries, "--skip-bad-entries", "-m", 2, "-q")
    assert called.code == 1
    assert "left out a wrong entry: broken" in called.err


def test_score(call: Call) -> None:
    Path("mine.py").write_text(METRIC)
    assert call("run", "--plugin", "mine.py", "-r", "fine:model=evalkit/echo", "-m", 2, "-q").code == 0
    Path("again.py").write_text(METRIC.replace("BROKEN = False", "BROKEN = True"))
    from evalkit.registry import METRICS, RUN_SPECS

    for registry, name in ((METRICS, "broken_metric"), (RUN_SPECS, "fine")):
        del registry.targets[name], registry.origins[name]
    called = call("score", "--plugin", "again.py", "benchmark_output")
    assert called.code == 2
    assert called.err.startswith("error: a plugin failed: TypeError: ")
    assert "again.py:12" in called.err


def test_a_bug_of_evalkit_is_not_blamed_on_a_plugin(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(args: list[str]) -> None:
        raise TypeError("of evalkit")

    monkeypatch.setattr(app, "single_command", lambda name: fails)
    monkeypatch.setattr("sys.argv", ["evalkit", "list"])
    with pytest.raises(TypeError, match="of evalkit"):
        app.main()
