"""The other commands, called as a user would."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evalkit.cli.app import COMMANDS, command, single_command
from evalkit.cli.options import spread_values
from evalkit.plugins import builtin_catalog
from evalkit.registry import JUDGES, isolated_registries
from tests.cli.conftest import Call

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def _spelled(made: Any) -> tuple[Any, ...]:
    """A command's help and parameters, and those of the commands in it."""
    within = sorted(getattr(made, "commands", {}).items())
    parameters = [(each.name, each.opts, each.default, getattr(each, "help", "")) for each in made.params]
    return made.name, made.help, parameters, [_spelled(each) for _, each in within]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_made_alone_is_the_one_among_all(name: str) -> None:
    alone, among_all = single_command(name), command()
    assert list(alone.commands) == [name]
    assert _spelled(alone.commands[name]) == _spelled(among_all.commands[name])
    assert alone.params[0].name == among_all.params[0].name == "version"


def test_a_command_imports_no_other() -> None:
    code = (
        "from evalkit.cli.app import single_command; single_command('list'); import sys; print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "evalkit.cli.list" in loaded.split()
    assert {"evalkit.cli.run", "evalkit.cli.judge", "evalkit.cli.data"}.isdisjoint(loaded.split())


def test_helms_flags_take_several_values() -> None:
    given = ["run", "-r", "a", "b", "--models-to-run", "m", "n", "-m", "5", "-c", "x.conf"]
    spread = [
        "run",
        "-r",
        "a",
        "-r",
        "b",
        "--models-to-run",
        "m",
        "--models-to-run",
        "n",
        "-m",
        "5",
        "-c",
        "x.conf",
    ]
    assert spread_values(given) == spread


def test_datasets_to_build_follow_one_flag() -> None:
    given = ["data", "build", "jaster", "--dataset", "jnli", "mgsm", "-o", "out"]
    spread = ["data", "build", "jaster", "--dataset", "jnli", "--dataset", "mgsm", "-o", "out"]
    assert spread_values(given) == spread


@pytest.mark.parametrize("command", ["score", "verify", "track", "summarize", "export", "import"])
def test_a_path_behind_a_flag_of_several_values_stays_a_path(command: str) -> None:
    given = [command, "--plugin", "p.py", "PATH"]
    assert spread_values(given) == given


def test_scoring_a_plugins_run_without_it_says_which_run_and_what_to_do(call: Call) -> None:
    plugin = EXAMPLES / "reverse_words.py"
    entry = "reverse_words:model=evalkit/majority"
    with isolated_registries():
        assert call("run", "--plugin", plugin, "-r", entry).code == 0
    called = call("score", "benchmark_output")
    assert called.code == 2
    assert "reverse_words:length=3,model=evalkit_majority: unknown metric 'words_in_place'" in called.err
    assert "name the plugin with --plugin" in called.err
    assert call("score", "benchmark_output", "--plugin", plugin).code == 0


def test_run_then_summarize_and_score(call: Call) -> None:
    arguments = (
        "run",
        "-r",
        "simple_mcqa",
        "--models-to-run",
        "evalkit/majority",
        "-o",
        "out",
        "--suite",
        "s",
        "-m",
        9,
    )
    called = call(*arguments, "--json")
    assert called.code == 0
    ran = json.loads(called.out)
    assert ran["runs"][0]["counts"]["num_answered"] == 9
    rows = json.loads(call("summarize", "-o", "out", "--suite", "s", "--json").out)
    by_metric = {row["metric"]: row for row in rows}
    exact = by_metric["exact_match"]
    assert {"run", "metric", "mean", "stderr", "n", "n_failed"} <= set(exact)
    assert exact["n"] == 9
    assert exact["mean"] == next(r["mean"] for r in ran["rows"] if r["metric"] == "exact_match")
    table = list(csv.DictReader(io.StringIO(call("summarize", "-o", "out", "--csv").out)))
    assert [row["metric"] for row in table] == [row["metric"] for row in rows]
    run = Path("out/runs/s/simple_mcqa:model=evalkit_majority")
    before = (run / "stats.json").read_bytes()
    (run / "stats.json").unlink()
    (run / "scores.jsonl").unlink()
    assert call("score", run).code == 0
    assert (run / "stats.json").read_bytes() == before


def test_dry_run_only_plans(call: Call) -> None:
    called = call("run", "--dry-run", "-r", "simple_mcqa:model=evalkit/echo", "--json")
    assert json.loads(called.out)["num_requests"] == 79
    assert not Path("benchmark_output").exists()


@pytest.mark.parametrize(
    "kind", ["run_spec", "scenario", "adapter", "metric", "client", "expander", "tokenizer", "model"]
)
def test_list_gives_names_docs_and_parameters(call: Call, kind: str) -> None:
    entries = json.loads(call("list", kind, "--json").out)
    assert entries
    for entry in entries:
        assert entry["name"]
        assert entry["doc"], entry["name"]
        for parameter in entry["params"]:
            assert {"name", "type", "default", "doc"} <= set(parameter)


def test_show_tells_every_parameter(call: Call) -> None:
    called = call("show", "arithmetic", "--kind", "run_spec")
    assert "digits: int (default 2)" in called.out
    assert "operation: 'add' | 'subtract' | 'multiply'" in called.out


def test_validate_passes_the_builtins_and_catches_a_bad_benchmark(call: Call, tmp_path: Path) -> None:
    assert call("validate", "-r", "simple_mcqa", "arithmetic", "simple_classification").code == 0
    # A gold text with a line break can never be produced: the layout stops at the first one.
    source = (
        (EXAMPLES / "reverse_words.py").read_text().replace('" ".join(reversed(words))', '"\\n".join(words)')
    )
    (tmp_path / "bad.py").write_text(source)
    called = call("validate", "--plugin", tmp_path / "bad.py", "-r", "reverse_words")
    assert called.code == 1
    assert "exact_match of the right answer is 0, not 1" in called.err


def test_a_generated_plugin_passes_its_own_test(call: Call, tmp_path: Path) -> None:
    assert call("new", "scenario", "my_task", "--directory", tmp_path).code == 0
    test = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_task.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert test.returncode == 0, test.stdout
    assert "2 passed" in test.stdout
    again = call("new", "scenario", "my_task", "--directory", tmp_path)
    assert again.code == 2
    assert "nothing was written" in again.err


@pytest.mark.parametrize("name", ["My-Task", "gsm", "1st"])
def test_bad_plugin_names_are_refused(call: Call, tmp_path: Path, name: str) -> None:
    assert call("new", "scenario", name, "--directory", tmp_path).code == 2
    assert not list(tmp_path.glob("*.py"))


def test_the_example_plugin_runs_and_stays_short(call: Call) -> None:
    assert len((EXAMPLES / "reverse_words.py").read_text().splitlines()) < 60
    called = call(
        "run",
        "--plugin",
        EXAMPLES / "reverse_words.py",
        "-r",
        "reverse_words:length=4,model=simple/model1",
        "--json",
    )
    assert called.code == 0
    means = {row["metric"]: row["mean"] for row in json.loads(called.out)["rows"]}
    assert means == {"exact_match": 0.0, "words_in_place": 0.25}


def test_a_scenario_that_raises_ends_its_own_run_only(call: Call) -> None:
    called = call(
        "run",
        *("--plugin", EXAMPLES / "reverse_words.py"),
        *("-r", "reverse_words:length=11,model=simple/model1", "reverse_words:length=3,model=simple/model1"),
    )
    assert called.code == 3
    assert "reverse_words.py:28" in called.err
    assert "ValueError" in called.err
    assert "100/100 done" in called.err


def test_the_tokenizer_that_comes_with_evalkit_is_listed(call: Call) -> None:
    listed = {entry["name"] for entry in json.loads(call("list", "tokenizer", "--json").out)}
    assert {"evalkit/tiny", "bytes", "huggingface"} <= listed
    assert "evalkit/tiny" in call("list", "tokenizer").out


def test_a_kind_without_members_is_said_in_words(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind has members; so it is asked of one whose members are taken away."""
    monkeypatch.setitem(builtin_catalog(), "judge", [])
    monkeypatch.setattr(JUDGES, "targets", {})
    monkeypatch.setattr(JUDGES, "builtin", {})
    assert call("list", "judge").out.startswith("no judge: ")
    assert json.loads(call("list", "judge", "--json").out) == []


def test_a_resumed_run_says_which_cost_is_which(call: Call) -> None:
    from evalkit.cli.progress import PlainProgress
    from evalkit.response import Completion, Response, Usage
    from tests.run_events import finished_request, opened

    progress = PlainProgress()
    opened(progress, "r", 10, 4)
    finished_request(progress, "r", Response((Completion("a"),), Usage(3, 2)), 0.25)
    progress._print(progress.runs["r"], 0.0)
    opened(progress, "s", 10, 0)
    progress._print(progress.runs["s"], 0.0)
    called = call("list", "judge")
    assert "5 tokens, $0.2500 in this start" in called.err
    assert "s: 0/10 done, 0 failed, 0 tokens\n" in called.err
