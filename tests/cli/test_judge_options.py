"""`evalkit judge`: what its flags do, with and without a judge's spec."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.registry import isolated_registries
from tests.cli.conftest import Call, Called
from tests.judges.scripted import DEPLOYMENTS, Script, ScriptedClient, register, run

N = 4
SUITE = Path("out/runs/s")
# Three who judge, and what each says of every answer: the mean is 5, the median and the majority are 3.
SAID = {"judge": 3, "other": 3, "third": 9}


@pytest.fixture(autouse=True)
def script() -> Iterator[Script]:
    ScriptedClient.script = made = Script()
    made.reply = lambda who, request: f"Fine. [[{SAID[who]}]]"
    with isolated_registries():
        register()
        yield made


@pytest.fixture
def stored(script: Script) -> Path:
    (result,) = run(Path.cwd(), f"sums_of_numbers:num_test={N},model=own/model", output_path="out", suite="s")
    assert result.path is not None
    with Path("deployments.yaml").open("a") as deployments:
        deployments.write("  - {name: own/third, client_spec: {class_name: scripted, args: {who: third}}}\n")
    script.asked.clear()
    return result.path


def judge(call: Call, path: Path, *arguments: object) -> Called:
    return call("judge", path, *arguments, "--model-deployments", "deployments.yaml", "-q")


JURY = ("--judge", "own/judge", "--judge", "own/other", "--judge", "own/third")


@pytest.mark.parametrize("spec", [(), ("--judge-spec", "rating")], ids=["no spec", "spec"])
@pytest.mark.parametrize(("pooling", "score"), [("median", 3), ("majority", 3), ("mean", 5)])
def test_pooling_holds_with_and_without_a_spec(
    call: Call, stored: Path, spec: tuple[str, ...], pooling: str, score: float
) -> None:
    called = judge(call, stored, *JURY, *spec, "--pooling", pooling, "--json")
    assert called.code == 0, called.err
    assert {row["mean"] for row in json.loads(called.out)["rows"] if row["metric"] == "rating"} == {score}


def test_another_pooling_is_another_run_and_asks_nothing(call: Call, stored: Path, script: Script) -> None:
    assert judge(call, stored, *JURY).code == 0
    called = judge(call, stored, *JURY, "--pooling", "median", "--json")
    assert {row["mean"] for row in json.loads(called.out)["rows"] if row["metric"] == "rating"} == {3}
    assert {who: script.num_asked(who) for who in SAID} == dict.fromkeys(SAID, N)


def test_pooling_holds_for_the_judges_of_the_runs_own_spec(call: Call, script: Script) -> None:
    script.reply = lambda who, request: "[[1]]" if who == "judge" else "[[4]]"
    (result,) = run(
        Path.cwd(),
        "judged:num_test=3,model=own/model,judge=own/judge|own/other",
        output_path="out",
        suite="s",
    )
    assert result.path is not None
    called = judge(call, result.path, "--pooling", "majority", "--json")
    assert called.code == 1  # two of two would have to agree
    (row,) = (row for row in json.loads(called.out)["rows"] if row["metric"] == "rating")
    assert (row["mean"], row["n_failed"]) == (None, 3)
    assert call("verify", SUITE).code == 0


def test_a_dry_run_sends_nothing_and_keeps_nothing(call: Call, stored: Path, script: Script) -> None:
    before = sorted(SUITE.iterdir())
    called = judge(call, stored, "--judge", "own/judge", "--dry-run", "--json")
    assert called.code == 0, called.err
    row = json.loads(called.out)
    assert (row["num_instances"], row["num_requests"]) == (N, 0)
    (judging,) = row["judges"]
    assert (judging["deployments"], judging["num_requests"]) == (["own/judge"], N)
    assert judging["prompt_tokens"] > 0
    assert judging["max_cost_usd"] > 0
    assert script.asked == {}
    assert sorted(SUITE.iterdir()) == before
    table = judge(call, stored, "--judge", "own/judge", "-d")
    assert table.code == 0
    assert "judge:rating by own/judge" in table.out
    # What it counts is what it then sends.
    assert judge(call, stored, "--judge", "own/judge").code == 0
    assert script.num_asked("judge") == judging["num_requests"]


@pytest.mark.parametrize(
    "flags",
    [("-r", "gsm"), ("-m", 2), ("-c", "x.conf"), ("--suite", "t"), ("-o", "p"), ("--priority", 1)],
    ids=lambda flags: flags[0],
)
def test_options_that_would_change_nothing_are_refused(
    call: Call, stored: Path, script: Script, flags: tuple[object, ...]
) -> None:
    assert judge(call, stored, "--judge", "own/judge", *flags).code == 2
    assert script.asked == {}


def test_a_file_of_options_may_have_others(call: Call, stored: Path) -> None:
    Path("options.yaml").write_text("max_eval_instances: 2\nsuite: other\nnum_threads: 1\n")
    called = judge(call, stored, "--judge", "own/judge", "--config", "options.yaml")
    assert called.code == 0, called.err
    assert "options.yaml: judge does not use max_eval_instances, suite" in called.err
    assert "num_threads" not in called.err
    assert not Path("out/runs/other").exists()


@pytest.mark.parametrize(("who", "words"), [("judge", "cost: $"), ("unpriced", "cost: at least $")])
def test_a_cost_without_that_of_the_judge_is_a_lower_bound(
    call: Call, script: Script, who: str, words: str
) -> None:
    Path("deployments.yaml").write_text(DEPLOYMENTS)
    entry = f"judged:num_test={N},model=own/model,judge=own/{who}"
    called = call("run", "-r", entry, "--model-deployments", "deployments.yaml")
    assert called.code == 0, called.err
    (line,) = (line for line in called.out.splitlines() if line.startswith("cost: "))
    assert line.startswith(words)
    assert ("what has no prices or reports no tokens is not in it" in line) == (who == "unpriced")
    # Four answers at 10 + 2 * 5 millionths; the judge's, if they are known, at 100 + 100.
    assert f"${N * 20 / 1e6 + (who == 'judge') * N * 200 / 1e6:.4f}" in line
    assert ("≥ $" in called.err) == (who == "unpriced")
